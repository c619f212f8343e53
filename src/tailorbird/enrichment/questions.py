"""What a provider is told of a person: the known facts in one normal form, so that the same question is recognised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from tailorbird.core.event import Json
from tailorbird.core.ids import digest

__all__ = ["ASKED", "named", "question", "sufficient"]

ASKED: Final = ("email", "first_name", "last_name", "name", "company", "domain", "linkedin_url", "phone", "country")
"""The attributes that a question may hold."""

_LOWER: Final = frozenset({"email", "domain", "linkedin_url"})
_LONGEST: Final = 300


def question(attributes: Mapping[str, Json], identifiers: Mapping[str, str]) -> dict[str, str]:
    """Return what may be told to a provider: text, trimmed, addresses in lower case; identifiers go first.

    >>> question({"company": " Acme ", "title": "CEO", "domain": "www.Acme.io"}, {"email": "Ann@Acme.io"})
    {'email': 'ann@acme.io', 'company': 'Acme', 'domain': 'acme.io'}
    """
    known = {**attributes, **{name: value for name, value in identifiers.items() if name in ("email", "phone")}}
    found: dict[str, str] = {}
    for name in ASKED:
        value = known.get(name)
        if not isinstance(value, str):
            continue
        text = " ".join(value.split())
        if name in _LOWER:
            text = text.lower()
        if name == "domain":
            text = text.removeprefix("https://").removeprefix("http://").removeprefix("www.").strip("@/")
        if 0 < len(text) <= _LONGEST and text.isprintable():
            found[name] = text
    return found


def sufficient(asked: Mapping[str, str]) -> bool:
    """Return whether anybody can be found by this: an address, a LinkedIn page, or a whole name with a company.

    >>> sufficient({"name": "Ann Lee"}), sufficient({"name": "Ann Lee", "company": "Acme"})
    (False, True)
    """
    if asked.get("email") or asked.get("linkedin_url"):
        return True
    whole = asked.get("name") or (asked.get("first_name") and asked.get("last_name"))
    return bool(whole and (asked.get("company") or asked.get("domain")))


def named(asked: Mapping[str, str]) -> str:
    """Return a digest of a question: equal for equal questions, and nobody can be read out of it that is not known."""
    folded = {name: value.casefold() for name, value in asked.items()}
    return digest("question", msgspec.json.encode(folded, order="deterministic").decode())
