"""What each kind of definition may say: one table of fields, and how each is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from tailorbird.content.limits import MAX_SOURCE
from tailorbird.content.spec import NETWORKS, check_template
from tailorbird.core.definition import Kind
from tailorbird.core.event import Json, is_name
from tailorbird.definitions.source import MAX_MISTAKES, Place, Report, Tree, plain
from tailorbird.enrichment.chain import FIELDS_OF, KNOWN_TYPES, PROVIDERS
from tailorbird.errors import InvalidExpression, Mistake
from tailorbird.expr.check import Schema, references, resolve
from tailorbird.expr.json import from_json
from tailorbird.expr.parse import parse
from tailorbird.expr.read import parse_time
from tailorbird.expr.render import to_text
from tailorbird.expr.types import Type
from tailorbird.expr.units import duration_of
from tailorbird.profiles.lifecycle import check_lifecycle
from tailorbird.profiles.pipeline import check_pipeline
from tailorbird.profiles.rules import check_merge_rule

__all__ = ["ATTRIBUTE_NAME", "FIELDS", "NAME", "Field", "did_you_mean", "read_fields", "read_name"]

NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}\Z")
ATTRIBUTE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}(\.[A-Za-z_][A-Za-z0-9_-]{0,63}){0,7}\Z")
_ENV: Final = re.compile(r"[A-Z_][A-Z0-9_]{0,127}\Z")
_CLOCK: Final = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]\Z")
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


def read_name(kind: str, tree: Tree | None, place: Place, report: Report) -> str | None:
    """Return the name of a definition, or note why it is none."""
    if tree is None:
        report.add("missing_field", f"this {kind} has no name", place, "Add a line such as: name: hot_lead")
        return None
    name, pattern = tree.value, ATTRIBUTE_NAME if kind == Kind.ATTRIBUTE else NAME
    if isinstance(name, str) and pattern.match(name):
        return name
    report.add(
        "invalid_name", f"{plain(tree)!r} cannot be the name of a {kind}", tree.place,
        "A name is a lower-case letter, then up to 63 lower-case letters, digits, _ or -."
        if pattern is NAME else "An attribute's name is words of letters, digits, _ or -, joined by dots.",
    )  # fmt: skip
    return None


def read_fields(kind: Kind, items: Mapping[str, Tree], about: str, place: Place, report: Report) -> dict[str, Json]:
    """Return the canonical spec of a definition's fields (``kind`` and ``name`` already taken out)."""
    spec = _read_table(FIELDS[kind], items, about, place, report, also=["kind", "name", "draft"])
    if kind in _CHECKS:
        for item in _CHECKS[kind](spec):  # what such a rule may say is known where it is carried out
            field = items.get(item.where.partition(".")[0])
            report.add(item.code, f"{about}, {item.where}: {item.message}", field.place if field else place, item.hint)
    elif kind == Kind.TEMPLATE:
        for item in check_template(spec):
            found = _inside(items, item.where) or place
            report.add(item.code, f"{about}, {item.where}: {item.message}", found, item.hint)
    return spec


def _inside(items: Mapping[str, Tree], where: str) -> Place | None:
    """Return where the field at a path such as ``variants.fr.subject`` stands, or the nearest one around it."""
    place: Place | None = None
    inside: object = items
    for name in where.split("."):
        if not isinstance(inside, Mapping) or name not in inside:
            break
        place, inside = inside[name].place, inside[name].value
    return place


def _read_table(
    table: tuple[Field, ...], items: Mapping[str, Tree], about: str, place: Place, report: Report, *, also: list[str]
) -> dict[str, Json]:
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


def _text(tree: Tree, about: str, report: Report) -> Json:
    if not isinstance(tree.value, str) or len(tree.value) > _TEXT_LIMIT or "\x00" in tree.value:
        _wrong(tree, about, f"text of at most {_TEXT_LIMIT} characters", report)
        return None
    return tree.value.strip()


def _expression(tree: Tree, about: str, report: Report) -> Json:
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


def _any(tree: Tree, about: str, report: Report) -> Json:
    return plain(tree)


def _pattern(pattern: re.Pattern[str], wanted: str) -> Read:
    def read(tree: Tree, about: str, report: Report) -> Json:
        if isinstance(tree.value, str) and pattern.match(tree.value):
            return tree.value
        _wrong(tree, about, wanted, report)
        return None

    return read


def _choice(*options: str) -> Read:
    def read(tree: Tree, about: str, report: Report) -> Json:
        if isinstance(tree.value, str) and tree.value in options:
            return tree.value
        _wrong(tree, about, f"one of {', '.join(options)}", report, "unknown_choice")
        return None

    return read


def _list_of(item: Read, *, least: int = 0, most: int = 1000) -> Read:
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


