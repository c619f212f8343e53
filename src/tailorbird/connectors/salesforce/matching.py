"""Who is meant: records found by address, number or a field of the organisation's own, for many rows at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from tailorbird.connectors.salesforce.objects import OBJECTS
from tailorbird.connectors.salesforce.org import Org
from tailorbird.connectors.salesforce.soql import either, one_of, select
from tailorbird.crm.model import Row

__all__ = ["account_ids", "alive", "match_key", "parts", "people_where", "phone_forms", "resolve_rows"]

_PHONES: Final = ("Phone", "MobilePhone")
_PART: Final = 80
_T = TypeVar("_T")


def parts(values: Sequence[_T], size: int = _PART) -> Iterator[Sequence[_T]]:
    """Yield values a part at a time, so that a question of them still fits into an address."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def alive(object: str) -> list[str]:
    """Return the conditions of who can be written: a lead that became a contact cannot.

    >>> alive("lead"), alive("contact")
    (['IsConverted = false'], [])
    """
    return ["IsConverted = false"] if object == "lead" else []


def phone_forms(phone: str) -> list[str]:
    """Return the forms in which a number may stand there; Salesforce writes American ones in its own way.

    >>> phone_forms("+1 415 555 0100")
    ['+1 415 555 0100', '+14155550100', '14155550100', '4155550100', '(415) 555-0100', '415-555-0100']
    """
    digits = re.sub(r"\D", "", phone)
    forms = [phone, f"+{digits}", digits]
    local = digits.removeprefix("1") if len(digits) == 11 else digits
    if len(local) == 10:
        forms += [local, f"({local[:3]}) {local[3:6]}-{local[6:]}", f"{local[:3]}-{local[3:6]}-{local[6:]}"]
    return [form for form in dict.fromkeys(forms) if len(re.sub(r"\D", "", form)) > 3]


def people_where(shown: Mapping[str, Any], email: str | None, phone: str | None) -> str | None:
    """Return the condition of who has this address or number; None where nothing is given to ask by."""
    asked = [one_of("Email", [email])] if email and "Email" in shown else []
    forms = phone_forms(phone) if phone else []
    if forms:
        asked += [one_of(name, forms) for name in _PHONES if name in shown]
    return either(asked) if asked else None


def match_key(row: Row) -> tuple[str, str] | None:
    """Return by what a row is matched, in one form; None where it is by nothing.

    >>> match_key(Row(key="k", values={}, match={"email": "Ann@X.example"}))
    ('email', 'ann@x.example')
    """
    for name, value in row.match.items():
        if value:
            return name, re.sub(r"\D", "", value)[-10:] if name == "phone" else value.casefold()
    return None


def resolve_rows(org: Org, rows: Sequence[Row], objects: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return (object, id) of those who are there already, by the key of their row.

    Of several the one made first counts, of the first object. A row that names its object is looked for there only; each way of
    matching that a row gives is tried in turn.
    """
    found: dict[str, tuple[str, str]] = {}
    for object in objects:
        names = {name for row in rows for name, value in row.match.items() if value}
        for name in sorted(names, key=lambda name: ("email", "phone").index(name) if name in ("email", "phone") else 2):
            asking = [
                row for row in rows
                if row.key not in found and row.match.get(name) and row.object in ("", object)
            ]  # fmt: skip
            for part in parts(asking):
                held = _held(org, object, name, [row.match[name] for row in part])
                for row in part:
                    id = held.get(_folded(name, row.match[name]))
                    if id is not None:
                        found[row.key] = (object, id)
    return found


def account_ids(org: Org, names: Sequence[str]) -> dict[str, str]:
    """Return the id of each account whose name is nobody else's, by its name in small letters."""
    held: dict[str, list[str]] = {}
    for part in parts(sorted(set(names))):
        for account in org.ask(select(["Id", "Name"], "Account", where=[one_of("Name", part)])):
            held.setdefault(str(account["Name"]).casefold(), []).append(account["Id"])
    return {name: ids[0] for name, ids in held.items() if len(ids) == 1}


def _held(org: Org, object: str, name: str, values: Sequence[str]) -> dict[str, str]:
    """Return ids of an object's records by the folded value of what they are matched by, the oldest of each."""
    shown = org.shown(object)
    columns = [c for c in ({"email": ("Email",), "phone": _PHONES}.get(name) or (name,)) if c in shown]
    if not columns:
        return {}
    forms = [form for value in values for form in phone_forms(value)] if name == "phone" else list(values)
    held: dict[str, str] = {}
    for part in parts(forms):
        where = [either([one_of(column, part) for column in columns]), *alive(object)]
        for row in org.ask(select(["Id", *columns], OBJECTS[object], where=where, order=["CreatedDate", "Id"])):
            for column in columns:
                if row.get(column):
                    held.setdefault(_folded(name, str(row[column])), row["Id"])
    return held


def _folded(name: str, value: str) -> str:
    return re.sub(r"\D", "", value)[-10:] if name == "phone" else value.casefold()
