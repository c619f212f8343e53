"""``held``: the instants at which a condition may have changed, and whether it was true at all of them."""

# ruff: noqa: S608 - this package writes SQL; values only ever enter it as bound parameters.

from __future__ import annotations

from collections.abc import Iterator

from tailorbird.core.event import PROFILE_UPDATED
from tailorbird.expr import nodes as n
from tailorbird.expr.sql.frames import BEGINNING, Frame, Plan, consent_masks, toggle_masks

__all__ = ["changes", "held", "varies"]


def held(outer: Frame, node: n.Held) -> str:
    """Return the name of a relation (profile[, t], v): v is 1 where the condition was true all through the stretch."""
    plan, grammar = outer.plan, outer.plan.grammar
    begin = max(BEGINNING, outer.begin - node.duration)
    if outer.points is None:
        starts = f"SELECT profile, {grammar.whole(begin)} AS t FROM people"
        source, last, keys = "people q", grammar.whole(plan.instant), "q.profile"
        first = grammar.whole(begin)
    else:
        first = grammar.greatest([f"q.t - {grammar.whole(node.duration)}", str(BEGINNING)])
        starts = f"SELECT q.profile, {first} AS t FROM {outer.points} q"
        source, last, keys = f"{outer.points} q", "q.t", "q.profile, q.t"
    points = _points(plan, [starts, f"SELECT profile, t FROM {changes(plan, node.condition, begin)}"])
    inner = Frame(plan, points, begin)
    condition = inner.compile(n.IsTrue(node.condition))
    true = plan.name(f"SELECT z.profile, z.t, CASE WHEN {condition.sql} THEN 1 ELSE 0 END AS v FROM {inner.render()} z")
    return plan.name(
        f"SELECT {keys}, min(c.v) AS v FROM {source} JOIN {true} c ON c.profile = q.profile "
        f"AND c.t >= {first} AND c.t <= {last} GROUP BY {keys}"
    )


def changes(plan: Plan, condition: n.Node, begin: int) -> str:
    """Return the name of a relation (profile, t): every instant after ``begin`` and up to the plan's instant at which the
    condition may differ from the instant before; it may hold others."""
    selects = [*_by_events(plan, condition), *_by_helds(plan, condition, begin)]
    compares = [item for item in _outside_held(condition) if isinstance(item, n.Compare) and varies(item)]
    crossing = [item for item in compares if _since_constant(item) is None]
    if crossing:
        selects += _by_crossings(plan, crossing, selects, begin)
    return _between(plan, selects, begin)


def varies(node: n.Node) -> bool:
    """Tell whether a value moves with the clock by itself (what a ``held`` inside does is its own affair)."""
    return any(isinstance(item, n.Now | n.TimeSince) for item in _outside_held(node))


def _points(plan: Plan, selects: list[str]) -> str:
    union = " UNION ALL ".join(selects)
    return plan.name(f"SELECT DISTINCT u.profile, u.t FROM ({union}) u JOIN people p ON p.profile = u.profile")


def _between(plan: Plan, selects: list[str], begin: int) -> str:
    grammar = plan.grammar
    union = " UNION ALL ".join(selects) or f"SELECT profile, {grammar.whole(begin)} AS t FROM people"
    test = f"u.t > {grammar.whole(begin)} AND u.t <= {grammar.whole(plan.instant)}"
    return plan.name(f"SELECT DISTINCT u.profile, u.t FROM ({union}) u WHERE {test}")


def _outside_held(node: n.Node) -> Iterator[n.Node]:
    """Yield the node and what is below it, but nothing inside a ``held``, a ``where`` or a step."""
    yield node
    if not isinstance(node, n.Held | n.Aggregate | n.Did | n.TimeSince | n.Sequence):
        for child in n.children(node):
            yield from _outside_held(child)


