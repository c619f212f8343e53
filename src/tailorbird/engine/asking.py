"""Reading: profiles, timelines, features, answers to expressions, and why somebody is in a segment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from tailorbird.core.deadline import Deadline
from tailorbird.core.definition import Definition, Kind, Status
from tailorbird.engine.parts import Parts
from tailorbird.engine.refs import find_profile, read_instant
from tailorbird.engine.views import (
    Answer,
    EventView,
    FeatureView,
    IdentifierView,
    MemberPage,
    MembershipView,
    MemberView,
    ProfileView,
    SegmentView,
    Timeline,
)
from tailorbird.errors import InvalidInput, NotFound
from tailorbird.expr.check import resolve, type_of
from tailorbird.expr.evaluate import History
from tailorbird.expr.explain import explain
from tailorbird.expr.nodes import Attribute, Node
from tailorbird.expr.parse import parse
from tailorbird.expr.types import Type
from tailorbird.features.values import choose, values_as_of, wire
from tailorbird.profiles.fold import FACTS
from tailorbird.segments.drift import Drift, baseline_instant, drift
from tailorbird.segments.preview import people, population

if TYPE_CHECKING:
    from tailorbird.expr.why import Reason

__all__ = [
    "answer", "definitions", "feature_list", "features", "members", "profile_view", "see_others", "segment_drift",
    "segment_list", "timeline", "why",
]  # fmt: skip

Wire = Callable[[Any], Any]
_GLANCE: Final = 0.2


def profile_view(parts: Parts, ref: str) -> ProfileView:
    """Return a profile as it is stored now."""
    profile = find_profile(parts.store, ref, region=parts.region)
    rows = sorted(parts.store.memberships([profile.key]).get(profile.key, ()), key=lambda m: m.segment)
    return ProfileView(
        id=profile.id,
        kind=profile.kind,
        created_at=profile.created_at,
        identifiers=tuple(IdentifierView(row.kind, row.value, row.at) for row in parts.store.identifiers(profile.key)),
        attributes=profile.attributes,
        provenance={name: p for name, p in profile.provenance.items() if name != FACTS and name in profile.attributes},
        tags=profile.tags,
        consents=profile.consents,
        segments=tuple(m.segment for m in rows),
        memberships=tuple(MembershipView(m.segment, m.entered_at, m.version) for m in rows),
    )


def timeline(parts: Parts, ref: str, *, before: str | None, limit: int) -> Timeline:
    """Return a profile's events, newest first, from a cursor on."""
    profile = find_profile(parts.store, ref, region=parts.region)
    place: tuple[int, int] | None = None
    if before:
        at, _, seq = before.partition("-")
        if not (at.isdigit() and seq.isdigit()):
            raise InvalidInput(f"before {before!r:.60} is not a cursor.", hint="Use the value of next from the page before.")
        place = int(at), int(seq)
    events = parts.store.timeline(profile.key, before=place, limit=limit + 1)
    shown = events[:limit]
    following = f"{shown[-1].at}-{shown[-1].seq}" if len(events) > limit else None
    return Timeline(
        tuple(
            EventView(id=e.id, type=e.type, at=e.at, received_at=e.received_at, source=e.source, data=e.data, cause=e.cause)
            for e in shown
        ),
        following,
    )


def see_others(parts: Parts) -> None:
    """Read anew what other processes changed; what they wrote in the last 0.2 seconds may not be seen yet."""
    loop = parts.loop
    if loop.store.others_wrote(within=_GLANCE):
        with loop.exclusive():
            if loop.store.others_wrote():
                loop.refresh()


def features(parts: Parts, ref: str, names: Sequence[str] | None, *, as_of: Any) -> dict[str, Any]:
    """Return features of one profile as JSON values, as of any instant, by the set-based engine."""
    profile = find_profile(parts.store, ref, region=parts.region)
    catalog = parts.catalog
    found = choose(catalog.features, catalog.views, names)
    instant = parts.now() if as_of is None else read_instant(as_of, "as_of")
    values = values_as_of(parts.store.batch(), found, [profile.key], instant).get(profile.key, {})
    return {name: wire(values.get(name), kind) for name, (_, kind) in found.items()}


def answer(parts: Parts, expression: str, *, profile: str | None, as_of: Any, deadline: Deadline | None = None) -> Answer:
    """Return an expression's value for one profile, or for how many it is true, as of any instant."""
    node = resolve(parse(expression), parts.catalog.schema, text=expression)
    kind = type_of(node)
    instant = parts.now() if as_of is None else read_instant(as_of, "as_of")
    if profile is not None:
        person = find_profile(parts.store, profile, region=parts.region)
        events = parts.store.history([person.key]).get(person.key, ())
        from tailorbird.expr.why import value_of

        value = wire(value_of(node, History(person.bucket, events, deadline), instant), kind)
        return Answer(expression=expression, type=str(kind), instant=instant, profile=person.id, value=value)
    if kind != Type.BOOL:
        raise InvalidInput(
            f"{expression!r:.80} is a {kind}, not a condition.", hint="Say for which profile, or compare it with something."
        )
    batch = parts.store.batch() if deadline is None else parts.store.batch().until(deadline)
    count, total = batch.count(node, instant), population(batch, instant)
    return Answer(expression=expression, type=str(kind), instant=instant, count=count, total=total)


