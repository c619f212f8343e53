"""The catalog: all active definitions together, resolved in the order of what they need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Self

from tailorbird.content.names import Known
from tailorbird.content.spec import mentions
from tailorbird.core.definition import Definition, Kind
from tailorbird.core.event import MEMBER_ADDED, MEMBER_REMOVED, Json
from tailorbird.definitions.files import EXPRESSIONS, invalid
from tailorbird.definitions.source import Place, Report
from tailorbird.definitions.staging import build_lifecycle, chosen_lifecycle, first_stage, pipelines, stage_needs
from tailorbird.errors import InvalidExpression, Mistake
from tailorbird.expr.check import Schema, references, resolve, type_of
from tailorbird.expr.nodes import Literal, Node, Toggle
from tailorbird.expr.parse import parse
from tailorbird.expr.types import Type
from tailorbird.personalization.facts import schema_with_facts
from tailorbird.personalization.rules import conditions

__all__ = ["Catalog", "Fault", "Key"]

Key = tuple[str, str]
"""A definition is known by (kind, name)."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one definition among the others: the field, the mistakes, and the expression they point into."""

    key: Key
    field: str
    mistakes: tuple[Mistake, ...]
    text: str = ""


class Catalog:
    """All active definitions, checked against each other. Pure: made from definitions, never changed.

    ``conditions`` maps each live segment to its resolved condition (a segment kept by hand is a ``Toggle``), ``features``
    each feature to its resolved expression and type, ``views`` each feature view to its features, ``versions`` each segment
    to its version. ``lifecycle`` is what people go through; ``watched`` are the conditions of segments and, ``hidden`` among
    them, those of its stages. ``schema`` is what other expressions are checked against. ``faults`` is empty unless built leniently;
    ``broken`` also names what is left out because it needs something faulty.
    """

    def __init__(self, definitions: Mapping[Key, Definition], outline: _Outline) -> None:
        self.definitions = definitions
        self.schema = outline.schema
        self.conditions: Mapping[str, Node] = outline.conditions
        self.features: Mapping[str, tuple[Node, Type]] = outline.features
        self.faults = tuple(outline.faults)
        self.broken = frozenset(outline.broken)
        self.needs: Mapping[Key, frozenset[Key]] = outline.needs
        self.order: tuple[Key, ...] = tuple(outline.order)
        self.versions = {name: definitions[Kind.SEGMENT, name].version for name in self.conditions}
        self.manual = frozenset(n for (kind, n), d in definitions.items() if kind == Kind.SEGMENT and "members" in d.spec)
        self.views: Mapping[str, tuple[str, ...]] = _views(definitions, self.features)
        self.subscriptions = self._of(Kind.SUBSCRIPTION)
        self.gates = self._of(Kind.GATE)
        self.lifecycle = outline.lifecycle
        self.watched: Mapping[str, Node] = {**self.conditions, **(self.lifecycle.conditions if self.lifecycle else {})}
        self.hidden = frozenset(self.watched) - frozenset(self.conditions)
        self.pipelines = pipelines({key: item for key, item in definitions.items() if key not in self.broken})
        self.merge_rule = next(iter(self._of(Kind.MERGE_RULE)), None)
        self.templates = {item.name: item for item in self._of(Kind.TEMPLATE)}
        self.mappings = self._of(Kind.MAPPING)
        self.personalization = next(iter(self._of(Kind.PERSONALIZATION)), None)

    @classmethod
    def build(cls, definitions: Iterable[Definition], *, lenient: bool = False) -> Self:
        """Return the catalog of these definitions, one version of each (all are taken as active).

        Raises ``InvalidDefinition`` with every mistake: unknown names, types that do not fit, cycles (naming their path).
        With ``lenient`` what is wrong is left out and listed in ``faults``, so that the rest can run.
        """
        by_key = {(item.kind, item.name): item for item in definitions}
        outline = _Outline(by_key, frozenset())
        catalog = cls(by_key, outline)
        if catalog.faults and not lenient:
            raise invalid(catalog.report())
        return catalog

    @classmethod
    def probe(cls, definitions: Mapping[Key, Definition], broken: frozenset[Key], judged: Iterable[Key] = ()) -> Self:
        """Return a lenient catalog in which the ``broken`` ones are taken to be right, so that only the others are judged.

        Templates are read only when they are ``judged``: reading Liquid takes long to load, and what refers to what is known
        without it.
        """
        outline = _Outline(definitions, broken)
        outline.judge_templates(judged)
        return cls(definitions, outline)

    def known(self) -> Known:
        """Return what a template may name."""
        return _known(self.definitions, self.features)

    def report(self, places: Mapping[Key, Mapping[str, Place]] | None = None, *, known: frozenset[Key] = frozenset()) -> Report:
        """Return the faults as mistakes for people; ``places`` says where the fields of definitions stand in files.

        Those of ``known`` definitions are left out.
        """
        report = Report()
        for fault in (item for item in self.faults if item.key not in known):
            about = f"{fault.key[0]} {fault.key[1]}"
            place = (places or {}).get(fault.key, {}).get(fault.field) or Place(f"{about}, {fault.field}")
            label = f"{about}, {fault.field}" if place.text is not None else ""  # else the place says it
            report.add_expression(fault.mistakes, fault.text, place, label)
        return report

    def dependents(self, kind: str, name: str, *, deep: bool = False) -> tuple[Key, ...]:
        """Return what needs this definition, sorted; ``deep`` also what needs those, and so on."""
        found = {key for key, needs in self.needs.items() if (kind, name) in needs}
        if deep:
            waiting = list(found)
            while waiting:
                last = waiting.pop()
                more = {key for key, needs in self.needs.items() if last in needs} - found
                found |= more
                waiting.extend(more)
        return tuple(sorted(found))

    def without(self, key: Key) -> Mapping[Key, Definition]:
        """Return the definitions without one of them."""
        return {other: item for other, item in self.definitions.items() if other != key}

    def _of(self, kind: Kind) -> tuple[Definition, ...]:
        return tuple(item for key, item in sorted(self.definitions.items()) if key[0] == kind and key not in self.broken)


