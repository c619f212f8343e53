"""Which column of a file means what: written by a person, or guessed from the header and shown before anything is written."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tailorbird.core.event import PROFILE_UPDATED
from tailorbird.errors import InvalidInput, Mistake

__all__ = ["Columns", "read_mapping", "same_names"]

_KINDS: Final = ("external_id", "email", "phone", "anonymous_id", "company_id")
_RESERVED: Final = ("type", "at", "at_format", "id", "data", "attributes", "tags", "consent", "kind")
_GUESSES: Final[Mapping[str, tuple[str, ...]]] = {
    "external_id": (
        "customerid", "userid", "externalid", "profileid", "clientid", "contactid", "customer", "user", "profile",
        "memberid", "subscriberid",
    ),
    "email": ("email", "emailaddress", "mail", "customeremail", "useremail"),
    "phone": ("phone", "phonenumber", "mobile", "mobilephone", "telephone", "tel"),
    "anonymous_id": ("anonymousid", "visitorid", "deviceid", "cookieid"),
    "type": ("type", "eventtype", "event", "eventname", "action", "activity"),
    "at": (
        "at", "timestamp", "time", "datetime", "date", "eventtime", "occurredat", "happenedat", "orderdate", "createdat",
        "purchasedate", "invoicedate", "eventdate", "ts",
    ),
    "id": ("eventid", "messageid"),
    "data": ("data", "properties", "payload"),
    "attributes": ("attributes", "traits"),
    "updated": ("updatedat", "modifiedat", "lastmodified", "lastmodifieddate"),
    "tags": ("tags", "labels"),
}  # fmt: skip
_TYPES_BY_FILE: Final = {
    "order": "order.placed",
    "purchase": "order.placed",
    "sale": "order.placed",
    "transaction": "order.placed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """A mapping made complete. A value is a column's name, or ``=text`` for a constant that holds on every row.

    ``data`` maps property (or attribute) names to columns; ``whole`` is a column that holds a JSON object with all of them.
    ``readings`` fixes how a property is read (``number``, ``text``, ``bool``) where the values should not decide.
    """

    identifiers: Mapping[str, str]
    type: str | None = None
    at: str | None = None
    at_format: str | None = None
    id: str | None = None
    data: Mapping[str, str] = field(default_factory=dict)
    whole: str | None = None
    readings: Mapping[str, str] = field(default_factory=dict)
    tags: str | None = None
    consent: Mapping[str, str] = field(default_factory=dict)
    kind: str = "person"

    def as_json(self) -> dict[str, Any]:
        """Return the mapping as a person would write it."""
        out: dict[str, Any] = dict(self.identifiers)
        for name in ("type", "at", "at_format", "id", "tags"):
            if getattr(self, name):
                out[name] = getattr(self, name)
        out["data"] = self.whole or {
            name: f"{self.readings[name]}({column})" if name in self.readings else column for name, column in self.data.items()
        }
        if self.consent:
            out["consent"] = dict(self.consent)
        if self.kind != "person":
            out["kind"] = f"={self.kind}"
        return out


def read_mapping(
    given: Mapping[str, Any] | None, names: Sequence[str], *, contacts: bool, stem: str = "", nested: bool = False
) -> Columns:
    """Complete a mapping for a file with these columns; raise ``InvalidInput`` with everything that is wrong with it.

    ``given`` maps ``profile`` (or ``external_id``), ``email``, ``phone``, ``anonymous_id``, ``crm:<name>``, ``type``, ``at``,
    ``at_format``, ``id``, ``data`` (``attributes`` for contacts), ``tags``, ``consent`` and ``kind``; what is missing is guessed.
    ``nested`` allows ``a.b`` to walk into objects (JSONL). ``stem`` is the file's name, a last resort for the type.
    """
    reader = _Reader(names, contacts=contacts, nested=nested)
    columns = reader.read(dict(given or {}), stem)
    if reader.mistakes:
        raise InvalidInput(
            "The mapping does not fit the file: " + "; ".join(m.render() for m in reader.mistakes),
            hint=f"The file has the columns {', '.join(names)}.",
            mistakes=tuple(reader.mistakes),
        )
    return columns


def same_names(names: Sequence[str]) -> str:
    """Return which names are the same but for case, spaces and signs; nothing where none are.

    >>> same_names(["Email", "email", "plan"])
    "'Email' and 'email'"
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(re.sub(r"[\W_]", "", name.lower()) or name, []).append(name)
    return ", ".join(" and ".join(f"{name!r:.60}" for name in group) for group in groups.values() if len(group) > 1)


