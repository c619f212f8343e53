"""Whether the people in a segment are still the kind of people they were: population stability index, attribute by attribute.

The index compares the share of each bin now with its share at the baseline: ``sum((now − then) · ln(now / then))``.
Below 0.1 nothing has changed that matters, from 0.25 on the population is another one: N. Siddiqi, *Credit Risk
Scorecards* (Wiley, 2006). Without any change the index of two samples of n and m is not 0 but, over ``1/n + 1/m``, spread as
chi-squared with one degree of freedom less than there are bins: B. Yurdakul and J. Naranjo, "Statistical properties of the
population stability index", *Journal of Risk Model Validation* 14 (2020). An index that chance alone would give once in a
hundred times is therefore called stable however large it is, so that small segments are not taken for drifting ones.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from math import log, sqrt
from typing import Any, Final

from tailorbird.core.context import DAY
from tailorbird.errors import InvalidInput
from tailorbird.expr.nodes import Node
from tailorbird.expr.read import parse_time
from tailorbird.expr.types import Type
from tailorbird.expr.units import duration_of, duration_text, instant_text, number_text
from tailorbird.ports import Batch

__all__ = ["Drift", "DriftItem", "Share", "Stability", "baseline_instant", "compare", "drift", "psi", "stability"]

SAMPLE: Final = 20_000
"""How many members are looked at, evenly spread over the keys; more would not change a decision."""
BINS: Final = 10
_SMOOTH: Final = 0.5
_UNKNOWN: Final = "unknown"
_OTHER: Final = "other"


class Stability(StrEnum):
    """What the index says."""

    STABLE = "stable"
    SHIFTING = "shifting"
    DRIFTED = "drifted"
    UNMEASURED = "unmeasured"  # nobody to compare, now or then


_SEVERITY: Final = (Stability.UNMEASURED, Stability.STABLE, Stability.SHIFTING, Stability.DRIFTED)


@dataclass(frozen=True, slots=True)
class Share:
    """One bin: what falls into it, and which share of members did at the baseline and does now (0 to 1)."""

    label: str
    baseline: float
    now: float


@dataclass(frozen=True, slots=True)
class DriftItem:
    """One attribute or feature: its index, what chance alone stays below in 99 of 100 cases, its status and its bins."""

    name: str
    psi: float | None
    chance: float
    status: Stability
    shares: tuple[Share, ...]


@dataclass(frozen=True, slots=True)
class Drift:
    """A segment against its baseline. ``psi`` and ``status`` are those of the item that changed most."""

    segment: str
    instant: int
    baseline: int
    size: int
    baseline_size: int
    psi: float | None
    status: Stability
    items: tuple[DriftItem, ...]


def drift(
    batch: Batch, segment: str, condition: Node, expressions: Mapping[str, tuple[Node, Type]], *, instant: int, baseline: int
) -> Drift:
    """Compare the members at ``instant`` with those at ``baseline``, both as the condition has it at that time.

    ``expressions`` are the attributes and features that members are compared by.
    """
    nodes = {name: node for name, (node, _) in expressions.items()}
    sizes, columns = [], []
    for at in (baseline, instant):
        members = batch.members(condition, at)
        chosen = members if len(members) <= SAMPLE else [members[i * len(members) // SAMPLE] for i in range(SAMPLE)]
        rows = batch.values(nodes, at, chosen) if chosen and nodes else {}
        sizes.append(len(members))
        columns.append({name: [rows.get(key, {}).get(name) for key in chosen] for name in nodes})
    then, now = columns
    items = tuple(compare(name, kind, then[name], now[name]) for name, (_, kind) in expressions.items())
    measured = [item for item in items if item.psi is not None]
    worst = max(measured, key=lambda item: (_SEVERITY.index(item.status), item.psi or 0.0), default=None)
    return Drift(
        segment, instant, baseline, sizes[1], sizes[0],
        worst.psi if worst else None, worst.status if worst else Stability.UNMEASURED, items,
    )  # fmt: skip


def baseline_instant(text: str | None, now: int) -> int:
    """Return the instant that a segment's ``baseline`` names: a duration back from now, or a date; 30 days ago when None.

    >>> baseline_instant("1d", 90_000_000), baseline_instant("1970-01-02", 90_000_000)
    (3600000, 86400000)
    """
    back = duration_of(text) if text else 30 * DAY
    instant = now - back if back is not None else parse_time(text or "")
    if instant is None:
        raise InvalidInput(f"The baseline {text!r:.60} is neither a duration nor a date.", hint="Write 30d or 2026-01-31.")
    return instant


def compare(name: str, kind: Type, then: Sequence[Any], now: Sequence[Any]) -> DriftItem:
    """Compare one column of values (None: unknown), binned by what the baseline holds.

    Numbers, times and durations fall into at most ten bins with equally many of the baseline each, or one bin a value where
    there are few; text into the ten most frequent and ``other``; unknown is a bin of its own.
    """
    labels, place = _bins(kind, then)
    before, after = Counter(map(place, then)), Counter(map(place, now))
    labels = [label for label in labels if before[label] or after[label]]
    index = psi([before[label] for label in labels], [after[label] for label in labels])
    shares = tuple(
        Share(label, before[label] / len(then) if then else 0.0, after[label] / len(now) if now else 0.0) for label in labels
    )
    chance = _chance(len(labels), len(then), len(now)) if then and now else 0.0
    return DriftItem(name, index, chance, stability(index, chance), shares)


def psi(then: Sequence[int], now: Sequence[int]) -> float | None:
    """Return the population stability index of two counts over the same bins; None when either is empty.

    Half a member is added to every bin, so that a bin that was empty gives a large number and not an infinite one.

    >>> psi([50, 50], [50, 50]), round(psi([500, 500], [900, 100]), 2)
    (0.0, 0.88)
    """
    if not sum(then) or not sum(now):
        return None
    total_then, total_now = sum(then) + _SMOOTH * len(then), sum(now) + _SMOOTH * len(now)
    index = 0.0
    for a, b in zip(then, now, strict=True):
        p, q = (a + _SMOOTH) / total_then, (b + _SMOOTH) / total_now
        index += (q - p) * log(q / p)
    return index


def stability(index: float | None, chance: float = 0.0) -> Stability:
    """Return what an index says; one that is not above ``chance`` says that nothing has changed.

    >>> [str(stability(x)) for x in (0.05, 0.1, 0.25)]
    ['stable', 'shifting', 'drifted']
    """
    if index is None:
        return Stability.UNMEASURED
    if index < 0.1 or index <= chance:
        return Stability.STABLE
    return Stability.SHIFTING if index < 0.25 else Stability.DRIFTED


def _chance(bins: int, n: int, m: int) -> float:
    """Return what the index of two samples of one population stays below in 99 of 100 cases.

    The quantile of chi-squared is approximated by a cube: E. Wilson and M. Hilferty, *PNAS* 17 (1931).
    """
    free = bins - 1
    if not free:
        return 0.0
    part = 2 / (9 * free)
    return float(free * (1 - part + 2.326 * sqrt(part)) ** 3 * (1 / n + 1 / m))


def _bins(kind: Type, baseline: Sequence[Any]) -> tuple[list[str], Callable[[Any], str]]:
    known = [value for value in baseline if value is not None]
    if kind in (Type.NUMBER, Type.TIME, Type.DURATION) and len(set(known)) > BINS:
        return _quantiles(kind, sorted(known))
    show = _shower(kind)
    top = [
        show(value)
        for value, _ in sorted(Counter(map(_hashable, known)).items(), key=lambda pair: (-pair[1], str(pair[0])))[:BINS]
    ]
    kept = set(top)

    def place(value: Any) -> str:
        if value is None:
            return _UNKNOWN
        label = show(_hashable(value))
        return label if label in kept else _OTHER

    return [*top, _OTHER, _UNKNOWN], place


def _quantiles(kind: Type, known: Sequence[Any]) -> tuple[list[str], Callable[[Any], str]]:
    show = _shower(kind)
    edges = sorted({known[index * len(known) // BINS] for index in range(1, BINS)})
    shown = [show(edge) for edge in edges]
    labels = [f"≤ {shown[0]}", *(f"{a} – {b}" for a, b in pairwise(shown)), f"> {shown[-1]}"]
    labels = [label if labels.count(label) == 1 else f"{label} ({index})" for index, label in enumerate(labels)]

    def place(value: Any) -> str:
        return _UNKNOWN if value is None else labels[bisect_left(edges, value)]

    return [*labels, _UNKNOWN], place


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _shower(kind: Type) -> Callable[[Any], str]:
    match kind:
        case Type.NUMBER:
            return lambda value: number_text(float(f"{value:.4g}"))
        case Type.TIME:
            return lambda value: instant_text(int(value))
        case Type.DURATION:
            return lambda value: duration_text(int(value))
        case Type.BOOL:
            return lambda value: "true" if value else "false"
        case Type.TEXTS:
            return lambda value: ", ".join(sorted(value))
        case _:
            return lambda value: str(value) if value not in (_OTHER, _UNKNOWN) else f'"{value}"'