def _views(definitions: Mapping[Key, Definition], features: Mapping[str, tuple[Node, Type]]) -> dict[str, tuple[str, ...]]:
    views: dict[str, list[str]] = {}
    for (kind, name), item in sorted(definitions.items()):
        if kind == Kind.FEATURE_VIEW:
            views.setdefault(name, []).extend(item.spec.get("features", ()))
        elif kind == Kind.FEATURE and item.spec.get("view"):
            views.setdefault(item.spec["view"], []).append(name)
    return {name: tuple(dict.fromkeys(n for n in names if n in features)) for name, names in sorted(views.items())}


def _known(definitions: Mapping[Key, Definition], features: Iterable[str], also: Iterable[Key] = ()) -> Known:
    names = {kind: [name for other, name in definitions if other == kind] for kind in (Kind.ATTRIBUTE, Kind.TEMPLATE)}
    faulty = [name for kind, name in also if kind == Kind.FEATURE]  # what is wrong with them is their own mistake
    return Known(frozenset(names[Kind.ATTRIBUTE]), frozenset([*features, *faulty]), (), frozenset(names[Kind.TEMPLATE]))


class _Outline:
    """The work of building a catalog: order, then resolve each expression against what came before it."""

    def __init__(self, definitions: Mapping[Key, Definition], broken: frozenset[Key]) -> None:
        self.definitions = definitions
        self.broken = set(broken)
        self.faults: list[Fault] = []
        self.conditions: dict[str, Node] = {}
        self.features: dict[str, tuple[Node, Type]] = {}
        attributes = {
            name: Type(item.spec["type"])
            for (kind, name), item in definitions.items()
            if kind == Kind.ATTRIBUTE and item.spec.get("type") in set(Type)
        }
        self.known_segments: dict[str, Node | None] = {}
        chosen = chosen_lifecycle(definitions)
        self.schema = Schema(
            attributes=attributes, segments=self.known_segments, features=self.features, first_stage=first_stage(chosen)
        )
        self.surface = dict(self._parse())
        self.inner = {key: tuple(self._parse_inner(key)) for key in sorted(definitions) if key[0] == Kind.PERSONALIZATION}
        self.needs = {key: self._needs(key) for key in definitions}
        self.order = self._order()
        for key in self.order:
            if key in definitions:
                self._settle(key)
        self._judge_inner()
        self._judge_lists()
        self._prune()
        self.lifecycle, wrong = build_lifecycle(chosen, self.schema)
        for stage, mistakes, text in wrong:
            if chosen is not None and (key := (chosen.kind, chosen.name)) in definitions and key not in broken:
                self.faults.append(Fault(key, f"stage {stage}", mistakes, text))
                self.broken.add(key)

    def _fault(self, key: Key, field: str, code: str, message: str, hint: str = "") -> None:
        self.faults.append(Fault(key, field, (Mistake(code, message, hint),), self._text(key)))
        self.broken.add(key)

    def _text(self, key: Key) -> str:
        return str(self.definitions[key].spec.get(EXPRESSIONS.get(key[0], ""), ""))

    def _parse(self) -> Iterator[tuple[Key, Node]]:
        for key in sorted(self.definitions):
            text = self._text(key)
            if not text or key in self.broken:
                continue
            try:
                yield key, parse(text)
            except InvalidExpression as error:
                self.faults.append(Fault(key, EXPRESSIONS[key[0]], error.mistakes, text))
                self.broken.add(key)

    def _parse_inner(self, key: Key) -> Iterator[tuple[str, str, Node]]:
        """Yield the conditions inside a definition: the field where each stands, its text and what it says."""
        for field, text in conditions(self.definitions[key].spec):
            try:
                yield field, text, parse(text)
            except InvalidExpression as error:
                self.faults.append(Fault(key, field, error.mistakes, text))
                self.broken.add(key)

    def _judge_inner(self) -> None:
        known = schema_with_facts(self.schema)
        for key, parts in self.inner.items():
            for field, text, node in parts:
                try:
                    resolve(node, known, expect=Type.BOOL, text=text)
                except InvalidExpression as error:
                    self.faults.append(Fault(key, field, error.mistakes, text))
                    self.broken.add(key)

    def _needs(self, key: Key) -> frozenset[Key]:
        spec = self.definitions[key].spec
        segments: Iterable[str] = spec.get("segments", ()) if key[0] == Kind.SUBSCRIPTION else ()
        features: Iterable[str] = spec.get("features", ()) if key[0] == Kind.FEATURE_VIEW else ()
        if key in self.surface:
            segments, features, *_ = references(self.surface[key])
        elif key[0] == Kind.TEMPLATE:
            return frozenset(self._mentioned(spec))
        elif key[0] == Kind.LIFECYCLE:
            segments, features = stage_needs(self.definitions[key])
        elif key[0] == Kind.PERSONALIZATION:
            named = [references(node) for _, _, node in self.inner.get(key, ())]
            segments = {n for names in named for n in names.segments}
            features = {n for names in named for n in names.features}
        return frozenset({*((str(Kind.SEGMENT), n) for n in segments), *((str(Kind.FEATURE), n) for n in features)})

    def _mentioned(self, spec: Mapping[str, Json]) -> Iterator[Key]:
        features, attributes, templates = mentions(spec)
        yield from (key for key in ((str(Kind.FEATURE), name) for name in features) if key in self.definitions)
        yield from (key for key in ((str(Kind.TEMPLATE), name) for name in templates) if key in self.definitions)
        for kind, name in self.definitions:
            if kind == Kind.ATTRIBUTE and any(f"{other}.".startswith(f"{name}.") for other in attributes):
                yield kind, name

    def judge_templates(self, judged: Iterable[Key]) -> None:
        """Read these templates, and note what is wrong with their texts."""
        for key in sorted(key for key in judged if key[0] == Kind.TEMPLATE and key in self.definitions):
            from tailorbird.content import check  # it loads python-liquid, which nothing else here may need

            known = _known(self.definitions, self.features, self.definitions)
            for field, text, mistakes in check.check_definition(key[1], self.definitions[key].spec, known):
                self.faults.append(Fault(key, field, mistakes, text))
                self.broken.add(key)

    def _order(self) -> list[Key]:
        while True:
            sorter: TopologicalSorter[Key] = TopologicalSorter()
            for key in sorted(self.definitions):
                sorter.add(key, *(sorted(need for need in self.needs[key] if need in self.definitions)))
            try:
                return list(sorter.static_order())
            except CycleError as error:
                self._cut(error.args[1])

    def _cut(self, cycle: Sequence[Key]) -> None:
        # graphlib walks from what is needed to what needs it; people read it the other way
        path = list(reversed(cycle))
        first = min(path)
        start = path.index(first)
        path = [*path[start:-1], *path[:start], first] if start else path
        shown = " → ".join(f"{kind} {name}" for kind, name in path)
        self._fault(
            first, EXPRESSIONS.get(first[0], ""), "cycle", f"definitions need each other in a circle: {shown}",
            "Let one of them say its condition without naming the other.",
        )  # fmt: skip
        self.needs[first] = frozenset(self.needs[first] - {path[1]})

    def _settle(self, key: Key) -> None:
        """Resolve one segment or feature; what is broken gets a stand-in so that what needs it is judged on its own."""
        kind, name = key
        spec = self.definitions[key].spec
        if kind == Kind.SEGMENT and "members" in spec:
            self.known_segments[name] = None
            self.conditions[name] = Toggle(on=MEMBER_ADDED, off=MEMBER_REMOVED, key="segment", value=name)
        elif kind in EXPRESSIONS and key not in self.broken:
            self._resolve(key, spec)
        if key in self.broken and kind in EXPRESSIONS:
            self._stand_in(key, spec)

    def _resolve(self, key: Key, spec: Mapping[str, Json]) -> None:
        kind, name = key
        surface, text = self.surface[key], self._text(key)
        if any(need in self.broken and need[0] == Kind.FEATURE and need[1] not in self.features for need in self.needs[key]):
            self.broken.add(key)  # what it needs has mistakes of its own, and of what type it would be is not known
            return
        expect = Type.BOOL if kind == Kind.SEGMENT else Type(spec["type"]) if spec.get("type") else None
        try:
            node = resolve(surface, self.schema, expect=expect, text=text)
            found = type_of(node)
        except InvalidExpression as error:
            self.faults.append(Fault(key, EXPRESSIONS[kind], error.mistakes, text))
            self.broken.add(key)
            return
        if kind == Kind.SEGMENT:
            self.known_segments[name] = self.conditions[name] = node
        else:
            self.features[name] = (node, found)

    def _stand_in(self, key: Key, spec: Mapping[str, Json]) -> None:
        kind, name = key
        if kind == Kind.SEGMENT:
            self.known_segments[name] = Literal(True, Type.BOOL)
        elif spec.get("type") in set(Type):
            self.features[name] = (Literal(0.0, Type.NUMBER), Type(spec["type"]))

    def _prune(self) -> None:
        """Leave out what is broken and all that needs it: a stand-in must never be evaluated."""
        for key in self.order:
            if any(need in self.broken for need in self.needs[key]):
                self.broken.add(key)
        for kind, name in self.broken:
            if kind == Kind.SEGMENT:
                self.conditions.pop(name, None)
                self.known_segments.pop(name, None)
            elif kind == Kind.FEATURE:
                self.features.pop(name, None)

    def _judge_lists(self) -> None:
        one_of = (
            (Kind.MERGE_RULE, "on", "merge rule"), (Kind.LIFECYCLE, "stages", "life cycle"),
            (Kind.PERSONALIZATION, "labels", "personalization"),
        )  # fmt: skip
        for kind, field, noun in one_of:
            rules = [key for key in sorted(self.definitions) if key[0] == kind]
            for key in rules[1:]:
                self._fault(
                    key, field, "duplicate", f"there is a {noun} already: {rules[0][1]}",
                    f"Keep one {noun}: archive the other, or give this one its name.",
                )  # fmt: skip
        for key, field in ((k, f) for k in sorted(self.definitions) for f in ("segments", "features")):
            for name in self.definitions[key].spec.get(field) or ():
                need = (str(Kind.SEGMENT if field == "segments" else Kind.FEATURE), name)
                if need not in self.definitions:
                    self._fault(key, field, "unknown_name", f"there is no {need[0]} called {name}")
