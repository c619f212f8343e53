"""The mapping between a CRM's fields and our attributes: what a record says in our words, and what of ours is written there."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec

from tailorbird.core.event import Json
from tailorbird.crm.model import NEUTRAL, Record

__all__ = [
    "CONSENTS", "DEFAULT", "DIRECTIONS", "TAGS", "TRANSFORMS", "WINS", "CrmMapping", "Directed", "MappedField", "mapping_from",
    "read_field", "read_record", "write_field",
]  # fmt: skip

Directed = Literal["both", "pull", "push"]
Wins = Literal["crm", "us", "newest", "never"]

DIRECTIONS: Final = ("both", "pull", "push")
WINS: Final = ("crm", "us", "newest", "never")
TAGS: Final = ("pull", "merge", "replace", "none")
CONSENTS: Final = ("both", "pull", "none")

_WORDS: Final = {"true": True, "yes": True, "1": True, "on": True, "false": False, "no": False, "0": False, "off": False}
_NUMBER: Final = re.compile(r"[+-]?(\d{1,15}(\.\d{0,15})?|\.\d{1,15})\Z", re.ASCII)
_MONTH: Final = re.compile(r"(\d{4}-\d{2}-\d{2})(?:[T ].*)?\Z", re.ASCII | re.DOTALL)
_LATEST: Final = 253_402_300_799_999  # the last ms of the year 9999


class MappedField(msgspec.Struct, frozen=True, kw_only=True):
    """One field of the CRM (by its neutral or its own name) and the attribute it stands for.

    ``transform`` is applied in order to what is read, and undone in reverse to what is written. ``wins`` says whose value stands
    where both sides changed it. ``separator`` stands between the parts of a list that the CRM keeps as text.
    """

    field: str
    attribute: str
    direction: Directed = "both"
    transform: tuple[str, ...] = ()
    wins: Wins = "newest"
    separator: str = ";"

    @property
    def pulls(self) -> bool:
        """Whether the CRM's word comes to us."""
        return self.direction != "push"

    @property
    def pushes(self) -> bool:
        """Whether our word goes to the CRM."""
        return self.direction != "pull"


class CrmMapping(msgspec.Struct, frozen=True, kw_only=True):
    """How records of a connection and profiles correspond.

    ``tags``: ``pull`` takes over what is added and removed there, ``merge`` also writes ours, ``replace`` makes ours exactly
    theirs, ``none``. ``consent``: ``both`` also writes opt-outs, ``pull``, ``none``. ``object`` is the kind of object that is written.
    """

    fields: tuple[MappedField, ...]
    connection: str = ""
    object: str = ""
    tags: Literal["pull", "merge", "replace", "none"] = "pull"
    consent: Literal["both", "pull", "none"] = "both"


DEFAULT: Final = CrmMapping(
    fields=(
        *(
            MappedField(field=name, attribute=name)
            for name in (
                "email",
                "phone",
                "first_name",
                "last_name",
                "company",
                "title",
                "city",
                "state",
                "country",
                "postal_code",
            )
        ),
        MappedField(field="owner", attribute="owner", direction="pull", wins="crm"),
        MappedField(field="status", attribute="crm_status", direction="pull", wins="crm"),
    )
)
"""What holds where no mapping is defined: neutral names are attributes of the same name. A CRM's status is in words of its own, and
is no stage of ours: it becomes ``crm_status`` and is not written."""


def mapping_from(spec: Mapping[str, Json]) -> CrmMapping:
    """Return the mapping that a definition's spec says.

    >>> found = mapping_from({"fields": [{"field": "plan__c", "transform": ["lower"]}], "tags": "none"})
    >>> found.fields[0].attribute, found.tags, found.consent
    ('plan__c', 'none', 'both')
    """
    fields = [{"attribute": item["field"], **item} for item in spec.get("fields", ())]
    kept = {name: spec[name] for name in ("connection", "object", "tags", "consent") if name in spec}
    return msgspec.convert({**kept, "fields": fields} if "fields" in spec else {**kept, "fields": DEFAULT.fields}, CrmMapping)


def read_field(field: MappedField, value: Json, *, region: str | None = None) -> Json:
    """Return what a value of the CRM is in our words; None for none, and ``msgspec.UNSET`` for what cannot be read.

    >>> read_field(MappedField(field="tier", attribute="tier", transform=("trim", "lower")), " Gold ")
    'gold'
    >>> read_field(MappedField(field="age", attribute="age", transform=("number",)), "old")
    UNSET
    """
    for name in field.transform:
        value = TRANSFORMS[name][0](value, field.separator, region)
        if value is None or value is msgspec.UNSET:
            return value
    return None if isinstance(value, str) and not value else value