def _table_of(*table: Field) -> Read:
    def read(tree: Tree, about: str, report: Report) -> Json:
        if not isinstance(tree.value, dict):
            _wrong(tree, about, f"a mapping of {', '.join(item.name for item in table)}", report)
            return None
        return _read_table(table, tree.value, about, tree.place, report, also=[])

    return read


def _integer(least: int, most: int) -> Read:
    def read(tree: Tree, about: str, report: Report) -> Json:
        if isinstance(tree.value, int) and not isinstance(tree.value, bool) and least <= tree.value <= most:
            return tree.value
        _wrong(tree, about, f"a whole number from {least} to {most}", report)
        return None

    return read


def _flag(tree: Tree, about: str, report: Report) -> Json:
    if isinstance(tree.value, bool):
        return tree.value
    _wrong(tree, about, "true or false", report)
    return None


def _share(tree: Tree, about: str, report: Report) -> Json:
    if isinstance(tree.value, int | float) and not isinstance(tree.value, bool) and 0 <= tree.value <= 1:
        return float(tree.value)
    _wrong(tree, about, "a number from 0 to 1", report)
    return None


def _duration(tree: Tree, about: str, report: Report) -> Json:
    if isinstance(tree.value, str) and (duration_of(tree.value) or 0) > 0:
        return tree.value
    _wrong(tree, about, "a duration such as 30m, 12h or 7d", report)
    return None


def _event_type(tree: Tree, about: str, report: Report) -> Json:
    if is_name(tree.value):
        return tree.value
    _wrong(tree, about, "the type of an event (1 to 200 printable ASCII characters)", report)
    return None


def _url(tree: Tree, about: str, report: Report) -> Json:
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


def _timezone(tree: Tree, about: str, report: Report) -> Json:
    try:
        if isinstance(tree.value, str):
            ZoneInfo(tree.value)
            return tree.value
    except (KeyError, ValueError, OSError):
        pass
    _wrong(tree, about, "a time zone such as Europe/Paris", report)
    return None


def _baseline(tree: Tree, about: str, report: Report) -> Json:
    value = tree.value
    if isinstance(value, str) and ((duration_of(value) or 0) > 0 or parse_time(value) is not None):
        return value
    _wrong(tree, about, "a duration back from now (30d) or a date (2026-01-31)", report)
    return None


def _fact_condition(tree: Tree, about: str, report: Report) -> Json:
    """Read a condition that is asked in the middle of a run, when only what is known of the person is at hand."""
    text = _expression(tree, about, report)
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


def _links(tree: Tree, about: str, report: Report) -> Json:
    found = _list_of(_table_of(*_LINK), least=1, most=10)(tree, about, report)
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


def _preferences(tree: Tree, about: str, report: Report) -> Json:
    if not isinstance(tree.value, dict):
        _wrong(tree, about, "a mapping such as phone: [dropcontact, apollo]", report)
        return None
    order = _list_of(_choice(*PROVIDERS), least=1)
    return {name: order(item, f"{about}, {name}", report) for name, item in tree.value.items()}


_LINK: Final = (
    Field("provider", _choice(*PROVIDERS), "who is asked", required=True),
    Field("when", _fact_condition, "a condition over what is known: only if it is true"),
    Field("take", _list_of(_text, least=1), "the attributes that are taken over; all when left out"),
    Field("verifies", _flag, "whether its word on the e-mail address counts"),
    Field("reveal_phone", _flag, "whether to pay for mobile numbers"),
    Field("reveal_personal_emails", _flag, "whether to ask for private addresses"),
    Field("budget", _integer(0, 10_000_000), "credits a day"),
    Field("limits", _table_of(*(Field(n, _integer(1, 10_000_000), f"requests a {n}") for n in ("second", "minute", "hour", "day"))),
          "requests in a stretch of time"),
    Field("concurrency", _integer(1, 100), "calls at once"),
)  # fmt: skip


def _source(tree: Tree, about: str, report: Report) -> Json:
    """Read a text of a template as it stands; only what ends it is left out."""
    if isinstance(tree.value, str) and len(tree.value) <= MAX_SOURCE and "\x00" not in tree.value:
        return tree.value.rstrip()
    _wrong(tree, about, f"text of at most {MAX_SOURCE} characters", report)
    return None


def _mapping_of(key: re.Pattern[str], wanted: str, read: Read) -> Read:
    def read_mapping(tree: Tree, about: str, report: Report) -> Json:
        if not isinstance(tree.value, dict) or len(tree.value) > 200:
            _wrong(tree, about, f"a mapping of {wanted}", report)
            return None
        for name, item in tree.value.items():
            if not key.match(name):
                report.add("invalid_name", f"{about}: {name!r:.60} is not {wanted}", item.place)
        return {name: read(item, f"{about}.{name}", report) for name, item in tree.value.items()}

    return read_mapping


