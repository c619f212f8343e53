"""Where the values of a template come from: each name is bound once to its source, then read for one person after the other.

Precedence, first come first: what the caller gives · for names of a person, attributes, then identifiers · the template's
default. ``attributes.…`` and ``features.…`` are what they say; a caller cannot replace them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from tailorbird.content.names import ATTRIBUTES, Name, canonical, read
from tailorbird.content.rendered import Used
from tailorbird.core.event import Json
from tailorbird.core.profile import Profile, Provenance

__all__ = ["Binding", "Facts", "bind", "namespace", "read_values", "told"]


@dataclass(slots=True)
class Facts:
    """What is known for one render: the person, their identifiers and features, what the caller gives, and the instant.

    ``identifiers`` is asked only when an address is not among the attributes; it yields (kind, value), the best first.
    """

    profile: Profile | None = None
    identifiers: Callable[[], Iterable[tuple[str, str]]] = tuple
    features: Mapping[str, Any] = field(default_factory=dict)
    caller: Mapping[str, Json] = field(default_factory=dict)
    offer: Mapping[str, Json] | None = None
    now: int = 0

    @property
    def attributes(self) -> Mapping[str, Json]:
        """The person's attributes."""
        return self.profile.attributes if self.profile is not None else {}


Found = tuple[Any, str, str]
"""A value (None: missing), its source and the detail."""

_NONE: Final[Found] = (None, "missing", "")


@dataclass(frozen=True, slots=True)
class Binding:
    """A variable of a template: its canonical name, the spellings in the texts, and how its value is found."""

    name: str
    keys: tuple[str, ...]
    find: Callable[[Facts], Found]
    default: Json = None


def bind(paths: Iterable[Sequence[Any]], defaults: Mapping[str, Json], versions: Mapping[str, int]) -> tuple[Binding, ...]:
    """Return a binding for each variable among these paths; ``versions`` says which version of each feature is live."""
    keys: dict[str, list[str]] = {}
    names: dict[str, Name] = {}
    for path in paths:
        name = read(path)
        if name is None or (name.source == "caller" and name.parts[:1] == ("forloop",)):
            continue
        spelled = ".".join(str(part) for part in path if part is not None) if None not in path else str(path[0])
        found = keys.setdefault(name.name, [])
        names[name.name] = name
        if spelled not in found:
            found.append(spelled)
    given = {canonical(name): value for name, value in defaults.items()}
    return tuple(
        Binding(name, tuple(spelled), _finder(names[name], tuple(spelled), versions), given.get(name))
        for name, spelled in sorted(keys.items())
    )


def read_values(bindings: Sequence[Binding], facts: Facts) -> tuple[dict[str, Any], list[Found]]:
    """Return the values by every spelling, missing ones left out, and for each binding its value, source and detail."""
    flat: dict[str, Any] = {}
    found: list[Found] = []
    for binding in bindings:
        one = binding.find(facts)
        if one[0] is None:
            if binding.default is None:
                found.append(_NONE)
                continue
            one = (binding.default, "default", "")
        found.append(one)
        value = one[0]
        for key in binding.keys:
            flat[key] = value
    return flat, found


def told(bindings: Sequence[Binding], found: Sequence[Found]) -> tuple[Used, ...]:
    """Return what was used, with its source."""
    return tuple(
        [Used(binding.name, source, detail, value) for binding, (value, source, detail) in zip(bindings, found, strict=True)]
    )


def namespace(flat: Mapping[str, Any], facts: Facts) -> dict[str, Any]:
    """Return the values as Liquid's own rendering looks them up: nested by the parts of their names."""
    moment = datetime.fromtimestamp(facts.now / 1000, UTC)
    names: dict[str, Any] = {"now": moment, "today": moment.date()}
    for key in sorted(flat, key=len):
        root, *rest = key.split(".")
        if root not in ATTRIBUTES and root != "features" and rest and root not in names:
            whole = facts.offer if root == "offer" and root not in facts.caller else facts.caller.get(root)
            names[root] = {} if whole is None else whole
        _insert(names, [root, *rest], flat[key])
    return names


def _insert(names: dict[str, Any], path: Sequence[str], value: Any) -> None:
    place = names
    for part in path[:-1]:
        inner = place.get(part)
        if inner is None:
            inner = {}
        elif not isinstance(inner, dict):
            return
        place[part] = inner = dict(inner)
        place = inner
    place.setdefault(path[-1], value)


