"""When to look again: for every profile an instant before which no condition changes unless an event arrives."""

# ruff: noqa: S608 - this package writes SQL; values only ever enter it as bound parameters.

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tailorbird.expr import nodes as n
from tailorbird.expr.calendar import next_boundary
from tailorbird.expr.scalar import LARGEST_SPAN
from tailorbird.expr.sql.columns import Column
from tailorbird.expr.sql.compile import Statement
from tailorbird.expr.sql.past import changes, varies
from tailorbird.expr.sql.query import Dialect, Query
from tailorbird.expr.sql.source import Source
from tailorbird.expr.types import Type

__all__ = ["compile_wakes"]

_NEVER: Final = 2**63 - 1
_FARTHEST: Final = 1e15
_DATE_PARTS: Final = ("year", "month", "day", "weekday", "hour")


def compile_wakes(
    condition: n.Node, instant: int, dialect: Dialect, *, source: Source | None = None, kind: str = "person"
) -> Query:
    """Return a query of (profile, due): for each profile whose condition can change with time alone, an instant after
    ``instant`` that is not later than the first such change; it may be earlier. No row where it cannot change."""
    statement = Statement([condition], instant, dialect, source, {"kind": kind})
    dues = _Dues(statement)
    dues.gather(condition)
    if not dues.found:
        return statement.finish("SELECT z.profile AS profile, z.profile AS due FROM {body} z WHERE z.profile IS NULL")
    grammar = statement.grammar
    never = grammar.whole(_NEVER)
    while len(dues.found) > 1:  # in steps: least takes a limited number of arguments
        parts = [dues.found[i : i + 30] for i in range(0, len(dues.found), 30)]
        dues.found = [
            statement.frame.columns.settle(
                Column(grammar.least([due.sql for due in part]), Type.TIME, max(due.level for due in part)), force=True
            )
            for part in parts
        ]
    due = dues.found[0].sql
    return statement.finish(f"SELECT z.profile AS profile, z.{due} AS due FROM {{body}} z WHERE z.{due} < {never}")


@dataclass(frozen=True, slots=True)
class _Line:
    """How a value moves until its next break: ``low`` to ``high`` per ms, give or take ``slack`` (rounding) in all."""

    low: n.Node
    high: n.Node
    slack: n.Node


def _number(value: float) -> n.Literal:
    return n.Literal(float(value), Type.NUMBER)


_ZERO: Final = _number(0)
_ONE: Final = _number(1)
_MILLISECOND: Final = n.Literal(1, Type.DURATION)
_ROUNDING: Final = _number(1e-14)
"""How far arithmetic on doubles may be from the truth, relative to its terms."""
_STILL: Final = _Line(_ZERO, _ZERO, _ZERO)
_CLOCK: Final = _Line(_ONE, _ONE, _ZERO)