class _Reader:
    """One reading of a mapping: collects mistakes and which columns are taken."""

    def __init__(self, names: Sequence[str], *, contacts: bool, nested: bool) -> None:
        self.names = list(names)
        self.contacts = contacts
        self.nested = nested
        self.mistakes: list[Mistake] = []
        self.taken: set[str] = set()
        self.plain = {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in reversed(self.names)}

    def read(self, given: dict[str, Any], stem: str) -> Columns:
        if "profile" in given:
            given.setdefault("external_id", given.pop("profile"))
        if self.contacts and not ("attributes" in given or "data" in given) and (twins := same_names(self.names)):
            self.wrong("attributes", f"columns have the same name: {twins}", "rename one of each, or say which are read")
        kind = self.constant(given.pop("kind", "=person"), "kind")
        identifiers = self.identifiers(given)
        type_ = f"={PROFILE_UPDATED}" if self.contacts else None
        at = id_ = None
        if not self.contacts:
            type_ = self.column(given.pop("type"), "type") if "type" in given else self.guess("type") or self.guess_type(stem)
            id_ = self.column(given.pop("id"), "id") if "id" in given else self.guess("id")
        if "at" in given:
            at = self.column(given.pop("at"), "at")
        else:
            at = self.guess("updated" if self.contacts else "at")
            if at is None and not self.contacts:
                self.wrong("at", "no column looks like the time of the event", 'name it: {"at": "column"}')
        at_format = given.pop("at_format", None)
        tags = self.column(given.pop("tags"), "tags") if "tags" in given else self.guess("tags") if self.contacts else None
        consent = self.consent(given.pop("consent", None))
        readings: dict[str, str] = {}
        data = given.pop("attributes", given.pop("data", None))
        if data is None and not (data := self.guess("attributes" if self.contacts else "data")):
            data = "*"
        whole, properties = self.properties(data, readings)
        for name in given:
            self.wrong(str(name), "is nothing a mapping knows", f"known: {', '.join((*_KINDS, *_RESERVED))}, crm:<connection>")
        return Columns(
            identifiers=identifiers, type=type_, at=at, at_format=at_format, id=id_, data=properties, whole=whole,
            readings=readings, tags=tags, consent=consent, kind=kind,
        )  # fmt: skip

    def identifiers(self, given: dict[str, Any]) -> dict[str, str]:
        said = [name for name in given if name in _KINDS or str(name).startswith("crm:")]
        found = {name: column for name in said if (column := self.column(given.pop(name), name))}
        if said:
            return found
        for kind in _KINDS[:4]:
            if column := self.guess(kind):
                found[kind] = column
        if not found and self.contacts and (column := self.plain.get("id")):
            self.taken.add(column)
            found["external_id"] = column
        if not found:
            self.wrong("profile", "no column looks like a customer's id, e-mail or phone", 'name it: {"profile": "column"}')
        return found

    def properties(self, given: Any, readings: dict[str, str]) -> tuple[str | None, dict[str, str]]:
        if isinstance(given, list) and len(given) == 1 and self.is_object(given[0]):
            return self.column(given[0], "data"), {}
        if given == "*":
            return None, {name: name for name in self.names if name not in self.taken}
        if isinstance(given, str):
            if given in self.names and given in self.plain.values() and self.holds_objects(given):
                return self.column(given, "data"), {}
            pairs = [part.partition("=") for part in given.split(",") if part.strip()]
            given = {name.strip(): (column or name).strip() for name, _, column in pairs}
        if isinstance(given, Mapping):
            out: dict[str, str] = {}
            for name, column in given.items():
                if isinstance(column, str) and (read := re.fullmatch(r"(number|text|bool)\((.+)\)", column)):
                    readings[name], column = read[1], read[2]  # noqa: PLW2901
                if found := self.column(column, f"data.{name}"):
                    out[str(name)] = found
            return None, out
        if isinstance(given, Sequence):
            return None, {name: name for name in given if self.column(name, "data")}
        self.wrong("data", f"is {type(given).__name__}", 'give "*", a list of columns, or {"property": "column"}')
        return None, {}

    def holds_objects(self, name: str) -> bool:
        return self.nested or self.is_object(name)

    def is_object(self, name: str) -> bool:
        """Whether a column is called as those that hold all properties are."""
        return name in self.names and re.sub(r"[^a-z0-9]", "", name.lower()) in (*_GUESSES["data"], *_GUESSES["attributes"])

    def consent(self, given: Any) -> dict[str, str]:
        if given is None:
            return {}
        if not isinstance(given, Mapping) or not all(str(name).count("/") == 1 for name in given):
            self.wrong("consent", "is not understood", 'write {"email/marketing": "column"}')
            return {}
        return {str(name): column for name, value in given.items() if (column := self.column(value, f"consent.{name}"))}

    def column(self, value: Any, where: str) -> str | None:
        if isinstance(value, str) and value.startswith("="):
            return value
        if isinstance(value, str) and (value in self.names or (self.nested and value.split(".")[0] in self.names)):
            self.taken.add(value)
            return value
        self.wrong(where, f"the file has no column {value!r}", 'constants are written with "=" in front')
        return None

    def constant(self, value: Any, where: str) -> str:
        if isinstance(value, str) and value.lstrip("=") in ("person", "company"):
            return value.lstrip("=")
        self.wrong(where, f"is {value!r}", 'it can be "=person" or "=company"')
        return "person"

    def guess(self, what: str) -> str | None:
        for candidate in _GUESSES[what]:
            name = self.plain.get(candidate)
            if name is not None and name not in self.taken:
                self.taken.add(name)
                return name
        return None

    def guess_type(self, stem: str) -> str | None:
        word = re.sub(r"[^a-z]", "", stem.lower()).removesuffix("s")
        if type_ := _TYPES_BY_FILE.get(word):
            return f"={type_}"
        self.wrong(
            "type", "no column looks like the type of the event", 'name it, or say it for all rows: {"type": "=order.placed"}'
        )
        return None

    def wrong(self, where: str, message: str, hint: str) -> None:
        self.mistakes.append(Mistake("invalid_mapping", message, hint, where=where))
