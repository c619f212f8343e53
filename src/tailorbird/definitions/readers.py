"""How one field of a definition is read: texts, choices, conditions, lists and tables of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from tailorbird.content.limits import MAX_SOURCE
from tailorbird.core.event import Json, is_name
from tailorbird.definitions.source import MAX_MISTAKES, Place, Report, Tree, plain
from tailorbird.enrichment.chain import FIELDS_OF, KNOWN_TYPES, PROVIDERS
from tailorbird.errors import InvalidExpression
from tailorbird.expr.check import Schema, references, resolve
from tailorbird.expr.json import from_json
from tailorbird.expr.parse import parse
from tailorbird.expr.read import parse_time
from tailorbird.expr.render import to_text
from tailorbird.expr.types import Type
from tailorbird.expr.units import duration_of

__all__ = [
    "ATTRIBUTE_NAME", "CLOCK", "ENV", "LABEL", "NAME", "Field", "Read", "choice_of", "did_you_mean", "integer_in",
    "list_of", "mapping_of", "optional", "pattern_of", "read_any", "read_baseline", "read_duration", "read_event_type",
    "read_expression", "read_flag", "read_labels", "read_links", "read_preferences", "read_share", "read_source",
    "read_table", "read_text", "read_texts_by_type", "read_timezone", "read_url", "read_value", "table_of",
]  # fmt: skip

NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}\Z")
ATTRIBUTE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}(\.[A-Za-z_][A-Za-z0-9_-]{0,63}){0,7}\Z")
ENV: Final = re.compile(r"[A-Z_][A-Z0-9_]{0,127}\Z")
CLOCK: Final = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]\Z")
_TEXT_LIMIT: Final = 20_000

Read = Callable[[Tree, str, Report], Json]
"""Reads one field: its tree, what to call it in a message, and where to note mistakes; the result is the canonical value."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a kind of definition: its name, how it is read, whether it must be there, and what it is for."""

    name: str
    read: Read
    about: str
    required: bool = False


def did_you_mean(word: str, known: list[str]) -> str:
    """Return a hint for a misspelled word.

    >>> did_you_mean("descripton", ["description", "name"])
    'Did you mean description?'
    """
    close = get_close_matches(word[:100], known, n=1)
    return f"Did you mean {close[0]}?" if close else f"Known are: {', '.join(known)}."


def read_table(
    table: tuple[Field, ...], items: Mapping[str, Tree], about: str, place: Place, report: Report, *, also: list[str]
) -> dict[str, Json]:
    """Read the fields of a table, in its order; note those that are unknown, and those that are missing."""
    known = {item.name: item for item in table}
    spec: dict[str, Json] = {}
    for name, tree in items.items():
        if name not in known:
            hint = did_you_mean(name, [*also, *known]) if report.total < MAX_MISTAKES else ""
            report.add("unknown_field", f"{about} knows no field {name}", tree.place, hint)
        elif tree.value is not None:
            spec[name] = known[name].read(tree, f"{about}, {name}", report)
    for item in table:
        if item.required and (item.name not in items or items[item.name].value is None):
            report.add("missing_field", f"{about} needs the field {item.name}: {item.about}", place)
    return {item.name: spec[item.name] for item in table if item.name in spec}


def _wrong(tree: Tree, about: str, wanted: str, report: Report, code: str = "wrong_type") -> None:
    shown = repr(plain(tree))
    shown = shown if len(shown) <= 60 else f"{shown[:57]}…"
    report.add(code, f"{about}: {shown} is not {wanted}", tree.place)


def read_text(tree: Tree, about: str, report: Report) -> Json:
    """Read a text without the space around it."""
    if not isinstance(tree.value, str) or len(tree.value) > _TEXT_LIMIT or "\x00" in tree.value:
        _wrong(tree, about, f"text of at most {_TEXT_LIMIT} characters", report)
        return None
    return tree.value.strip()


def read_expression(tree: Tree, about: str, report: Report) -> Json:
    """Read a condition or a value in our language or as its tree; the result is its text, as it is always written."""
    value = tree.value
    if isinstance(value, bool | int | float) and not isinstance(value, bool) and tree.place.text is not None:
        value = tree.place.text[tree.place.start : tree.place.end]  # `value: 1` is an expression, too
    elif isinstance(value, bool):
        value = "true" if value else "false"
    try:
        if isinstance(value, str):
            parse(value)
            return value.rstrip()
        if isinstance(value, dict | int | float):
            return to_text(from_json(plain(tree)))
    except InvalidExpression as error:
        report.add_expression(error.mistakes, error.text, tree.place, about)
        return None
    _wrong(tree, about, "an expression (text, or its JSON form)", report)
    return None


def read_any(tree: Tree, about: str, report: Report) -> Json:
    """Read anything as it is."""
    return plain(tree)


def pattern_of(pattern: re.Pattern[str], wanted: str) -> Read:
    """Return a reader of texts that a pattern fits."""

    def read(tree: Tree, about: str, report: Report) -> Json:
        if isinstance(tree.value, str) and pattern.match(tree.value):
            return tree.value
        _wrong(tree, about, wanted, report)
        return None

    return read


