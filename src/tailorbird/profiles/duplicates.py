"""Whether two people may be one: a score from 0 to 1 and the reasons, by a simple rule that anybody can follow."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any, Final, NamedTuple

__all__ = ["PUBLIC_MAIL", "Side", "compare", "features"]

PUBLIC_MAIL: Final = frozenset(
    {
        "gmail.com", "googlemail.com", "outlook.com", "hotmail.com", "live.com", "msn.com", "yahoo.com", "icloud.com", "me.com",
        "aol.com", "gmx.de", "gmx.net", "web.de", "orange.fr", "free.fr", "laposte.net", "mail.ru", "proton.me", "protonmail.com",
    }
)  # fmt: skip
"""Domains that people share who have nothing else in common."""


class Side(NamedTuple):
    """What is known of one of two people: attributes and addresses."""

    attributes: Mapping[str, Any]
    emails: Sequence[str]


def compare(one: Side, other: Side) -> tuple[float, tuple[str, ...]]:
    """Return how likely two people are one, and why; what speaks against it lowers the score.

    >>> ann = Side({"first_name": "Ann", "last_name": "Smith", "company": "Acme"}, ["ann.smith@acme.com"])
    >>> compare(ann, Side({"name": "ann smith", "company": "ACME"}, ["annsmith@acme.com"]))[0] > 0.9
    True
    """
    reasons: list[str] = []
    doubt = 1.0
    names = _name(one), _name(other)
    if all(names):
        ratio = SequenceMatcher(None, *names, autojunk=False).ratio()
        if names[0] == names[1]:
            doubt *= 0.35
            reasons.append("the same name")
        elif ratio >= 0.85:
            doubt *= 0.55
            reasons.append("nearly the same name")
        elif ratio < 0.5:
            doubt = 1 - (1 - doubt) * 0.4
            doubt *= 1.6
            reasons.append("different names")
    for what, weight in (("company", 0.6), ("phone", 0.25)):
        values = _plain(what, one.attributes.get(what)), _plain(what, other.attributes.get(what))
        if values[0] and values[0] == values[1]:
            doubt *= weight
            reasons.append(f"the same {what}")
    doubt *= _mail(one.emails, other.emails, reasons)
    return round(max(0.0, min(1.0, 1 - doubt)), 3), tuple(reasons)


def features(side: Side) -> dict[str, str | None]:
    """Return what a model compares, each in its plain form: name, mailbox, domain (not a public one), company, phone."""
    local, _, domain = (side.emails[0] if side.emails else "").rpartition("@")
    found = {
        "name": _name(side), "mailbox": _mailbox(local), "domain": "" if domain in PUBLIC_MAIL else domain,
        "company": _plain("company", side.attributes.get("company")), "phone": _plain("phone", side.attributes.get("phone")),
    }  # fmt: skip
    return {name: value or None for name, value in found.items()}


def _mail(one: Sequence[str], other: Sequence[str], reasons: list[str]) -> float:
    """Return what two lists of addresses make of the doubt."""
    best, why = 1.0, ""
    for a in one:
        for b in other:
            factor, reason = _addresses(a, b)
            if factor < best:
                best, why = factor, reason
    if why:
        reasons.append(why)
    return best


def _addresses(one: str, other: str) -> tuple[float, str]:
    (local, _, domain), (other_local, _, other_domain) = one.rpartition("@"), other.rpartition("@")
    same_domain = domain == other_domain
    plain, other_plain = _mailbox(local), _mailbox(other_local)
    if plain and plain == other_plain:
        return (0.2, "the same mailbox but for dots, digits or a tag") if same_domain else (0.6, "the same mailbox name")
    ratio = SequenceMatcher(None, plain, other_plain, autojunk=False).ratio()
    if same_domain and ratio >= 0.8:
        return 0.5, "similar mailboxes"
    if same_domain and domain not in PUBLIC_MAIL:
        return 0.6, "the same domain"
    return 1.0, ""


def _mailbox(local: str) -> str:
    return re.sub(r"[._\-0-9]", "", local.partition("+")[0])


def _name(side: Side) -> str:
    said = side.attributes
    parts = [said[key] for key in ("first_name", "last_name") if isinstance(said.get(key), str)]
    whole = " ".join(parts) or (said["name"] if isinstance(said.get("name"), str) else "")
    return " ".join(sorted(_fold(whole).split()))


def _plain(what: str, value: Any) -> str:
    if not isinstance(value, str):
        return ""
    if what == "phone":
        digits = re.sub(r"[^0-9]", "", value).lstrip("0")
        return digits if len(digits) >= 7 else ""
    return re.sub(r"\b(inc|ltd|llc|gmbh|sas|sarl|ag|bv|plc|corp|co)\b\.?", "", _fold(value)).strip(" .,")


def _fold(text: str) -> str:
    bare = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return " ".join(bare.casefold().split())