def _optional(read: Read) -> Read:
    return lambda tree, about, report: {} if tree.value is None else read(tree, about, report)


def _value(tree: Tree, about: str, report: Report) -> Json:
    if isinstance(tree.value, str | int | float | bool):
        return tree.value
    _wrong(tree, about, "text, a number, true or false", report)
    return None


_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}\Z")
_PATH: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,199}\Z")
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8}){0,4}\Z")
_TONGUE: Final = _pattern(_LANGUAGE, "a language such as en or pt-BR")


_LABEL: Final = re.compile(r"[^\W_][^\x00-\x1f\x7f]{0,99}\Z")


def _texts_by_pattern(tree: Tree, about: str, report: Report) -> Json:
    """Read a mapping from event types (``*`` stands for anything) to words."""
    word = _pattern(_LABEL, "a word or two")
    if not isinstance(tree.value, dict) or len(tree.value) > 1000:
        _wrong(tree, about, "a mapping such as email.*: email", report)
        return None
    return {name: word(item, f"{about}, {name}", report) for name, item in tree.value.items()}


def _labels(tree: Tree, about: str, report: Report) -> Json:
    """Read labels in the order in which they are tried; the last one takes everybody who is left."""
    rules = _list_of(_table_of(
        Field("label", _pattern(NAME, "a name (lower-case letters, digits, _ and -)"), "the label", required=True),
        Field("when", _expression, "the condition that is true for whoever gets it; everybody who is left, in the last one"),
        Field("content", _list_of(_text, most=50), "what to recommend to them, best first"),
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


_NAMES: Final = _pattern(NAME, "a name (lower-case letters, digits, _ and -)")
_ABOUT: Final = Field("description", _text, "what it is for, in a sentence")

FIELDS: Final[Mapping[Kind, tuple[Field, ...]]] = {
    Kind.ATTRIBUTE: (
        Field("type", _choice(*(t for t in Type if t != Type.DURATION)), "what its values are read as", required=True),
        _ABOUT,
    ),
    Kind.FEATURE: (
        Field("value", _expression, "the expression that yields it", required=True),
        Field("type", _choice(*Type), "the type it must have; checked"),
        Field("view", _NAMES, "the feature view it belongs to"),
        _ABOUT,
    ),
    Kind.FEATURE_VIEW: (
        Field("features", _list_of(_NAMES), "the names of features it shows"),
        _ABOUT,
    ),
    Kind.SEGMENT: (
        Field("when", _expression, "the condition that is true for its members"),
        Field("members", _choice("manual"), "members are added and removed by hand"),
        Field("baseline", _baseline, "what drift is measured against: a duration back from now, or a date"),
        _ABOUT,
    ),
    Kind.SUBSCRIPTION: (
        Field("events", _list_of(_event_type, least=1), "the types of event that are sent", required=True),
        Field("url", _url, "where they are posted", required=True),
        Field("secret_env", _pattern(_ENV, "the name of an environment variable"), "the variable that holds the signing secret"),
        Field("segments", _list_of(_NAMES, least=1), "only events of these segments"),
        _ABOUT,
    ),
    Kind.GATE: (
        Field("channel", _text, "the channel it guards", required=True),
        Field("purpose", _text, "the purpose it guards; all of the channel's when left out"),
        Field("cap", _table_of(
            Field("count", _integer(1, 1_000_000), "how many", required=True),
            Field("per", _duration, "in how long", required=True),
            Field("then", _choice("refuse", "defer"), "what a reached cap does: refuse (when left out), or defer"),
        ), "how many a profile may get in a stretch of time"),
        Field("quiet_hours", _table_of(
            Field("from", _pattern(_CLOCK, "a time of day such as 22:00"), "when they begin", required=True),
            Field("to", _pattern(_CLOCK, "a time of day such as 08:00"), "when they end", required=True),
            Field("timezone", _timezone, "in which time zone; UTC when left out"),
        ), "when nothing is sent"),
        _ABOUT,
    ),
    Kind.MERGE_RULE: (
        Field("on", _any, "kinds of identifier that, shared, join two identified profiles: email, phone"),
        Field("when", _any, "compatible, same_name, always or never"),
        Field("anonymous", _any, "whether anonymous activity joins the person who identifies: join or never"),
        Field("shared_device", _any, "whose a second person's device is from then on: forward (theirs) or keep"),
        Field("attributes", _any, "which value stands where both have one: newest or winner"),
        Field("limits", _any, "how much one profile may gather: {identifiers: 500, merges: 500}"),
        Field("ignore", _any, "values that identify nobody"),
        _ABOUT,
    ),
    Kind.ENRICHMENT: (
        Field("providers", _links, "whom to ask, in order", required=True),
        Field("if_unverified", _choice("assume_valid", "unknown"), "what an address counts as that no verifier could judge"),
        Field("again_after", _duration, "how long nobody is asked about the same person again; 90d when left out"),
        Field("prefer", _preferences, "for an attribute, the providers whose word counts for more, best first"),
        _ABOUT,
    ),
    Kind.TEMPLATE: (
        Field("type", _choice("email", "sms", "social", "plain"), "what it becomes", required=True),
        Field("language", _TONGUE, "the language of the texts at the top; en when left out"),
        Field("subject", _source, "an e-mail's subject"),
        Field("preheader", _source, "what mail programs show beside the subject"),
        Field("html", _source, "HTML; its styles go into its elements"),
        Field("mjml", _source, "MJML, which becomes HTML"),
        Field("text", _source, "the text beside the HTML; made from it when left out"),
        Field("body", _source, "the text of a message, a post or a piece"),
        Field("variants", _mapping_of(re.compile(r".{1,80}\Z"), "variants", _table_of(
            Field("subject", _source, "the subject"), Field("preheader", _source, "the preheader"), Field("html", _source, "HTML"),
            Field("mjml", _source, "MJML"), Field("text", _source, "text"), Field("body", _source, "the text"),
        )), "the texts in other languages and styles: fr, formal, fr/formal"),
        Field("fallback", _list_of(_TONGUE, least=1, most=20), "languages to try, in order, when there is nothing in a person's own"),
        Field("missing", _choice("default", "skip", "fail"), "what a missing value does: default (when left out), skip or fail"),
        Field("defaults", _mapping_of(_PATH, "names of variables", _value), "what stands in for missing values, by variable"),
        Field("variables", _mapping_of(_VARIABLE, "names of variables", _optional(_table_of(
            Field("default", _value, "what stands in for it"), Field("description", _text, "what it is"),
        ))), "what the caller gives, by name"),
        Field("network", _choice(*NETWORKS), "the network a post is for, which limits its length"),
        Field("max_segments", _integer(1, 20), "how many segments a text message may take"),
        Field("restyle", _flag, "false: the word lists for formal and casual style leave it alone"),
        _ABOUT,
    ),
    Kind.LIFECYCLE: (
        Field("stages", _list_of(_table_of(
            Field("name", _NAMES, "the stage's name, which the attribute status then has", required=True),
            Field("when", _expression, "the condition that brings people to it by itself"),
            Field("from_anywhere", _flag, "entered from every other stage, and left only by a person's word"),
            Field("terminal", _flag, "not left by itself, but for a stage from anywhere"),
            _ABOUT,
        ), least=1, most=50), "the stages in their order; everybody begins in the first", required=True),
        _ABOUT,
    ),
    Kind.PIPELINE: (
        Field("stages", _list_of(_table_of(
            Field("name", _NAMES, "the stage's name", required=True),
            Field("probability", _share, "how likely a deal in it is won: 0 to 1", required=True),
            _ABOUT,
        ), least=1, most=50), "the stages of an open deal, in their order", required=True),
        _ABOUT,
    ),
    Kind.PERSONALIZATION: (
        Field("labels", _labels, "labels in the order in which they are tried, each with its condition and content", required=True),
        Field("interactions", _list_of(_event_type, least=1), "the types of event that count; * stands for anything"),
        Field("not_interactions", _list_of(_event_type), "those among them that do not count"),
        Field("channels", _texts_by_pattern, "the channel of a type of event, where the data has none; the longest type that fits"),
        Field("preferred_channel", _table_of(
            Field("last", _integer(1, 200), "of how many of the latest interactions it is the commonest; 20 when left out"),
            Field("otherwise", _pattern(_LABEL, "a word or two"), "what it is where no interaction has a channel; unknown when left out"),
        ), "how the preferred channel is found"),
        Field("gaps", _list_of(_table_of(
            Field("gap", _pattern(_LABEL, "a word or two"), "what is missing", required=True),
            Field("when", _expression, "the condition that is true when it is missing", required=True),
        ), most=100), "what an answer lists as missing"),
        Field("adapters", _list_of(_text, least=1, most=20), "the CRM adapters that are asked, in their order; all when left out"),
        _ABOUT,
    ),
}  # fmt: skip
"""The fields of every kind, in the order in which they are shown and stored."""

_CHECKS: Final[Mapping[Kind, Callable[[Mapping[str, Json]], list[Mistake]]]] = {
    Kind.MERGE_RULE: check_merge_rule, Kind.LIFECYCLE: check_lifecycle, Kind.PIPELINE: check_pipeline,
}  # fmt: skip