def _finder(name: Name, keys: Sequence[str], versions: Mapping[str, int]) -> Callable[[Facts], Found]:
    match name.source:
        case "attribute":
            return _attribute(name.parts)
        case "feature":
            return _feature(name.parts, versions)
        case "clock":
            return lambda facts: (datetime.fromtimestamp(facts.now / 1000, UTC), "clock", "")
        case "person":
            return _PEOPLE[name.name](tuple({name.name, *keys}))
        case "offer":
            return _offer(name.parts)
    return _caller(name.parts)


def _walk(value: Any, parts: Sequence[str | int]) -> Any:
    """Return what a path leads to as Liquid walks it (``size``, ``first``, ``last``); None when nowhere."""
    for part in parts:
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif part == "size" and isinstance(value, dict | list | str):
            value = len(value)
        elif isinstance(value, list):
            index = {"first": 0, "last": -1}.get(part) if isinstance(part, str) else part
            if index is None or not -len(value) <= index < len(value):
                return None
            value = value[index]
        else:
            return None
    return value


def _attribute(parts: tuple[str | int, ...]) -> Callable[[Facts], Found]:
    first, rest = str(parts[0]) if parts else "", parts[1:]

    def find(facts: Facts) -> Found:
        profile = facts.profile
        if profile is None:
            return _NONE
        value = profile.attributes.get(first)
        if rest:
            value = _walk(value, rest)
        if value is None:
            return _NONE
        origin = profile.provenance.get(first)
        return value, "attribute", origin.source if origin is not None else ""

    return find


def _feature(parts: tuple[str | int, ...], versions: Mapping[str, int]) -> Callable[[Facts], Found]:
    first, rest = str(parts[0]) if parts else "", parts[1:]
    detail = f"v{versions[first]}" if first in versions else ""

    def find(facts: Facts) -> Found:
        value = facts.features.get(first)
        if rest:
            value = _walk(value, rest)
        if type(value) is float and value.is_integer() and abs(value) < 1e15:
            value = int(value)
        return (value, "feature", detail) if value is not None else _NONE

    return find


def _offer(parts: tuple[str | int, ...]) -> Callable[[Facts], Found]:
    def find(facts: Facts) -> Found:
        if "offer" in facts.caller:
            return _walk(facts.caller["offer"], parts[1:]), "caller", ""
        return _walk(facts.offer, parts[1:]), "offer", ""

    return find


def _caller(parts: tuple[str | int, ...]) -> Callable[[Facts], Found]:
    root, rest = str(parts[0]), parts[1:]

    def find(facts: Facts) -> Found:
        value = facts.caller.get(root)
        return (_walk(value, rest) if rest else value), "caller", ""

    return find


def _given(facts: Facts, keys: Sequence[str]) -> Any:
    caller = facts.caller
    if caller:
        for key in keys:
            value = caller.get(key)
            if value is not None:
                return value
    return None


def _from(name: str, provenance: Mapping[str, Provenance]) -> str:
    origin = provenance.get(name)
    return f"{name} {origin.source}" if origin is not None else name


def _named(name: str) -> Callable[[Sequence[str]], Callable[[Facts], Found]]:
    def make(keys: Sequence[str]) -> Callable[[Facts], Found]:
        def find(facts: Facts) -> Found:
            if facts.caller and (value := _given(facts, keys)) is not None:
                return value, "caller", ""
            profile = facts.profile
            if profile is None:
                return _NONE
            value = profile.attributes.get(name)
            if value is not None and value != "":
                origin = profile.provenance.get(name)
                return value, "attribute", origin.source if origin is not None else ""
            if name in ("email", "phone"):
                for kind, held in facts.identifiers():
                    if kind == name:
                        return held, "identifier", kind
            return _NONE

        return find

    return make


def _full_name(keys: Sequence[str]) -> Callable[[Facts], Found]:
    def find(facts: Facts) -> Found:
        value = _given(facts, keys)
        if value is not None:
            return value, "caller", ""
        profile = facts.profile
        if profile is None:
            return _NONE
        there = profile.attributes
        for name in ("full_name", "name"):
            if isinstance(there.get(name), str) and there[name]:
                return there[name], "attribute", _from(name, profile.provenance)
        names = [name for name in ("first_name", "last_name") if there.get(name)]
        if not names:
            return _NONE
        return " ".join(str(there[name]) for name in names), "attribute", ", ".join(_from(n, profile.provenance) for n in names)

    return find


_PEOPLE: Final[Mapping[str, Callable[[Sequence[str]], Callable[[Facts], Found]]]] = {
    "first_name": _named("first_name"), "last_name": _named("last_name"), "email": _named("email"), "phone": _named("phone"),
    "full_name": _full_name,
}  # fmt: skip