def _by_events(plan: Plan, condition: n.Node) -> list[str]:
    """Return SELECTs of the instants at which an event comes or leaves a window."""
    instants: dict[str, set[int]] = {}

    def add(mask: str, *delays: int) -> None:
        instants.setdefault(mask, set()).update(delays)

    selects: list[str] = []
    events = plan.events
    for node in _outside_held(condition):
        match node:
            case n.Aggregate() | n.Did():
                add(events.mask(node.event, node.where), 0, node.within or 0)
            case n.TimeSince():
                add(events.mask(node.event, node.where), 0)
            case n.Attribute():
                add(events.present(PROFILE_UPDATED, node.path[0]), 0)
            case n.Toggle():
                for mask in toggle_masks(events, node):
                    add(mask, 0)
            case n.Consented():
                for mask in consent_masks(events, node):
                    add(mask, 0)
            case n.Sequence():
                start, delay = events.chain(node.steps), plan.grammar.whole(node.within)
                selects += [
                    f"SELECT e.profile, {instant} AS t FROM ev e WHERE e.{start} IS NOT NULL"
                    for instant in ("e.moment", f"e.{start} + {delay}")
                ]
            case n.Compare() if (constant := _since_constant(node)) is not None:
                since, ms = constant
                add(events.mask(since.event, since.where), ms, ms + 1)
    return selects + [
        f"SELECT e.profile, e.moment + {plan.grammar.whole(ms)} AS t FROM ev e WHERE e.{mask}"
        for mask, delays in instants.items()
        for ms in sorted(delays)
    ]


def _since_constant(node: n.Compare) -> tuple[n.TimeSince, int] | None:
    """Return the parts of ``time_since(…) op constant``, in either order; None for another comparison."""
    for moving, other in ((node.left, node.right), (node.right, node.left)):
        if isinstance(moving, n.TimeSince) and isinstance(other, n.Literal) and isinstance(other.value, int):
            return moving, other.value
    return None


def _by_helds(plan: Plan, condition: n.Node, begin: int) -> list[str]:
    """Return SELECTs of the instants at which a ``held`` inside may change: with its condition, and a duration later."""
    selects = []
    for node in _outside_held(condition):
        if isinstance(node, n.Held):
            inner = changes(plan, node.condition, max(BEGINNING, begin - node.duration))
            selects.append(f"SELECT profile, t FROM {inner}")
            selects.append(f"SELECT profile, t + {plan.grammar.whole(node.duration)} FROM {inner}")
    return selects


def _by_crossings(plan: Plan, compares: list[n.Compare], selects: list[str], begin: int) -> list[str]:
    """Return SELECTs of the instants at which ``now`` passes a value that stays the same between the given instants.

    At each of them the distance is measured; being a line of slope 1 or −1 (the checker sees to it) it says when it is 0.
    """
    grammar = plan.grammar
    starts = f"SELECT profile, {grammar.whole(begin)} AS t FROM people"
    frame = Frame(plan, _points(plan, [starts, f"SELECT profile, t FROM {_between(plan, selects, begin)}"]), begin)
    columns: list[tuple[str, int]] = []
    for node in compares:
        slope = _slope(node.left) - _slope(node.right)
        if slope:
            distance = frame.columns.settle(frame.compile(n.Arith("-", node.left, node.right)), force=True)
            columns.append((distance.sql, slope))
    if not columns:
        return []
    listed = ", ".join(f"z.{name} AS d{place}" for place, (name, _) in enumerate(columns))
    measured = plan.name(f"SELECT z.profile, z.t, {listed} FROM {frame.render()} z")
    crossings = []
    for place, (_, slope) in enumerate(columns):
        met = f"t {'-' if slope > 0 else '+'} d{place}"
        crossings.append(f"SELECT profile, {met} AS t FROM {measured} WHERE d{place} IS NOT NULL")
        crossings.append(f"SELECT profile, {met} + 1 AS t FROM {measured} WHERE d{place} IS NOT NULL")
    return crossings


def _slope(node: n.Node) -> int:
    """Return how a time or a duration moves with the clock: 1, 0 or −1 ms per ms."""
    match node:
        case n.Now() | n.TimeSince():
            return 1
        case n.Negate():
            return -_slope(node.item)
        case n.Arith(op="+"):
            return _slope(node.left) + _slope(node.right)
        case n.Arith(op="-"):
            return _slope(node.left) - _slope(node.right)
    if varies(node):
        raise TypeError(f"inside held, {type(node).__name__} cannot vary with time; check.resolve refuses it")
    return 0
