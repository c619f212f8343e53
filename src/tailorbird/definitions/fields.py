"""What each kind of definition may say: one table of fields, and how all of them are read together."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from tailorbird.content.spec import NETWORKS, check_template
from tailorbird.core.definition import Kind
from tailorbird.core.event import Json
from tailorbird.crm.mapping import CONSENTS, DIRECTIONS, TAGS, TRANSFORMS, WINS
from tailorbird.definitions.readers import (
    ATTRIBUTE_NAME,
    CLOCK,
    ENV,
    LABEL,
    NAME,
    Field,
    choice_of,
    integer_in,
    list_of,
    mapping_of,
    optional,
    pattern_of,
    read_any,
    read_baseline,
    read_duration,
    read_event_type,
    read_expression,
    read_flag,
    read_labels,
    read_links,
    read_preferences,
    read_share,
    read_source,
    read_table,
    read_text,
    read_texts_by_type,
    read_timezone,
    read_url,
    read_value,
    table_of,
)
from tailorbird.definitions.source import Place, Report, Tree, plain
from tailorbird.errors import Mistake
from tailorbird.expr.types import Type
from tailorbird.profiles.lifecycle import check_lifecycle
from tailorbird.profiles.pipeline import check_pipeline
from tailorbird.profiles.rules import check_merge_rule

__all__ = ["FIELDS", "read_fields", "read_name"]


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
    spec = read_table(FIELDS[kind], items, about, place, report, also=["kind", "name", "draft"])
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


_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}\Z")
_PATH: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,199}\Z")
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8}){0,4}\Z")
_TONGUE: Final = pattern_of(_LANGUAGE, "a language such as en or pt-BR")
_NAMES: Final = pattern_of(NAME, "a name (lower-case letters, digits, _ and -)")
_ABOUT: Final = Field("description", read_text, "what it is for, in a sentence")

FIELDS: Final[Mapping[Kind, tuple[Field, ...]]] = {
    Kind.ATTRIBUTE: (
        Field("type", choice_of(*(t for t in Type if t != Type.DURATION)), "what its values are read as", required=True),
        _ABOUT,
    ),
    Kind.FEATURE: (
        Field("value", read_expression, "the expression that yields it", required=True),
        Field("type", choice_of(*Type), "the type it must have; checked"),
        Field("view", _NAMES, "the feature view it belongs to"),
        _ABOUT,
    ),
    Kind.FEATURE_VIEW: (
        Field("features", list_of(_NAMES), "the names of features it shows"),
        _ABOUT,
    ),
    Kind.SEGMENT: (
        Field("when", read_expression, "the condition that is true for its members"),
        Field("members", choice_of("manual"), "members are added and removed by hand"),
        Field("baseline", read_baseline, "what drift is measured against: a duration back from now, or a date"),
        _ABOUT,
    ),
    Kind.SUBSCRIPTION: (
        Field("events", list_of(read_event_type, least=1), "the types of event that are sent", required=True),
        Field("url", read_url, "where they are posted", required=True),
        Field("secret_env", pattern_of(ENV, "the name of an environment variable"), "the variable that holds the signing secret"),
        Field("segments", list_of(_NAMES, least=1), "only events of these segments"),
        _ABOUT,
    ),
    Kind.GATE: (
        Field("channel", read_text, "the channel it guards", required=True),
        Field("purpose", read_text, "the purpose it guards; all of the channel's when left out"),
        Field("cap", table_of(
            Field("count", integer_in(1, 1_000_000), "how many", required=True),
            Field("per", read_duration, "in how long", required=True),
            Field("then", choice_of("refuse", "defer"), "what a reached cap does: refuse (when left out), or defer"),
        ), "how many a profile may get in a stretch of time"),
        Field("quiet_hours", table_of(
            Field("from", pattern_of(CLOCK, "a time of day such as 22:00"), "when they begin", required=True),
            Field("to", pattern_of(CLOCK, "a time of day such as 08:00"), "when they end", required=True),
            Field("timezone", read_timezone, "in which time zone; UTC when left out"),
        ), "when nothing is sent"),
        _ABOUT,
    ),
    Kind.MERGE_RULE: (
        Field("on", read_any, "kinds of identifier that, shared, join two identified profiles: email, phone"),
        Field("when", read_any, "compatible, same_name, always or never"),
        Field("anonymous", read_any, "whether anonymous activity joins the person who identifies: join or never"),
        Field("shared_device", read_any, "whose a second person's device is from then on: forward (theirs) or keep"),
        Field("attributes", read_any, "which value stands where both have one: newest or winner"),
        Field("limits", read_any, "how much one profile may gather: {identifiers: 500, merges: 500}"),
        Field("ignore", read_any, "values that identify nobody"),
        _ABOUT,
    ),
    Kind.ENRICHMENT: (
        Field("providers", read_links, "whom to ask, in order", required=True),
        Field("if_unverified", choice_of("assume_valid", "unknown"), "what an address counts as that no verifier could judge"),
        Field("again_after", read_duration, "how long nobody is asked about the same person again; 90d when left out"),
        Field("prefer", read_preferences, "for an attribute, the providers whose word counts for more, best first"),
        _ABOUT,
    ),
    Kind.TEMPLATE: (
        Field("type", choice_of("email", "sms", "social", "plain"), "what it becomes", required=True),
        Field("language", _TONGUE, "the language of the texts at the top; en when left out"),
        Field("subject", read_source, "an e-mail's subject"),
        Field("preheader", read_source, "what mail programs show beside the subject"),
        Field("html", read_source, "HTML; its styles go into its elements"),
        Field("mjml", read_source, "MJML, which becomes HTML"),
        Field("text", read_source, "the text beside the HTML; made from it when left out"),
        Field("body", read_source, "the text of a message, a post or a piece"),
        Field("variants", mapping_of(re.compile(r".{1,80}\Z"), "variants", table_of(
            Field("subject", read_source, "the subject"), Field("preheader", read_source, "the preheader"),
            Field("html", read_source, "HTML"), Field("mjml", read_source, "MJML"),
            Field("text", read_source, "text"), Field("body", read_source, "the text"),
        )), "the texts in other languages and styles: fr, formal, fr/formal"),
        Field("fallback", list_of(_TONGUE, least=1, most=20), "languages to try, in order, when there is nothing in a person's own"),
        Field("missing", choice_of("default", "skip", "fail"), "what a missing value does: default (when left out), skip or fail"),
        Field("defaults", mapping_of(_PATH, "names of variables", read_value), "what stands in for missing values, by variable"),
        Field("variables", mapping_of(_VARIABLE, "names of variables", optional(table_of(
            Field("default", read_value, "what stands in for it"), Field("description", read_text, "what it is"),
        ))), "what the caller gives, by name"),
        Field("network", choice_of(*NETWORKS), "the network a post is for, which limits its length"),
        Field("max_segments", integer_in(1, 20), "how many segments a text message may take"),
        Field("restyle", read_flag, "false: the word lists for formal and casual style leave it alone"),
        _ABOUT,
    ),
    Kind.LIFECYCLE: (
        Field("stages", list_of(table_of(
            Field("name", _NAMES, "the stage's name, which the attribute status then has", required=True),
            Field("when", read_expression, "the condition that brings people to it by itself"),
            Field("from_anywhere", read_flag, "entered from every other stage, and left only by a person's word"),
            Field("terminal", read_flag, "not left by itself, but for a stage from anywhere"),
            _ABOUT,
        ), least=1, most=50), "the stages in their order; everybody begins in the first", required=True),
        _ABOUT,
    ),
    Kind.PIPELINE: (
        Field("stages", list_of(table_of(
            Field("name", _NAMES, "the stage's name", required=True),
            Field("probability", read_share, "how likely a deal in it is won: 0 to 1", required=True),
            _ABOUT,
        ), least=1, most=50), "the stages of an open deal, in their order", required=True),
        _ABOUT,
    ),
    Kind.PERSONALIZATION: (
        Field("labels", read_labels, "labels in the order in which they are tried, each with its condition and content", required=True),
        Field("interactions", list_of(read_event_type, least=1), "the types of event that count; * stands for anything"),
        Field("not_interactions", list_of(read_event_type), "those among them that do not count"),
        Field("channels", read_texts_by_type, "the channel of a type of event, where the data has none; the longest type that fits"),
        Field("preferred_channel", table_of(
            Field("last", integer_in(1, 200), "of how many of the latest interactions it is the commonest; 20 when left out"),
            Field("otherwise", pattern_of(LABEL, "a word or two"), "what it is where no interaction has a channel; unknown when left out"),
        ), "how the preferred channel is found"),
        Field("gaps", list_of(table_of(
            Field("gap", pattern_of(LABEL, "a word or two"), "what is missing", required=True),
            Field("when", read_expression, "the condition that is true when it is missing", required=True),
        ), most=100), "what an answer lists as missing"),
        Field("adapters", list_of(read_text, least=1, most=20), "the CRM adapters that are asked, in their order; all when left out"),
        _ABOUT,
    ),
    Kind.MAPPING: (
        Field("connection", read_text, "the connection it is for; every one that has none of its own when left out"),
        Field("object", read_text, "the CRM's kind of object that is written; the connector's usual one when left out"),
        Field("fields", list_of(table_of(
            Field("field", read_text, "the field's neutral name, or the CRM's own", required=True),
            Field("attribute", pattern_of(ATTRIBUTE_NAME, "the name of an attribute"), "our attribute; named as the field when left out"),
            Field("direction", choice_of(*DIRECTIONS), "both (when left out), pull or push"),
            Field("transform", list_of(choice_of(*TRANSFORMS), least=1, most=10), "what is done to a value that is read, in order"),
            Field("wins", choice_of(*WINS), "whose value stands where both changed: newest (when left out), crm, us or never"),
            Field("separator", pattern_of(re.compile(r"\S{1,3}\Z"), "a sign such as ;"), "what stands between the parts of a list"),
        ), least=1, most=500), "which fields stand for which attributes; the neutral ones when left out"),
        Field("tags", choice_of(*TAGS), "pull (when left out), merge, replace or none"),
        Field("consent", choice_of(*CONSENTS), "both (when left out: opt-outs are written, too), pull or none"),
        _ABOUT,
    ),
}  # fmt: skip
"""The fields of every kind, in the order in which they are shown and stored."""


def _check_mapping(spec: Mapping[str, Json]) -> Iterator[Mistake]:
    """Yield what contradicts itself in a mapping."""
    seen: set[str] = set()
    taken: set[str] = set()
    for place, item in enumerate(spec.get("fields") or ()):
        if not isinstance(item, dict) or not isinstance(item.get("field"), str):
            continue
        where = f"fields.{place}"
        attribute = str(item.get("attribute") or item["field"])
        if item["field"] in seen:
            yield Mistake("duplicate", f"the field {item['field']} is mapped twice", "Keep one of them.", where=where)
        if attribute in taken and item.get("direction") != "push":
            yield Mistake("duplicate", f"two fields are read into {attribute}", "Give one of them direction: push.", where=where)
        if item["field"] in ("tags", "consents"):
            yield Mistake("unknown_choice", f"{item['field']} is no field of a mapping", "Use tags or consent.", where=where)
        if not ATTRIBUTE_NAME.match(attribute):
            yield Mistake("missing_field", f"{item['field']} cannot name an attribute", "Say which: attribute.", where=where)
        seen.add(item["field"])
        if item.get("direction") != "push":
            taken.add(attribute)


_CHECKS: Final[Mapping[Kind, Callable[[Mapping[str, Json]], Iterable[Mistake]]]] = {
    Kind.MERGE_RULE: check_merge_rule, Kind.LIFECYCLE: check_lifecycle, Kind.PIPELINE: check_pipeline,
    Kind.MAPPING: _check_mapping,
}  # fmt: skip