def write_field(field: MappedField, value: Json) -> Json:
    """Return what a value of ours is in the CRM's words: reading it again gives the same; None clears."""
    for name in reversed(field.transform):
        if value is None:
            return None
        value = TRANSFORMS[name][1](value, field.separator)
    return value


def read_record(mapping: CrmMapping, record: Record, *, region: str | None = None) -> dict[str, Json]:
    """Return what a record says of the mapped fields, by field, in our words.

    A neutral name that is empty is None: it was cleared, or never filled. A field of the CRM's own that it does not name, and a value
    that cannot be read, are left out: that is silence.
    """
    found: dict[str, Json] = {}
    for field in mapping.fields:
        if field.field not in NEUTRAL and field.field not in record.fields:
            continue
        value = read_field(field, record.value(field.field), region=region)
        if value is not msgspec.UNSET:
            found[field.field] = list(value) if isinstance(value, tuple) else value
    return found


# ---- transforms


def _text(change: Callable[[str], str]) -> Callable[[Json, str, str | None], Json]:
    def read(value: Json, separator: str, region: str | None) -> Json:
        if isinstance(value, list | tuple):
            return [change(item) if isinstance(item, str) else item for item in value]
        return change(value) if isinstance(value, str) else value

    return read


def _e164(value: Json, separator: str, region: str | None) -> Json:
    import phonenumbers

    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not text or len(text) > 60:
        return None if not text else msgspec.UNSET
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return msgspec.UNSET
    if not phonenumbers.is_possible_number(number):
        return msgspec.UNSET
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _date(value: Json, separator: str, region: str | None) -> Json:
    """Read an instant in ms (also as digits) or ISO text as a date in UTC; a date stays one, whatever its time of day."""
    if isinstance(value, str):
        text = value.strip()
        if not text:
            return None
        if text.isascii() and text.isdecimal() and len(text) >= 9:
            return _date(int(text[:20]), separator, region)
        found = _MONTH.match(text)
        try:
            return datetime.fromisoformat(found[1]).date().isoformat() if found else msgspec.UNSET
        except ValueError:
            return msgspec.UNSET
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LATEST:
        return datetime.fromtimestamp(value / 1000, UTC).date().isoformat()
    return msgspec.UNSET if value is not None else None


def _number(value: Json, separator: str, region: str | None) -> Json:
    if isinstance(value, bool):
        return msgspec.UNSET
    if isinstance(value, int | float):
        return value if math.isfinite(value) else msgspec.UNSET
    text = value.strip() if isinstance(value, str) else ""
    if not text:
        return None if value is None or isinstance(value, str) else msgspec.UNSET
    if not _NUMBER.match(text):
        return msgspec.UNSET
    number = float(text)
    return int(number) if number.is_integer() else number


def _bool(value: Json, separator: str, region: str | None) -> Json:
    if isinstance(value, bool) or value is None:
        return value
    text = str(value).strip().lower() if isinstance(value, str | int) else "?"
    return None if not text else _WORDS.get(text, msgspec.UNSET)


def _parts(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(part for part in (value.strip() for value in values) if part))


def _split(value: Json, separator: str, region: str | None = None) -> Json:
    if isinstance(value, str):
        return _parts(value.split(separator)) or None
    if isinstance(value, list | tuple):
        return _parts(part for item in value for part in str(item).split(separator)) or None
    return msgspec.UNSET if value is not None else None


def _join(value: Json, separator: str, region: str | None = None) -> Json:
    parts = _split(value, separator)
    return separator.join(parts) if isinstance(parts, list) else parts


def _same(value: Json, separator: str) -> Json:
    return value


TRANSFORMS: Final[
    Mapping[str, tuple[Callable[[Json, str, str | None], Json], Callable[[Json, str], Json]]]
] = {
    "lower": (_text(str.lower), _same),
    "upper": (_text(str.upper), _same),
    "trim": (_text(str.strip), _same),
    "e164": (_e164, _same),
    "date": (_date, _same),
    "number": (_number, _same),
    "bool": (_bool, _same),
    "split": (_split, _join),
    "join": (_join, _split),
}  # fmt: skip
"""How a value is read, and how it is written again, by the transform's name."""
