"""Liquid's filters, guarded: none of them can be made to build something huge, read the clock, or declare a value safe."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from functools import wraps
from html import unescape
from typing import Any, Final

from liquid import Environment, Undefined, soft_str
from liquid.exceptions import FilterArgumentError, ResourceLimitError
from liquid.filter import liquid_filter, with_context

from tailorbird.content.escaping import ADDRESS, HTML, PATH, QUERY, Written, bare
from tailorbird.expr.read import parse_time

__all__ = ["LEFT_OUT", "guard_filters"]

LEFT_OUT: Final = frozenset({"safe", "escapejs"})
"""``safe`` would let a value pass as markup; scripts have no place in a message."""

_LONG_NUMBER: Final = 10**300
_FORMAT: Final = re.compile(r"%[-_0^#]?[A-Za-z%]|[^%]")
_KNOWN: Final = frozenset("aAbBcdDeFgGhHIjklmMnpPrRsStTuUVwWxXyYzZ%")


def guard_filters(environment: Environment, limit: int, *, html: bool = False) -> None:
    """Put a guard around every filter of an environment, and replace those that would read the clock.

    With ``html`` the filters that make HTML return ``Written``; every other one gets text and returns text.
    """
    filters: dict[str, Callable[..., Any]] = {n: f for n, f in environment.filters.items() if n not in LEFT_OUT}
    for name, inner in filters.items():
        filters[name] = _guarded(name, inner, limit)
    filters["date"] = _date
    filters |= {"link_address": _linked(ADDRESS), "link_path": _linked(PATH), "link_query": _linked(QUERY)}
    if html:
        filters |= {"escape": _escaped, "escape_once": _escaped_once, "newline_to_br": _broken}
    environment.filters.clear()
    environment.filters.update(filters)


def _guarded(name: str, inner: Callable[..., Any], limit: int) -> Callable[..., Any]:
    growing = _GROWING.get(name)

    @wraps(inner)
    def guarded(value: Any, *args: Any, **kwargs: Any) -> Any:
        kind = type(value)
        if kind is range and len(value) > limit:
            raise ResourceLimitError(f"{name}: a range of {len(value)} is too long", token=None)
        if kind is int and not -_LONG_NUMBER < value < _LONG_NUMBER:
            raise ResourceLimitError(f"{name}: the number is too large", token=None)
        if growing is not None and growing(value, args) > limit:
            raise ResourceLimitError(f"{name}: the result would have more than {limit} characters", token=None)
        if name == "default":
            return inner(value, *args, **kwargs)
        return inner(_plain(value), *(_plain(item) for item in args), **kwargs)

    return guarded


def _plain(value: Any) -> Any:
    return bare(value) if isinstance(value, Written) else value


def _escaped(value: Any) -> Any:
    return value if isinstance(value, Undefined) else Written(HTML(bare(value)))


def _escaped_once(value: Any) -> Any:
    return value if isinstance(value, Undefined) else Written(HTML(unescape(bare(value))))


def _broken(value: Any) -> Any:
    return (
        value if isinstance(value, Undefined) else Written(str(HTML(bare(value).replace("\r\n", "\n"))).replace("\n", "<br />\n"))
    )


def _replaced(value: Any, args: tuple[Any, ...]) -> int:
    text, old = str(value), str(args[0]) if args else ""
    new = str(args[1]) if len(args) > 1 else ""
    return len(text) + text.count(old) * len(new)


def _joined(value: Any, args: tuple[Any, ...]) -> int:
    if not isinstance(value, list | tuple | range):
        return 0
    between = len(str(args[0])) if args else 1
    return sum(len(item) if isinstance(item, str) else 24 for item in value) + between * len(value)


def _appended(value: Any, args: tuple[Any, ...]) -> int:
    return sum(len(item) for item in (value, *args) if isinstance(item, str | list))


_GROWING: Final[Mapping[str, Callable[[Any, tuple[Any, ...]], int]]] = {
    "replace": _replaced, "join": _joined, "append": _appended, "prepend": _appended, "concat": _appended,
    "truncate": lambda value, args: len(str(args[1])) if len(args) > 1 else 0,
}  # fmt: skip


def _linked(encode: Callable[[Any], str]) -> Callable[..., Any]:
    """Return a filter for a value in an address that stands in plain text."""

    def linked(value: Any) -> Any:
        return value if isinstance(value, Undefined) or value is None else str(unescape(encode(value)))

    return linked


@with_context
@liquid_filter
def _date(value: Any, pattern: Any = None, *, context: Any) -> Any:
    """Return an instant by a ``strftime`` pattern, in UTC; what is no time stays as it is, ``now`` is when the render is made."""
    if isinstance(value, Undefined) or value is None:
        return value
    moment = _moment(value, context)
    if moment is None or pattern is None or isinstance(pattern, Undefined):
        return value
    text = soft_str(pattern)
    if (
        len(text) > 200
        or "".join(_FORMAT.findall(text)) != text
        or any(p[-1] not in _KNOWN for p in re.findall(r"%[-_0^#]?.", text))
    ):
        raise FilterArgumentError(f"{text!r:.80} is not a pattern for a date", token=None)
    return str(moment.strftime(str(text)))


def _moment(value: Any, context: Any) -> datetime | None:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, str):
        if value in ("now", "today"):
            return context.now()  # type: ignore[no-any-return]
        found = parse_time(str(value))
        if found is None:
            return None
        return datetime.fromtimestamp(found / 1000, UTC)
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e11:
        return datetime.fromtimestamp(value, UTC)
    return None
