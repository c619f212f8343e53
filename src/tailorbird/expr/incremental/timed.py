"""Compiling a condition to statements that yield its truth and the next instant at which that can change by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tailorbird.expr import nodes as n
from tailorbird.expr.incremental.cells import Cells
from tailorbird.expr.incremental.lower import AtLeast, Forest, SumAtLeast
from tailorbird.expr.incremental.plain import Plain, constant_of
from tailorbird.expr.incremental.source import Names, Source
from tailorbird.expr.scalar import LARGEST_SPAN
from tailorbird.expr.types import Type

__all__ = ["Timed"]

_INVERSE: Final[dict[str, n.CompareOp]] = {"=": "!=", "!=": "=", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}
_MIRROR: Final[dict[str, n.CompareOp]] = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_MOMENT: Final = 10**14
"""Beyond every instant that can be written (the year 2999) or will be now."""

Line = tuple[list[tuple[int, n.Node]], int, int, int]
"""A straight line of whole milliseconds: signed parts that stand still, a constant, the slope (how often ``now`` is in it), and
a bound of what any part of its sum can come to."""


class Timed(Plain):
    """Compiles conditions that time alone can change.

    ``decide`` writes statements that set two variables: the truth, and the instant before which it surely stays as it is.
    """

    def __init__(self, forest: Forest, cells: Cells, names: Names, source: Source, uses: Mapping[int, int] | None = None) -> None:
        super().__init__(forest, cells, names, source, uses)
        self._decided: dict[tuple[int, bool], tuple[str, str]] = {}

    # -- truths -----------------------------------------------------------------------------------------------------

    def decide(self, node: n.Node, want: bool, truth: str, due: str) -> None:
        """Write statements that set ``truth`` to whether the condition is ``want``, and ``due`` to until when."""
        if id(node) in self.named or not self.facts(node).timed:
            self.source.add(f"{truth} = {self.truth(node, want)}", f"{due} = NEVER")
        elif self.is_shared(node) and self._is_costly(node):
            code = self._decided_once(node, want)
            self.source.add(f"{truth} = {code[0]}", f"{due} = {code[1]}")
        elif self.facts(node).cut and node is not self._root:
            call = self._outlined(node, f"decide {want}", lambda inner: inner.decide_alone(node, want))
            self.source.add(f"{truth}, {due} = {call}")
        else:
            self._decide(node, want, truth, due)

    def _is_costly(self, node: n.Node) -> bool:
        return not (isinstance(node, AtLeast) and node.least == 1)

    def _decided_once(self, node: n.Node, want: bool) -> tuple[str, str]:
        """Decide what several conditions contain at the top of the function; return its two variables."""
        if (id(node), want) not in self._decided:
            named, self.named = self.named, {}
            with self.source.at_top():
                found = self._decided[id(node), want] = self.source.fresh("t"), self.source.fresh("d")
                self._decide(node, want, *found)
            self.named = named
        return self._decided[id(node), want]

    def decide_alone(self, node: n.Node, want: bool = True) -> None:
        """Write the body of a function that returns ``(truth, due)``."""
        self.decide(node, want, "truth", "due")
        self.source.add("return truth, due")

    def _decide(self, node: n.Node, want: bool, truth: str, due: str) -> None:
        match node:
            case n.Not():
                self.decide(node.item, not want, truth, due)
            case n.And():
                self._decide_all(node.items, want, truth, due, conjunction=want)
            case n.Or():
                self._decide_all(node.items, want, truth, due, conjunction=not want)
            case n.IsTrue():
                self.decide(node.item, True, truth, due)
                if not want:
                    self.source.add(f"{truth} = not {truth}")
            case n.If():
                self._decide_if(node, want, truth, due)
            case AtLeast():
                self._decide_at_least(node, want, truth, due)
            case SumAtLeast():
                cell, least = self.cells.of(node), self.names.constant(node.least)
                within = self.names.constant(node.within)
                self.source.add(f"{truth}, {due} = sums_at_least(x, {cell.slot}, {within}, {least}, now)")
                self._invert(want, truth)
            case n.Sequence():
                self._decide_sequence(node, want, truth, due)
            case n.Held():
                held = self.cells.held(node)
                duration = self.names.constant(node.duration)
                self.source.add(f"{truth}, {due} = held({held.function}, x, {held.slot}, {duration}, now)")
                self._invert(want, truth)
            case n.Compare() if self.facts(node.left).varying or self.facts(node.right).varying:
                self._decide_crossing(node, want, truth, due)
            case n.In() if self.facts(node.item).varying:
                options = self.names.constant(tuple(constant_of(option) for option in node.options))
                self.source.add(f"{truth}, {due} = in_options({self.varying(node.item)}, {options}, {want}, now)")
            case n.IsKnown() if self.facts(node.item).varying:
                item = self.varying(node.item)
                self.source.add(f"{truth} = {item}[0] is {'not ' if want else ''}None", f"{due} = {item}[4]")
            case _:
                self._decide_steps(node, want, truth, due)

    def _invert(self, want: bool, truth: str) -> None:
        if not want:
            self.source.add(f"{truth} = not {truth}")

    def _decide_all(self, items: tuple[n.Node, ...], want: bool, truth: str, due: str, conjunction: bool) -> None:
        """Write a conjunction (all items are ``want``) or a disjunction (one is).

        What decides it alone stays decided at least as long as the longest of those; what needs all, as the shortest.
        """
        still = [self.truth(item, want) for item in items if not self.facts(item).timed]
        timed = [item for item in items if self.facts(item).timed]
        settled = f"not ({' and '.join(still)})" if conjunction else " or ".join(still)
        if still:
            self.source.add(f"if {settled}:", f"    {truth} = {not conjunction}", f"    {due} = NEVER", "else:")
            self.source.depth += 1
        self.decide(timed[0], want, truth, due)
        word = "" if conjunction else "not "
        for item in timed[1:]:
            other, until = self.source.fresh("t"), self.source.fresh("d")
            with self.source.block(f"if {word}{truth} or {due} < NEVER:"):
                self.decide(item, want, other, until)
                self.source.add(
                    f"if {word}{truth}:",
                    f"    if not {word}{other}: {truth} = {other}; {due} = {until}",
                    f"    elif {until} < {due}: {due} = {until}",
                    f"elif not {word}{other} and {until} > {due}: {due} = {until}",
                )
        self.source.depth -= bool(still)

    def _decide_if(self, node: n.If, want: bool, truth: str, due: str) -> None:
        chosen, until = self.source.fresh("t"), self.source.fresh("d")
        self.decide(node.condition, True, chosen, until)
        with self.source.block(f"if {chosen}:"):
            self.decide(node.then, want, truth, due)
        with self.source.block("else:"):
            self.decide(node.otherwise, want, truth, due)
        self.source.add(f"if {until} < {due}: {due} = {until}")

    def _decide_at_least(self, node: AtLeast, want: bool, truth: str, due: str) -> None:
        cell, within = self.cells.of(node), self.names.constant(node.within)
        if cell.kind == "latest":
            self.source.add(f"{due} = x[{cell.slot}] + {within}")
            test = f"{due} > now"
        else:
            times, least = self.source.fresh(), self.names.constant(node.least)
            self.source.add(f"{times} = x[{cell.slot}]")
            test = f"len({times}) >= {least} and ({due} := {times}[-{least}] + {within}) > now"
        self._unless_over(test, want, truth, due)

    def _decide_sequence(self, node: n.Sequence, want: bool, truth: str, due: str) -> None:
        row, within = self.source.fresh(), self.names.constant(node.within)
        self.source.add(f"{row} = x[{self.cells.sequence(node).slot}]")
        test = f"{row} is not None and ({due} := {row}[{len(node.steps)}] + {within}) > now"
        self._unless_over(test, want, truth, due)

    def _unless_over(self, test: str, want: bool, truth: str, due: str) -> None:
        """Write what holds until ``due`` (set by the test), and once over stays over."""
        self.source.add(f"if {test}:", f"    {truth} = {want}", "else:", f"    {truth} = {not want}", f"    {due} = NEVER")

    def _decide_steps(self, node: n.Node, want: bool, truth: str, due: str) -> None:
        """Write a test of values that change in steps."""
        before, dues = dict(self.named), []
        for child in [node] if isinstance(node, n.Aggregate) else n.children(node):
            dues += self._name(child)
        self.source.add(f"{truth} = {self.truth(node, want)}", f"{due} = {self._earliest(dues)}")
        self.named = before

    def _name(self, node: n.Node) -> list[str]:
        """Compute a timed value that changes in steps into a variable; return the names of its dues."""
        if id(node) in self.named or not self.facts(node).timed:
            return []
        self.named[id(node)], dues = self.step(node)
        return dues

    def _earliest(self, dues: list[str]) -> str:
        return "NEVER" if not dues else dues[0] if len(dues) == 1 else f"min({', '.join(dues)})"

    # -- values that change in steps ----------------------------------------------------------------------------------

    def step(self, node: n.Node) -> tuple[str, list[str]]:
        """Write statements that compute a timed value; return its variable and the variables of its dues."""
        if self.facts(node).cut and node is not self._root:
            name, due = self.source.fresh(), self.source.fresh("d")
            self.source.add(f"{name}, {due} = {self._outlined(node, 'step', lambda inner: inner.step_alone(node))}")
            return name, [due]
        if self.facts(node).varying:
            moving = self.varying(node)
            name, due = self.source.fresh(), self.source.fresh("d")
            self.source.add(f"{name} = {moving}[0]", f"{due} = {moving}[4]")
            return name, [due]
        match node:
            case n.Aggregate():
                return self._step_aggregate(node)
            case n.If():
                return self._step_if(node)
            case n.Compare() if self.facts(node.left).varying or self.facts(node.right).varying:
                left, right = self.varying(node.left), self.varying(node.right)
                decided = f"compared({self.names.constant(node.op)}, {left}, {right}, now)"
                return self._step_decided(decided, f"{left}[0] is None or {right}[0] is None")
            case n.In() if self.facts(node.item).varying:
                item = self.varying(node.item)
                options = self.names.constant(tuple(constant_of(option) for option in node.options))
                return self._step_decided(f"in_options({item}, {options}, True, now)", f"{item}[0] is None")
        if self.facts(node).type == Type.BOOL and not self.facts(node).nullable:
            name, due = self.source.fresh("t"), self.source.fresh("d")
            self.decide(node, True, name, due)
            return name, [due]
        before, dues = dict(self.named), []
        for child in n.children(node):
            dues += self._name(child)
        name = self.source.fresh()
        self.source.add(f"{name} = {self.value(node)}")
        self.named = before
        return name, dues

    def step_alone(self, node: n.Node) -> None:
        """Write the body of a function that returns ``(value, due)``."""
        value, dues = self.step(node)
        self.source.add(f"return {value}, {self._earliest(dues)}")

    def _step_aggregate(self, node: n.Aggregate) -> tuple[str, list[str]]:
        name, due, place = self.source.fresh(), self.source.fresh("d"), self.source.fresh()
        slot, within = self.cells.of(node).slot, self.names.constant(node.within)
        if node.fn == "last":
            self.source.add(f"{due} = x[{slot}] + {within}", f"if {due} > now: {name} = x[{slot + 1}]")
            self.source.add(f"else: {name} = None; {due} = NEVER")
            return name, [due]
        ats = self.source.fresh()
        self.source.add(f"{ats} = x[{slot}]", f"{place} = after({ats}, now - {within})")
        self.source.add(f"{due} = {ats}[{place}] + {within} if {place} < len({ats}) else NEVER")
        match node.fn:
            case "count" | "distinct":
                self.source.add(f"{name} = len({ats}) - {place} + ZERO")
            case "sum":
                self.source.add(f"{name} = (x[{slot + 1}][-1] - x[{slot + 1}][{place} - 1]) / MILLION")
            case "avg":
                self.source.add(f"{name} = average(x, {slot}, now - {within})")
            case _:
                self.source.add(f"{name} = x[{slot + 1}][{place}] if {place} < len({ats}) else None")
        return name, [due]

    def _step_if(self, node: n.If) -> tuple[str, list[str]]:
        chosen, until = self.source.fresh("t"), self.source.fresh("d")
        name, due = self.source.fresh(), self.source.fresh("d")
        self.decide(node.condition, True, chosen, until)
        for head, branch in ((f"if {chosen}:", node.then), ("else:", node.otherwise)):
            with self.source.block(head):
                code, dues = self.step(branch) if self.facts(branch).timed else (self.value(branch), [])
                self.source.add(f"{name} = {code}", f"{due} = {self._earliest(dues)}")
        return name, [until, due]

    def _step_decided(self, decided: str, unknown: str) -> tuple[str, list[str]]:
        """Write a comparison of moving values as a value of its own."""
        name, due = self.source.fresh("t"), self.source.fresh("d")
        self.source.add(f"{name}, {due} = {decided}", f"if {unknown}: {name} = None")
        return name, [due]

    # -- values that move ---------------------------------------------------------------------------------------------

    def _decide_crossing(self, node: n.Compare, want: bool, truth: str, due: str) -> None:
        op: n.CompareOp = node.op if want else _INVERSE[node.op]
        left, right = self._line(node.left), self._line(node.right)
        if left is not None and right is not None and abs(left[2] - right[2]) <= 1 and left[3] + right[3] <= LARGEST_SPAN // 2:
            parts = left[0] + [(-sign, part) for sign, part in right[0]]
            self._decide_line(op, parts, left[1] - right[1], left[2] - right[2], truth, due)
            return
        sides = f"{self.varying(node.left)}, {self.varying(node.right)}"
        self.source.add(f"{truth}, {due} = compared({self.names.constant(op)}, {sides}, now)")

    def _line(self, node: n.Node) -> Line | None:
        """Return a time or duration as a line of whole milliseconds, None when it is of another shape."""
        match node:
            case n.Literal(type=Type.TIME | Type.DURATION):
                return [], int(node.value), 0, abs(int(node.value))  # type: ignore[arg-type]
            case n.Now():
                return [], 0, 1, _MOMENT
            case n.TimeSince():
                return [(-1, node)], 0, 1, _MOMENT
            case n.Attribute(type=Type.TIME) | n.Aggregate(type=Type.TIME):
                return [(1, node)], 0, 0, _MOMENT
            case n.Negate():
                line = self._line(node.item)
                return line and ([(-sign, part) for sign, part in line[0]], -line[1], -line[2], line[3])
            case n.Arith(op="+" | "-"):
                left, right = self._line(node.left), self._line(node.right)
                if left is None or right is None:
                    return None
                by = 1 if node.op == "+" else -1
                parts = left[0] + [(by * sign, part) for sign, part in right[0]]
                return parts, left[1] + by * right[1], left[2] + by * right[2], left[3] + right[3]
        return None

    def _decide_line(
        self, op: n.CompareOp, parts: list[tuple[int, n.Node]], constant: int, slope: int, truth: str, due: str
    ) -> None:
        """Write ``parts + constant + slope · now op 0``, exact to the millisecond."""
        before, dues, known, terms = dict(self.named), [], [], []
        # now + b < 0 is now < -b, and b - now < 0 is now > b.
        turn = -1 if slope == 1 else 1
        for sign, part in parts:
            if isinstance(part, n.TimeSince):
                name = self.source.fresh()
                known.append(f"({name} := x[{self.cells.of(part).slot}]) > PAST")
            else:
                dues += self._name(part)
                code = self.value(part)
                name = code if code.isidentifier() else self.source.fresh()
                if self.facts(part).nullable:
                    known.append(f"({name} := {code}) is not None" if name != code else f"{name} is not None")
                elif name != code:
                    self.source.add(f"{name} = {code}")
            terms.append(f"{'+' if sign * turn > 0 else '-'} {name}")
        zero = f"{self.names.constant(constant * turn)} {' '.join(terms)}"
        with self.source.block(f"if {' and '.join(known)}:" if known else "if 1:"):
            point = self.source.fresh("z")
            self.source.add(f"{point} = {zero}")
            if slope == 0:
                self.source.add(f"{truth} = {point} {'==' if op == '=' else op} 0", f"{due} = NEVER")
            else:
                self._decide_point(op if slope == 1 else _MIRROR[op], point, truth, due)
        self.source.add("else:", f"    {truth} = False", f"    {due} = NEVER")
        for other in dues:
            self.source.add(f"if {other} < {due}: {due} = {other}")
        self.named = before

    def _decide_point(self, op: n.CompareOp, point: str, truth: str, due: str) -> None:
        """Write ``now op point``."""
        match op:
            case "<" | "<=" | ">" | ">=":
                change = point if op in ("<", ">=") else f"{point} + 1"
                after, until = (change, "NEVER") if op in ("<", "<=") else ("NEVER", change)
                self.source.add(
                    f"if now {op} {point}: {truth} = True; {due} = {after}", f"else: {truth} = False; {due} = {until}"
                )
            case _:
                self.source.add(f"{truth} = now {'==' if op == '=' else '!='} {point}")
                self.source.add(f"{due} = {point} if now < {point} else {point} + 1 if now == {point} else NEVER")

    def varying(self, node: n.Node) -> str:
        """Write statements that compute a moving value; return its variable (see the module ``varying``)."""
        name = self.source.fresh("m")
        if self.facts(node).cut and node is not self._root:
            write = lambda inner: inner.source.add(f"return {inner.varying(node)}")  # noqa: E731
            self.source.add(f"{name} = {self._outlined(node, 'varying', write)}")
            return name
        match node:
            case n.Now():
                code = "since(0, now)"
            case n.TimeSince():
                latest = self.source.fresh()
                self.source.add(f"{latest} = x[{self.cells.of(node).slot}]")
                code = f"since({latest} if {latest} > PAST else None, now)"
            case _ if not self.facts(node).varying:
                value, dues = self.step(node) if self.facts(node).timed else (self.value(node), [])
                code = f"fixed({value}, {self._earliest(dues)})"
            case n.Arith():
                code = f"moved({self.names.constant(node.op)}, {self.varying(node.left)}, {self.varying(node.right)}, now)"
            case n.Negate():
                zero = self.names.constant(0.0 if self.facts(node).type == Type.NUMBER else 0)
                code = f"moved({self.names.constant('-')}, fixed({zero}), {self.varying(node.item)}, now)"
            case n.Call():
                items = ", ".join([self.varying(arg) for arg in node.args])
                code = f"scalar({self.names.constant(node.fn)}, now, [{items}])"
            case n.If():
                return self._varying_if(node, name)
            case _:
                raise TypeError(type(node).__name__)
        self.source.add(f"{name} = {code}")
        return name

    def _varying_if(self, node: n.If, name: str) -> str:
        chosen, until = self.source.fresh("t"), self.source.fresh("d")
        self.decide(node.condition, True, chosen, until)
        for head, branch in ((f"if {chosen}:", node.then), ("else:", node.otherwise)):
            with self.source.block(head):
                self.source.add(f"{name} = bound({self.varying(branch)}, {until})")
        return name
