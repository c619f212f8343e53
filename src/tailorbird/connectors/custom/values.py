"""Small languages of a custom connector: paths into answers, templates of requests, and transforms of values."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from tailorbird.core.event import Json
from tailorbird.errors import TailorbirdError
from tailorbird.profiles.normalise import normalise

__all__ = [
    "TRANSFORMS", "check_path", "check_transform", "fill_path", "fill_text", "fill_tree", "names_in", "put", "read", "transformed",
    "written_time",
]  # fmt: skip

_STEP: Final = re.compile(r"\.?([A-Za-z0-9_@$ -]+)|\[([0-9]{1,6})\]|\[\*\]|\['([^'\]]+)'\]")
_HOLE: Final = re.compile(r"\{([a-z_]+)\}")
_FAR: Final = 10**15


def check_path(text: str) -> bool:
    """Return whether a text is a path: ``$.data[0].id``, ``$`` for the whole, ``[*]`` for every one of a list.

    >>> check_path("$.meta.total"), check_path("$"), check_path("$..x"), check_path("meta")
    (True, True, False, False)
    """
    return _steps(text) is not None


def _steps(text: str) -> list[str | int | None] | None:
    if not text.startswith("$"):
        return None
    steps: list[str | int | None] = []
    at = 1
    while at < len(text):
        found = _STEP.match(text, at)
        if found is None or (found[1] is not None and text[at] != "."):
            return None
        steps.append(int(found[2]) if found[2] else found[1] or found[3])
        at = found.end()
    return steps


def read(path: str, value: Json) -> Json:
    """Return what stands at a path; None where nothing does.

    >>> read("$.a[1].b", {"a": [{}, {"b": 5}]}), read("$.a[*].b", {"a": [{"b": 1}, {"b": 2}]}), read("$.x.y", {"x": None})
    (5, [1, 2], None)
    """
    steps = _steps(path)
    return None if steps is None else _follow(steps, value)


def _follow(steps: Sequence[str | int | None], value: Json) -> Json:
    for place, step in enumerate(steps):
        if step is None:
            return [_follow(steps[place + 1 :], one) for one in value] if isinstance(value, list) else None
        if isinstance(step, int):
            value = value[step] if isinstance(value, list) and step < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def put(target: dict[str, Json], path: str, value: Json) -> None:
    """Set what stands at a path of names with dots between, making what is missing on the way.

    >>> made = {}; put(made, "attributes.city", "Paris"); made
    {'attributes': {'city': 'Paris'}}
    """
    *way, last = path.split(".")
    for step in way:
        inner = target.setdefault(step, {})
        if not isinstance(inner, dict):
            inner = target[step] = {}
        target = inner
    target[last] = value


def names_in(template: Json) -> set[str]:
    """Return the names that a template asks for.

    >>> sorted(names_in({"a": ["{id}", "x {text}"], "{key}": 1}))
    ['id', 'key', 'text']
    """
    if isinstance(template, str):
        return set(_HOLE.findall(template))
    if isinstance(template, Mapping):
        return set().union(*(names_in(part) for pair in template.items() for part in pair))
    return set().union(*map(names_in, template)) if isinstance(template, list | tuple) else set()


def fill_text(template: str, values: Mapping[str, Json]) -> str:
    """Return a template with its values as they are; what sends it escapes it."""
    return _HOLE.sub(lambda found: _text(values.get(found[1])), template)


def fill_path(template: str, values: Mapping[str, Json]) -> str:
    """Return the template of an address with its values escaped: none of them can leave its place in the path.

    >>> fill_path("/people/{id}", {"id": "../admin?x=1"})
    '/people/..%2Fadmin%3Fx%3D1'
    >>> fill_path("/people/{id}", {"id": ".."})
    '/people/%2E%2E'
    """

    def safe(found: re.Match[str]) -> str:
        text = quote(_text(values.get(found[1])), safe="")
        return text.replace(".", "%2E") if text in (".", "..") else text

    return _HOLE.sub(safe, template)


def fill_tree(template: Json, values: Mapping[str, Json]) -> Json:
    """Return a template of JSON with its values put in as values: nothing in them is read as JSON.

    A text that is one name and nothing else becomes the value itself, whatever its type; what is None is left out of objects.

    >>> fill_tree({"id": "{id}", "note": "of {id}"}, {"id": 7})
    {'id': 7, 'note': 'of 7'}
    """
    if isinstance(template, str):
        whole = _HOLE.fullmatch(template)
        return values.get(whole[1]) if whole is not None else fill_text(template, values)
    if isinstance(template, Mapping):
        filled = ((fill_text(name, values), part, fill_tree(part, values)) for name, part in template.items())
        return {name: value for name, part, value in filled if value is not None or part is None}
    return [fill_tree(part, values) for part in template] if isinstance(template, list | tuple) else template


def _text(value: Json) -> str:
    return "" if value is None else "true" if value is True else "false" if value is False else str(value)


# ---- transforms


def _time(value: Json) -> Json:
    """Return an instant in ms: ISO text, or a number of s or ms since 1970."""
    if isinstance(value, str) and value.strip():
        try:
            moment = datetime.fromisoformat(value.strip())
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            return round(moment.timestamp() * 1000)
        except (ValueError, OverflowError):
            return int(value) if value.strip().isdecimal() and len(value) < 16 else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _FAR:
        return None
    return int(value if abs(value) >= 10**11 else value * 1000)


def _e164(value: Json) -> Json:
    if not isinstance(value, str):
        return None
    try:
        return normalise("phone", value).value
    except TailorbirdError:
        return value


def _bool(value: Json) -> Json:
    if isinstance(value, str):
        return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}.get(value.strip().lower())
    return None if value is None else bool(value)


def _number(value: Json) -> Json:
    try:
        return value if isinstance(value, int | float) else float(str(value))
    except ValueError:
        return None


def _each(change: Callable[[str], str]) -> Callable[[Json], Json]:
    def apply(value: Json) -> Json:
        if isinstance(value, list):
            return [apply(one) for one in value]
        return change(value) if isinstance(value, str) else value

    return apply


TRANSFORMS: Final[Mapping[str, Callable[[Json], Json]]] = {
    "lower": _each(str.lower), "upper": _each(str.upper), "trim": _each(str.strip), "e164": _e164, "date": _time, "bool": _bool,
    "not": lambda value: None if value is None else not _bool(value), "number": _number,
    "text": lambda value: None if value is None else _text(value),
    "first": lambda value: value[0] if isinstance(value, list) and value else None,
    "list": lambda value: value if isinstance(value, list) else [] if value is None else [value],
    "iso": lambda value: None if value is None else written_time(int(value), "iso"),
}  # fmt: skip
"""Transforms by name; besides them there are ``split X`` and ``join X``."""


def check_transform(name: str) -> bool:
    """Return whether there is such a transform."""
    return name in TRANSFORMS or (name.startswith(("split ", "join ")) and len(name.partition(" ")[2]) > 0)


def transformed(value: Json, transforms: Sequence[str]) -> Json:
    """Return a value after transforms, one after the other.

    >>> transformed("A; b", ["split ;", "trim", "lower"])
    ['a', 'b']
    """
    for name in transforms:
        verb, _, by = name.partition(" ")
        if verb == "split":
            value = [part for part in value.split(by) if part.strip()] if isinstance(value, str) else value
        elif verb == "join":
            value = by.join(_text(part) for part in value) if isinstance(value, list) else value
        else:
            value = TRANSFORMS[name](value)
    return value


def written_time(at: int, form: str) -> str:
    """Return an instant as a vendor wants it: ``iso``, ``epoch_ms`` or ``epoch_s``.

    >>> written_time(1_500, "iso"), written_time(1_500, "epoch_s")
    ('1970-01-01T00:00:01.500Z', '1')
    """
    if form == "iso":
        return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return str(at) if form == "epoch_ms" else str(at // 1000)