def choice_of(*options: str) -> Read:
    """Return a reader of one word out of several."""

    def read(tree: Tree, about: str, report: Report) -> Json:
        if isinstance(tree.value, str) and tree.value in options:
            return tree.value
        _wrong(tree, about, f"one of {', '.join(options)}", report, "unknown_choice")
        return None

    return read


def list_of(item: Read, *, least: int = 0, most: int = 1000) -> Read:
    """Return a reader of a list whose items are all read alike."""

    def read(tree: Tree, about: str, report: Report) -> Json:
        if not isinstance(tree.value, list) or not least <= len(tree.value) <= most:
            _wrong(tree, about, f"a list of {least} to {most}", report)
            return None
        values = [item(part, about, report) for part in tree.value]
        for index, part in enumerate(values):
            if part is not None and part in values[:index]:
                report.add("duplicate", f"{about}: {part} stands twice in the list", tree.value[index].place)
        return values

    return read


def table_of(*table: Field) -> Read:
    """Return a reader of a mapping with known fields."""

    def read(tree: Tree, about: str, report: Report) -> Json:
        if not isinstance(tree.value, dict):
            _wrong(tree, about, f"a mapping of {', '.join(item.name for item in table)}", report)
            return None
        return read_table(table, tree.value, about, tree.place, report, also=[])

    return read


def integer_in(least: int, most: int) -> Read:
    """Return a reader of whole numbers between two, both included."""

    def read(tree: Tree, about: str, report: Report) -> Json:
        if isinstance(tree.value, int) and not isinstance(tree.value, bool) and least <= tree.value <= most:
            return tree.value
        _wrong(tree, about, f"a whole number from {least} to {most}", report)
        return None

    return read


def read_flag(tree: Tree, about: str, report: Report) -> Json:
    """Read true or false."""
    if isinstance(tree.value, bool):
        return tree.value
    _wrong(tree, about, "true or false", report)
    return None


def read_share(tree: Tree, about: str, report: Report) -> Json:
    """Read a number from 0 to 1."""
    if isinstance(tree.value, int | float) and not isinstance(tree.value, bool) and 0 <= tree.value <= 1:
        return float(tree.value)
    _wrong(tree, about, "a number from 0 to 1", report)
    return None


def read_duration(tree: Tree, about: str, report: Report) -> Json:
    """Read a duration such as 30d."""
    if isinstance(tree.value, str) and (duration_of(tree.value) or 0) > 0:
        return tree.value
    _wrong(tree, about, "a duration such as 30m, 12h or 7d", report)
    return None


def read_event_type(tree: Tree, about: str, report: Report) -> Json:
    """Read the type of an event."""
    if is_name(tree.value):
        return tree.value
    _wrong(tree, about, "the type of an event (1 to 200 printable ASCII characters)", report)
    return None


def read_url(tree: Tree, about: str, report: Report) -> Json:
    """Read an address on the web."""
    try:
        parts = urlsplit(tree.value) if isinstance(tree.value, str) and len(tree.value) <= 2000 else None
        good = parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        parts, good = None, False
    if not good or parts is None:
        _wrong(tree, about, "an address that begins with http:// or https://", report)
        return None
    if parts.username or parts.password:
        report.add("secret_in_url", f"{about}: an address must not carry a user or password", tree.place, "Use secret_env.")
        return None
    return tree.value


def read_timezone(tree: Tree, about: str, report: Report) -> Json:
    """Read the name of a time zone."""
    try:
        if isinstance(tree.value, str):
            ZoneInfo(tree.value)
            return tree.value
    except (KeyError, ValueError, OSError):
        pass
    _wrong(tree, about, "a time zone such as Europe/Paris", report)
    return None


def read_baseline(tree: Tree, about: str, report: Report) -> Json:
    """Read what drift is measured against: a duration back from now, or a date."""
    value = tree.value
    if isinstance(value, str) and ((duration_of(value) or 0) > 0 or parse_time(value) is not None):
        return value
    _wrong(tree, about, "a duration back from now (30d) or a date (2026-01-31)", report)
    return None


def _fact_condition(tree: Tree, about: str, report: Report) -> Json:
    """Read a condition that is asked in the middle of a run, when only what is known of the person is at hand."""
    text = read_expression(tree, about, report)
    if isinstance(text, str):
        names = references(parse(text))
        strange = sorted(names.events | names.segments | names.features)
        if strange:
            report.add(
                "not_a_fact", f"{about}: {', '.join(strange)} cannot be asked here", tree.place,
                "A provider's condition sees attributes, tags and consent: title is unknown and has_tag(\"vip\").",
            )  # fmt: skip
        elif names.attributes <= KNOWN_TYPES.keys():  # the others' types are known once all definitions are together
            try:
                resolve(parse(text), Schema(attributes=KNOWN_TYPES), expect=Type.BOOL, text=text)
            except InvalidExpression as error:
                report.add_expression(error.mistakes, error.text, tree.place, about)
    return text