def why(parts: Parts, ref: str, segment: str, *, as_of: Any, deadline: Deadline | None = None) -> Reason:
    """Return why a profile is or is not in a segment: which clause, which events, until when."""
    from tailorbird.expr.why import why as explain_why

    condition = condition_of(parts, segment)
    profile = find_profile(parts.store, ref, region=parts.region)
    instant = parts.now() if as_of is None else read_instant(as_of, "as_of")
    events = parts.store.history([profile.key]).get(profile.key, ())
    return explain_why(condition, History(profile.bucket, events, deadline), instant)


def condition_of(parts: Parts, segment: str) -> Node:
    """Return a live segment's resolved condition; raise ``NotFound`` naming near ones."""
    found = parts.catalog.conditions.get(segment)
    if found is None:
        close = get_close_matches(segment, list(parts.catalog.conditions), n=1)
        hint = f"Did you mean {close[0]}?" if close else "List what there is with: tailorbird segments"
        raise NotFound(f"There is no live segment called {segment}.", hint=hint)
    return found


def segment_list(parts: Parts) -> list[SegmentView]:
    """Return every live segment with its size."""
    sizes = parts.store.segment_sizes()
    active = {(d.kind, d.name): d for d in parts.store.definitions(kind=Kind.SEGMENT, status=Status.ACTIVE)}
    found = []
    for name in sorted(parts.catalog.conditions):
        item = active.get((Kind.SEGMENT, name)) or parts.catalog.definitions[Kind.SEGMENT, name]
        text = item.spec.get("when")
        found.append(
            SegmentView(
                name=name,
                size=sizes.get(name, 0),
                version=item.version,
                when=text,
                description=item.spec.get("description"),
                explanation=explain(parse(text)) if text else None,
                activated_at=item.activated_at,
                fresh_at=item.fresh_at,
                error=item.error,
            )
        )
    return found


def feature_list(parts: Parts) -> list[FeatureView]:
    """Return every live feature."""
    catalog = parts.catalog
    found = []
    for name, (_, kind) in sorted(catalog.features.items()):
        item = catalog.definitions[Kind.FEATURE, name]
        views = tuple(view for view, held in catalog.views.items() if name in held)
        found.append(
            FeatureView(
                name=name,
                type=str(kind),
                value=str(item.spec.get("value", "")),
                version=item.version,
                views=views,
                description=item.spec.get("description"),
                fresh_at=parts.now(),
                error=item.error,
            )
        )
    return found


def members(parts: Parts, segment: str, *, after: str | None, limit: int) -> MemberPage:
    """Return some members of a segment, from a cursor on."""
    condition_of(parts, segment)
    if after and not after.isdigit():
        raise InvalidInput(f"after {after!r:.60} is not a cursor.", hint="Use the value of next from the page before.")
    rows = parts.store.members(segment, after=int(after or 0), limit=limit + 1)
    shown = rows[:limit]
    keys = [row.profile for row in shown]
    profiles = parts.store.profiles(keys)
    names = {person.id: person.name for person in people(parts.store, keys)}
    views = tuple(
        MemberView(profiles[row.profile].id, names[profiles[row.profile].id], row.entered_at, row.version)
        for row in shown
        if row.profile in profiles
    )
    return MemberPage(views, str(shown[-1].profile) if len(rows) > limit else None)


def segment_drift(parts: Parts, segment: str, *, baseline: Any) -> Drift:
    """Compare a segment's members with those at a baseline, by attributes and features.

    Left out, it is the baseline in the segment's definition, else 30 days ago.
    """
    condition = condition_of(parts, segment)
    now = parts.now()
    said = parts.catalog.definitions[Kind.SEGMENT, segment].spec.get("baseline")
    then = baseline_instant(said, now) if baseline is None else read_instant(baseline, "baseline")
    return drift(parts.store.batch(), segment, condition, _compared(parts, segment), instant=now, baseline=then)


def _compared(parts: Parts, segment: str) -> Mapping[str, tuple[Node, Type]]:
    """Return what members are compared by: declared attributes, those that members have, and the features."""
    found: dict[str, tuple[Node, Type]] = {}
    for row in parts.store.profiles([m.profile for m in parts.store.members(segment, limit=200)]).values():
        for name, source in row.provenance.items():
            if source.type in (Type.BOOL, Type.NUMBER, Type.TEXT) and name not in found:
                found[name] = Attribute((name,), Type(source.type)), Type(source.type)
    for name, kind in parts.catalog.schema.attributes.items():
        found[name] = Attribute(tuple(name.split(".")), kind), kind
    return {**dict(sorted(found.items())), **parts.catalog.features}


def definitions(parts: Parts, kind: str | None, status: str | None) -> list[Definition]:
    """Return all versions of all definitions, by kind, name and version."""
    return sorted(parts.store.definitions(kind=kind, status=status), key=lambda d: (d.kind, d.name, d.version))