class _Dues:
    """Collects the columns that hold an instant at which something may change, or NEVER."""

    def __init__(self, statement: Statement) -> None:
        self.found: list[Column] = []
        self._frame = statement.frame
        self._plan = statement.plan
        self._grammar = statement.grammar

    def gather(self, node: n.Node) -> None:
        """Add what a condition, and all it is made of, may be waiting for."""
        match node:
            case n.Aggregate() | n.Did():
                if node.within is not None:
                    mask = self._plan.events.mask(node.event, node.where)
                    self._leaves(f"min(e.moment) FILTER (WHERE e.{mask}{self._frame.since(node.within)})", node.within)
                return
            case n.Sequence():
                start = self._plan.events.chain(node.steps)
                since = self._frame.since(node.within).replace("e.moment", f"e.{start}")
                self._leaves(f"max(e.{start}) FILTER (WHERE e.{start} IS NOT NULL{since})", node.within)
                return
            case n.TimeSince():
                return
            case n.Held():
                self._held(node)
                return self.gather(node.condition)
            case n.Compare():
                self._crossing(node)
            case n.In():
                for option in node.options:
                    self._crossing(n.Compare("=", node.item, option))
            case n.Arith():
                self._limit(node)
            case n.Call():
                self._steps(node)
        for child in n.children(node):
            self.gather(child)

    def _add(self, sql: str, level: int = 0) -> None:
        self.found.append(self._frame.columns.settle(Column(sql, Type.TIME, level), force=True))

    def _leaves(self, aggregate: str, within: int) -> None:
        """An event leaves a window a window's length after it came."""
        column = self._frame.aggregate(aggregate)
        self._add(f"coalesce({column} + {self._grammar.whole(within)}, {self._grammar.whole(_NEVER)})")

    def _held(self, node: n.Held) -> None:
        """A condition that became true is held a duration later."""
        begin = max(0, self._plan.instant - node.duration)
        found = changes(self._plan, node.condition, begin)
        delay = self._grammar.whole(node.duration)
        late = self._plan.name(f"SELECT profile, min(t) + {delay} AS v FROM {found} GROUP BY profile")
        self._add(self._frame.join(late, self._grammar.whole(_NEVER)))

    # what moves with the clock ---------------------------------------------------------------------------
    def _crossing(self, node: n.Compare) -> None:
        """The sides of a comparison meet when their distance has been walked at the speed it changes."""
        if not varies(node):
            return
        type = self._frame.compile(node.left).type
        if type not in (Type.NUMBER, Type.TIME, Type.DURATION):
            return
        left, right = _line(node.left), _line(node.right)
        low, high = _minus(left.low, right.high), _minus(left.high, right.low)
        slack = _plus(left.slack, right.slack)
        apart: n.Node = n.Arith("-", node.left, node.right)
        if type is Type.NUMBER:
            size = n.Arith("+", n.Call("abs", (node.left,)), n.Call("abs", (node.right,)))
            slack = _plus(slack, n.Arith("*", size, _ROUNDING))
        else:
            apart = n.Arith("/", apart, _MILLISECOND)
        self._walk(apart, _minus(_ZERO, apart), low, high, slack)

    def _limit(self, node: n.Arith) -> None:
        """A time or a duration that moves far enough becomes unknown, or known again."""
        value = self._frame.compile(node)
        if not varies(node) or value.type is Type.NUMBER or value.big < LARGEST_SPAN:
            return
        line = _line(node)
        free = n.Arith(node.op, self._as_number(node.left), self._as_number(node.right))  # a double knows no such limit
        slack = _plus(line.slack, n.Arith("*", n.Call("abs", (free,)), _ROUNDING))
        for limit in (float(-LARGEST_SPAN), float(LARGEST_SPAN)):
            apart = n.Arith("-", free, _number(limit))
            self._walk(apart, _minus(_ZERO, apart), line.low, line.high, slack)

    def _as_number(self, node: n.Node) -> n.Node:
        """Return a value in ms as a number; an instant counts from 1970."""
        type = self._frame.compile(node).type
        if type is Type.TIME:
            node = n.Arith("-", node, n.Literal(0, Type.TIME))
        return node if type is Type.NUMBER else n.Arith("/", node, _MILLISECOND)

    def _walk(self, down: n.Node, up: n.Node, low: n.Node, high: n.Node, slack: n.Node) -> None:
        """Add when a value has walked ``down`` at the speed ``-low``, or ``up`` at the speed ``high``, of those distances
        that are not negative."""
        for distance, speed in ((down, _minus(_ZERO, low)), (up, high)):
            if any(value <= 0 for value in _constants(speed)):
                continue
            there = n.And((n.Compare(">=", distance, _ZERO), n.Compare(">", speed, _ZERO)))
            length = distance if slack == _ZERO else n.Call("max", (_minus(distance, slack), _ZERO))
            wait = length if speed == _ONE else n.Arith("/", length, speed)
            self._after(n.If(there, wait, _number(_FARTHEST)))

    def _after(self, wait: n.Node) -> None:
        """Add the instant after a wait in ms, at least the next millisecond."""
        column = self._frame.columns.settle(self._frame.compile(wait), force=True)
        grammar = self._grammar
        whole = grammar.greatest(["1", f"CAST({grammar.floor(column.sql)} AS {grammar.int_type})"])
        farthest = grammar.float_literal(repr(_FARTHEST))
        now, never = grammar.whole(self._plan.instant), grammar.whole(_NEVER)
        self._add(f"CASE WHEN {column.sql} < {farthest} THEN {now} + {whole} ELSE {never} END", column.level)

    def _steps(self, node: n.Call) -> None:
        """A rounded value, or a part of a date, changes when what is below reaches the next step."""
        argument = node.args[0]
        if not varies(argument) or node.fn not in ("floor", "ceil", "round", *_DATE_PARTS):
            return
        line = _line(argument)
        if node.fn in _DATE_PARTS:
            shift = _shift(argument)
            if shift is not None:
                due = next_boundary(node.fn, self._plan.instant + shift) - shift
                return self._add(self._grammar.whole(due))
            unit = 3_600_000 if node.fn == "hour" else 86_400_000
            value: n.Node = n.Arith("/", n.Arith("-", argument, n.Literal(0, Type.TIME)), n.Literal(unit, Type.DURATION))
            scale = _number(1 / unit)
        else:
            digits = next(_constants(*node.args[1:]), 0.0)
            scale = _number(10.0 ** int(digits))
            value = argument if scale == _ONE else n.Arith("*", argument, scale)
            value = n.Arith("+", value, _number(0.5)) if node.fn == "round" else value
        low, high = _times(line.low, scale), _times(line.high, scale)
        slack = _plus(_times(line.slack, scale), n.Arith("*", n.Call("abs", (value,)), _ROUNDING))
        step = n.Call("ceil" if node.fn == "ceil" else "floor", (value,))
        under, over = (_minus(step, _ONE), step) if node.fn == "ceil" else (step, _plus(step, _ONE))
        self._walk(n.Arith("-", value, under), n.Arith("-", over, value), low, high, slack)


