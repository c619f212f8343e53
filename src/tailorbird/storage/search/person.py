"""What is kept of a person to be found by: one short row, labels, and texts brought to one form."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import msgspec

__all__ = [
    "ENRICHED",
    "FIRST_STAGE",
    "VERIFIED",
    "Card",
    "domain_of",
    "fold",
    "full_name",
    "mailbox",
    "read_card",
    "texts",
    "trigrams",
]

FIRST_STAGE: Final = "new"
"""The status of those who have none."""

ENRICHED: Final = 1
VERIFIED: Final = 2

_NAME: Final = 120
_REST: Final = 2_000
_FIRST: Final = ("company", "title", "domain", "city", "industry", "campaign")
_OUT: Final = frozenset({"first_name", "last_name", "name"})


class _Said(msgspec.Struct):
    first_name: Any = None
    last_name: Any = None
    name: Any = None
    email: Any = None
    company: Any = None
    phone: Any = None
    status: Any = None
    enriched_at: Any = None
    email_verified: Any = None


class _Since(msgspec.Struct):
    at: int = 0


class Card(NamedTuple):
    """A person's row and labels: ``s:`` status, ``t:`` tag, ``d:`` domain of an e-mail."""

    status: str
    name: str
    updated_at: int
    flags: int
    company: str | None
    phone: str | None
    labels: frozenset[str]


_said = msgspec.json.Decoder(_Said)
_since = msgspec.json.Decoder(dict[str, _Since])
_tags = msgspec.json.Decoder(list[str])


def read_card(created_at: int, attributes: str, provenance: str, tags: str, mails: Iterable[str], phones: Iterable[str]) -> Card:
    """Return what is kept of a person; the arguments are as the record has them, JSON as text."""
    said = _said.decode(attributes)
    status = said.status.strip().lower() if isinstance(said.status, str) and said.status.strip() else FIRST_STAGE
    addresses = sorted(mails)
    name = fold(full_name(said.first_name, said.last_name, said.name) or _text(said.email) or (addresses[0] if addresses else ""))
    updated_at = (
        max((one.at for one in _since.decode(provenance).values()), default=created_at) if provenance != "{}" else created_at
    )
    flags = (ENRICHED if said.enriched_at is not None else 0) | (VERIFIED if said.email_verified is True else 0)
    labels = {
        f"s:{status}",
        *(f"t:{tag}" for tag in (_tags.decode(tags) if tags != "[]" else ())),
        *(f"d:{domain_of(a)}" for a in addresses),
    }
    company = fold(_text(said.company))[:_NAME] or None
    phone = re.sub(r"[^0-9]", "", _text(said.phone) or next(iter(phones), "")).lstrip("0") or None
    return Card(status, name[:_NAME], max(updated_at, created_at), flags, company, phone, frozenset(labels))


def texts(attributes: dict[str, Any], tags: Iterable[str], names: Iterable[str]) -> tuple[str, str]:
    """Return (name, everything else) as it is searched: folded, the well-known first, up to 2,000 characters."""
    name = full_name(attributes.get("first_name"), attributes.get("last_name"), attributes.get("name"))
    found = [*names]
    found += [attributes[key] for key in _FIRST if isinstance(attributes.get(key), str)]
    found += [value for key, value in attributes.items() if isinstance(value, str) and key not in _OUT and key not in _FIRST]
    found += tags
    return fold(name)[:_NAME], fold("\n".join(dict.fromkeys(found)))[:_REST]


def full_name(first: Any, last: Any, whole: Any) -> str:
    """Return what people would call somebody, as far as it is known."""
    return " ".join(part for part in (_text(first), _text(last)) if part) or _text(whole)


def fold(text: str) -> str:
    """Return a text without case, accents and doubled spaces, in which people look for it.

    >>> fold("  Zoë   MÜLLER ")
    'zoe muller'
    """
    if not text.isascii():
        text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)).casefold()
    return " ".join(text.lower().split())


def trigrams(text: str) -> set[str]:
    """Return the three-letter pieces of a text.

    >>> sorted(trigrams("anna"))
    ['ann', 'nna']
    """
    return {text[i : i + 3] for i in range(len(text) - 2)}


def domain_of(address: str) -> str:
    """Return what stands after the last @."""
    return address.rpartition("@")[2]


def mailbox(address: str) -> str:
    """Return an address without what people vary: dots, digits, underscores, dashes and the tag after a plus.

    >>> mailbox("ann.smith+news@acme.com"), mailbox("annsmith2@acme.com")
    ('annsmith@acme.com', 'annsmith@acme.com')
    """
    local, _, domain = address.rpartition("@")
    return re.sub(r"[._\-0-9]", "", local.partition("+")[0]) + "@" + domain


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""
