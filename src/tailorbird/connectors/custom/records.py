"""Records of a custom connector: read from its answers, and written as it wants them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tailorbird.connectors.custom.spec import Spec
from tailorbird.connectors.custom.values import put, read, transformed
from tailorbird.core.event import Json
from tailorbird.crm.model import NEUTRAL, Record
from tailorbird.crm.port import Filters

__all__ = ["dropped", "fits", "record_of", "values_of"]

_LISTS: Final = ("tags", "emails", "phones")
_TIMES: Final = ("created_at", "updated_at")


def record_of(spec: Spec, value: Json) -> Record | None:
    """Return what stands in an answer as a record; None where it has no id."""
    told: dict[str, Any] = {}
    consents: dict[str, bool] = {}
    for name, place in spec.reading.items():
        found = transformed(read(place.path, value), place.transforms)
        if found is None:
            continue
        if name.startswith("consent:"):
            if isinstance(found, bool):
                consents[name.removeprefix("consent:")] = found
        elif name in _LISTS:
            told[name] = tuple(str(one) for one in found if one is not None) if isinstance(found, list) else (str(found),)
        elif name in _TIMES:
            instant = transformed(found, ("date",))
            told[name] = instant if isinstance(instant, int) else None
        elif name == "deleted":
            told[name] = found is True
        elif not isinstance(found, dict | list):
            told[name] = found if isinstance(found, str) else str(found)
    if not told.get("id"):
        return None
    own = read(spec.fields, value)
    told.setdefault("emails", (told["email"],) if told.get("email") else ())
    told.setdefault("phones", (told["phone"],) if told.get("phone") else ())
    names = [told[part] for part in ("first_name", "last_name") if told.get(part)]
    told.setdefault("name", " ".join(names) or None)
    return Record(**told, consents=consents, fields=own if isinstance(own, dict) else {})


def values_of(spec: Spec, values: Mapping[str, Json]) -> tuple[dict[str, Json], tuple[str, ...]]:
    """Return the values as the CRM wants them, and the names that it has no place for."""
    made: dict[str, Json] = {}
    nowhere = []
    for name, value in values.items():
        place = spec.writing.get(name)
        if place is not None:
            put(made, place.path, None if value is None else transformed(value, place.transforms))
        elif (rest := spec.writing.get("*")) is not None and name not in NEUTRAL:
            prefix = rest.path.removesuffix("{name}").rstrip(".")
            target = made
            for step in prefix.split(".") if prefix else ():
                inner = target.setdefault(step, {})
                target = inner if isinstance(inner, dict) else {}
            target[name] = None if value is None else transformed(value, rest.transforms)  # a name with dots in it is one name
        else:
            nowhere.append(name)
    return made, tuple(sorted(nowhere))


def dropped(spec: Spec, wanted: Mapping[str, Json], record: Record) -> tuple[str, ...]:
    """Return the names of values that the answer to a write does not hold although it could."""
    lost = []
    for name, value in wanted.items():
        if name in NEUTRAL and name not in spec.reading:
            continue
        held = record.value(name)
        if isinstance(value, list | tuple):
            kept = {_plain(one) for one in value} <= {_plain(one) for one in held or ()} if isinstance(held, list) else not value
        else:
            kept = _plain(held) == _plain(value) or (name == "phone" and held is not None)
        if not kept:
            lost.append(name)
    return tuple(sorted(lost))


def _plain(value: Json) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else str(value).strip().casefold()


def fits(record: Record, filters: Filters) -> bool:
    """Return whether all filters hold for a record."""
    for name, wanted in filters.equals.items():
        held = record.value(name)
        if not (_plain(held) == _plain(wanted) if isinstance(wanted, str) else held == wanted):
            return False
    for name, parts in filters.contains.items():
        held = record.value(name)
        if not {_plain(part) for part in parts} <= {_plain(one) for one in (held if isinstance(held, list) else [])}:
            return False
    for name, instant in filters.before.items():
        at = transformed(record.value(name), ("date",))
        if isinstance(at, int) and at >= instant:
            return False
    return filters.changed_since is None or record.updated_at is None or record.updated_at >= filters.changed_since