def _shift(node: n.Node) -> int | None:
    """Return what is added to ``now`` if the node is that and no more."""
    match node:
        case n.Now():
            return 0
        case n.Arith(op="+" | "-" as op, left=left, right=n.Literal(value=int() as ms)):
            below = _shift(left)
            return None if below is None else below + (ms if op == "+" else -ms)
        case _:
            return None


def _line(node: n.Node) -> _Line:
    """Return how fast a value moves; what its speed depends on does not itself vary with time."""
    if not varies(node):
        return _STILL
    match node:
        case n.Now() | n.TimeSince():
            return _CLOCK
        case n.Negate():
            line = _line(node.item)
            return _Line(_minus(_ZERO, line.high), _minus(_ZERO, line.low), line.slack)
        case n.Arith(op="+"):
            left, right = _line(node.left), _line(node.right)
            return _Line(_plus(left.low, right.low), _plus(left.high, right.high), _plus(left.slack, right.slack))
        case n.Arith(op="-"):
            left, right = _line(node.left), _line(node.right)
            return _Line(_minus(left.low, right.high), _minus(left.high, right.low), _plus(left.slack, right.slack))
        case n.Arith(op="*"):
            moving, factor = (node.left, node.right) if varies(node.left) else (node.right, node.left)
            return _scaled(_line(moving), _plain(factor))
        case n.Arith(op="/"):
            return _scaled(_line(node.left), n.Arith("/", _ONE, _plain(node.right)))
        case n.Call(fn="floor" | "ceil" | "round") | n.Call(fn="year" | "month" | "day" | "weekday" | "hour"):
            return _STILL
        case n.Call(fn="abs"):
            line = _line(node.args[0])
            return _hull([line, _Line(_minus(_ZERO, line.high), _minus(_ZERO, line.low), line.slack)])
        case n.If():
            return _choice(node.condition, _line(node.then), _line(node.otherwise))
        case n.Call(fn="default"):
            return _choice(n.IsKnown(node.args[0]), _line(node.args[0]), _line(node.args[1]))
        case n.Call():
            return _hull([_line(arg) for arg in node.args])
    return _STILL


