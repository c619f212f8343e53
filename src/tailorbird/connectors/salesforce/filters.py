"""Filters as SOQL conditions, as far as it can ask them; and the rest checked on the records."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from tailorbird.connectors.rest import RemoteInvalid
from tailorbird.connectors.salesforce.objects import Shown, field_of
from tailorbird.connectors.salesforce.soql import column, instant, literal, read_instant
from tailorbird.core.event import Json
from tailorbird.crm.model import Record
from tailorbird.crm.port import Filters

__all__ = ["check_names", "conditions", "fits"]

_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


def check_names(filters: Filters, shown: Mapping[str, Mapping[str, Shown]], tags_field: str) -> None:
    """Raise ``RemoteInvalid`` for names that no object has: nobody would be found, and nobody would know why."""
    unknown = tuple(
        name for name in (*filters.equals, *filters.contains, *filters.before)
        if all(_shown(object, name, fields, tags_field) is None for object, fields in shown.items())
    )  # fmt: skip
    if unknown:
        raise RemoteInvalid(
            f"Salesforce has no field {', '.join(unknown)[:200]}.", fields=unknown,
            hint="Names are ours (city, status) or those of the object's fields that the connection's user may see.",
        )  # fmt: skip


def conditions(object: str, filters: Filters, fields: Mapping[str, Shown], tags_field: str = "") -> list[str] | None:
    """Return what SOQL can ask of the filters, for one object; None where nobody there can fit."""
    asked: list[str] = []
    for name, wanted in filters.equals.items():
        found = _shown(object, name, fields, tags_field)
        if found is None:
            if wanted is not None:
                return None
            continue
        condition = _equals(*found, wanted)
        if condition:
            asked.append(condition)
    for name, parts in filters.contains.items():
        found = _shown(object, name, fields, tags_field)
        if found is None and parts:
            return None
        if found is not None and found[1].field.type == "list" and parts and not any(";" in part for part in parts):
            asked.append(f"{column(found[0])} INCLUDES ({literal(';'.join(parts))})")
    for name, at in filters.before.items():
        found = _shown(object, name, fields, tags_field)
        if found is not None and found[1].filterable and found[1].field.type in ("time", "date"):
            later = instant(-(-at // 1000) * 1000)  # whole seconds: the records are looked at exactly below
            bound = f"<= {later[:10]}" if found[1].field.type == "date" else f"< {later}"
            asked.append(f"({column(found[0])} = null OR {column(found[0])} {bound})")
    if filters.changed_since is not None:
        asked.append(f"SystemModstamp >= {instant(filters.changed_since // 1000 * 1000)}")
    return asked


def fits(record: Record, filters: Filters) -> bool:
    """Return whether all filters hold for a record."""
    for name, wanted in filters.equals.items():
        value = record.value(name)
        alike = name == "email" and isinstance(value, str) and isinstance(wanted, str) and value.casefold() == wanted.casefold()
        if value != wanted and not alike:
            return False
    if any(not set(parts) <= set(_list(record.value(name))) for name, parts in filters.contains.items()):
        return False
    for name, at in filters.before.items():
        when = read_instant(record.value(name))
        if when is not None and when >= at:
            return False
    return filters.changed_since is None or (record.updated_at or 0) >= filters.changed_since


def _shown(object: str, name: str, fields: Mapping[str, Shown], tags_field: str) -> tuple[str, Shown] | None:
    """Return the field that a name means and what is known of it; None where the object has none."""
    theirs = field_of(object, name, tags_field)
    found = fields.get("AccountId" if theirs == "Account.Name" else theirs or "")
    return (theirs, found) if theirs and found is not None else None


def _equals(name: str, found: Shown, wanted: Json) -> str:
    """Return a condition, or nothing where SOQL would refuse to compare the two."""
    kind = found.field.type
    if not found.filterable or kind in ("list", "time"):
        return ""
    if kind == "date" and isinstance(wanted, str):
        return f"{column(name)} = {wanted}" if _DATE.fullmatch(wanted) else ""
    number = isinstance(wanted, int | float) and not isinstance(wanted, bool)
    alike = (isinstance(wanted, str) and kind == "text") or (number and kind == "number")
    alike = alike or (isinstance(wanted, bool) and kind == "bool") or (wanted is None and kind != "bool")
    return f"{column(name)} = {literal(wanted)}" if alike else ""


def _list(value: Json) -> list[Json]:
    if isinstance(value, str):
        return list(value.split(";"))
    return value if isinstance(value, list) else []