def read_links(tree: Tree, about: str, report: Report) -> Json:
    """Read the links of a provider chain, each provider once."""
    found = list_of(table_of(*_LINK), least=1, most=10)(tree, about, report)
    seen: set[str] = set()
    for part, item in zip(tree.value if isinstance(found, list) else (), found or (), strict=False):
        provider = item.get("provider") if isinstance(item, dict) else None
        if provider in seen:
            report.add("duplicate", f"{about}: {provider} stands twice in the chain", part.place)
        seen.add(str(provider))
        strange = [n for n in (item or {}).get("take") or () if n not in FIELDS_OF.get(str(provider), (n,))]
        if strange:
            report.add(
                "unknown_choice", f"{about}, take: {provider} has no {', '.join(strange)}", part.place,
                f"It has: {', '.join(FIELDS_OF[str(provider)])}.",
            )  # fmt: skip
    return found


def read_preferences(tree: Tree, about: str, report: Report) -> Json:
    """Read for each attribute the providers whose word counts for more, best first."""
    if not isinstance(tree.value, dict):
        _wrong(tree, about, "a mapping such as phone: [dropcontact, apollo]", report)
        return None
    order = list_of(choice_of(*PROVIDERS), least=1)
    return {name: order(item, f"{about}, {name}", report) for name, item in tree.value.items()}


_LINK: Final = (
    Field("provider", choice_of(*PROVIDERS), "who is asked", required=True),
    Field("when", _fact_condition, "a condition over what is known: only if it is true"),
    Field("take", list_of(read_text, least=1), "the attributes that are taken over; all when left out"),
    Field("verifies", read_flag, "whether its word on the e-mail address counts"),
    Field("reveal_phone", read_flag, "whether to pay for mobile numbers"),
    Field("reveal_personal_emails", read_flag, "whether to ask for private addresses"),
    Field("budget", integer_in(0, 10_000_000), "credits a day"),
    Field("limits", table_of(*(Field(n, integer_in(1, 10_000_000), f"requests a {n}") for n in ("second", "minute", "hour", "day"))),
          "requests in a stretch of time"),
    Field("concurrency", integer_in(1, 100), "calls at once"),
)  # fmt: skip


def read_source(tree: Tree, about: str, report: Report) -> Json:
    """Read a text of a template as it stands; only what ends it is left out."""
    if isinstance(tree.value, str) and len(tree.value) <= MAX_SOURCE and "\x00" not in tree.value:
        return tree.value.rstrip()
    _wrong(tree, about, f"text of at most {MAX_SOURCE} characters", report)
    return None


def mapping_of(key: re.Pattern[str], wanted: str, read: Read) -> Read:
    """Return a reader of a mapping whose keys a pattern fits and whose values are all read alike."""

    def read_mapping(tree: Tree, about: str, report: Report) -> Json:
        if not isinstance(tree.value, dict) or len(tree.value) > 200:
            _wrong(tree, about, f"a mapping of {wanted}", report)
            return None
        for name, item in tree.value.items():
            if not key.match(name):
                report.add("invalid_name", f"{about}: {name!r:.60} is not {wanted}", item.place)
        return {name: read(item, f"{about}.{name}", report) for name, item in tree.value.items()}

    return read_mapping


def optional(read: Read) -> Read:
    """Return a reader that takes nothing, too."""
    return lambda tree, about, report: {} if tree.value is None else read(tree, about, report)


def read_value(tree: Tree, about: str, report: Report) -> Json:
    """Read a text, a number, true or false."""
    if isinstance(tree.value, str | int | float | bool):
        return tree.value
    _wrong(tree, about, "text, a number, true or false", report)
    return None


LABEL: Final = re.compile(r"[^\W_][^\x00-\x1f\x7f]{0,99}\Z")


def read_texts_by_type(tree: Tree, about: str, report: Report) -> Json:
    """Read a mapping from event types (``*`` stands for anything) to words."""
    word = pattern_of(LABEL, "a word or two")
    if not isinstance(tree.value, dict) or len(tree.value) > 1000:
        _wrong(tree, about, "a mapping such as email.*: email", report)
        return None
    return {name: word(item, f"{about}, {name}", report) for name, item in tree.value.items()}


def read_labels(tree: Tree, about: str, report: Report) -> Json:
    """Read labels in the order in which they are tried; the last one takes everybody who is left."""
    rules = list_of(table_of(
        Field("label", pattern_of(NAME, "a name (lower-case letters, digits, _ and -)"), "the label", required=True),
        Field("when", read_expression, "the condition that is true for whoever gets it; everybody who is left, in the last one"),
        Field("content", list_of(read_text, most=50), "what to recommend to them, best first"),
    ), least=1, most=100)(tree, about, report)  # fmt: skip
    if isinstance(rules, list) and all(isinstance(item.value, dict) for item in tree.value):
        for place, item in enumerate(tree.value):
            given = item.value.get("when")
            last, has = place == len(rules) - 1, given is not None and given.value is not None
            if last == has:
                told = (
                    "the last label takes everybody who is left: leave out when"
                    if last
                    else "only the last label goes without when"
                )
                report.add("missing_field" if not last else "unknown_field", f"{about}: {told}", item.place)
    return rules