def _scaled(line: _Line, factor: n.Node) -> _Line:
    """Return how a multiple moves. A product with a span of time is rounded to a millisecond: that is a slack of 1."""
    low, high = _times(line.low, factor), _times(line.high, factor)
    size: n.Node = n.Call("abs", (factor,))
    return _Line(_least(low, high), _most(low, high), _plus(_times(line.slack, size), _ONE))


def _choice(condition: n.Node, then: _Line, otherwise: _Line) -> _Line:
    """Return how the value moves that the condition picks; the speed of the other one may be unknown."""

    def pick(left: n.Node, right: n.Node) -> n.Node:
        return left if left == right else n.If(condition, left, right)

    return _Line(pick(then.low, otherwise.low), pick(then.high, otherwise.high), pick(then.slack, otherwise.slack))


def _hull(lines: list[_Line]) -> _Line:
    low, high, slack = lines[0].low, lines[0].high, lines[0].slack
    for line in lines[1:]:
        low, high, slack = _least(low, line.low), _most(high, line.high), _most(slack, line.slack)
    return _Line(low, high, slack)


def _plain(node: n.Node) -> n.Node:
    """Return a factor as a number, durations in ms."""
    for value in _constants(node):
        return _number(value)
    return n.Arith("/", node, _MILLISECOND) if _is_span(node) else node


def _is_span(node: n.Node) -> bool:
    """Tell whether a value that does not vary with time is a duration."""
    match node:
        case n.Literal(type=type):
            return type is Type.DURATION
        case n.Negate(item=item):
            return _is_span(item)
        case n.Arith(op="-", left=left, right=right):
            return _is_span(left) or (_is_time(left) and _is_time(right))
        case n.Arith(op="*", left=left, right=right):
            return _is_span(left) or _is_span(right)
        case n.Arith(left=left, right=right):
            return _is_span(left) and not (node.op == "/" and _is_span(right))
        case n.If(then=then):
            return _is_span(then)
        case n.Call(args=args):
            return node.fn in ("min", "max", "abs", "default") and _is_span(args[0])
    return False


def _is_time(node: n.Node) -> bool:
    """Tell whether a value that does not vary with time is an instant."""
    match node:
        case n.Literal(type=type) | n.Attribute(type=type) | n.Aggregate(type=type):
            return type is Type.TIME
        case n.Arith(op="+" | "-", left=left, right=right):
            return _is_time(left) != _is_time(right)
        case n.If(then=then):
            return _is_time(then)
        case n.Call(args=args):
            return node.fn in ("min", "max", "default") and _is_time(args[0])
    return False


def _constants(*nodes: n.Node) -> Iterator[float]:
    for node in nodes:
        if isinstance(node, n.Literal) and isinstance(node.value, int | float):
            yield float(node.value)


def _both(left: n.Node, right: n.Node) -> tuple[float, float] | None:
    values = tuple(_constants(left, right))
    return (values[0], values[1]) if len(values) == 2 else None


def _plus(left: n.Node, right: n.Node) -> n.Node:
    values = _both(left, right)
    if values:
        return _number(values[0] + values[1])
    return right if left == _ZERO else left if right == _ZERO else n.Arith("+", left, right)


def _minus(left: n.Node, right: n.Node) -> n.Node:
    values = _both(left, right)
    if values:
        return _number(values[0] - values[1])
    return left if right == _ZERO else n.Arith("-", left, right)


def _times(left: n.Node, right: n.Node) -> n.Node:
    values = _both(left, right)
    if values:
        return _number(values[0] * values[1])
    if _ZERO in (left, right):
        return _ZERO
    return right if left == _ONE else left if right == _ONE else n.Arith("*", left, right)


def _least(left: n.Node, right: n.Node) -> n.Node:
    values = _both(left, right)
    if values:
        return _number(min(values))
    return left if left == right else n.Call("min", (left, right))


def _most(left: n.Node, right: n.Node) -> n.Node:
    values = _both(left, right)
    if values:
        return _number(max(values))
    return left if left == right else n.Call("max", (left, right))
