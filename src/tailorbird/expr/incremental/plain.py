"""Compiling an expression to one Python expression over a profile's row ``x`` at an instant ``now`` (or over one event)."""

from __future__ import annotations

from typing import Final

from tailorbird.core.ids import BUCKET_PRIME, bucket_constants
from tailorbird.expr import nodes as n
from tailorbird.expr.calendar import DATE_PARTS
from tailorbird.expr.incremental.cells import Cells
from tailorbird.expr.incremental.lower import AtLeast, SumAtLeast, nullable, type_of
from tailorbird.expr.incremental.source import Names, Source
from tailorbird.expr.types import Type

__all__ = ["Plain"]

_PYTHON: Final = {"=": "==", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_INVERSE: Final = {"=": "!=", "!=": "==", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}


class Plain:
    """Compiles values and truths to expressions.

    A *truth* is two-valued: whether a condition is true (``want``), or whether it is false. Negation is pushed down to
    the comparisons, where "unknown" is neither, so no third value has to be carried around. ``named`` holds the
    variables of what the function has already computed.
    """

    def __init__(self, cells: Cells, names: Names, source: Source) -> None:
        self.cells = cells
        self.names = names
        self.source = source
        self.named: dict[n.Node, str] = {}

    # -- truths -----------------------------------------------------------------------------------------------------

    def truth(self, node: n.Node, want: bool = True) -> str:
        """Return code that is true where the condition is ``want``."""
        if node in self.named:
            return f"({self.named[node]} is {want})"
        match node:
            case n.Literal():
                return str(node.value is want)
            case n.Not():
                return self.truth(node.item, not want)
            case n.And():
                return self._junction(" and " if want else " or ", node.items, want)
            case n.Or():
                return self._junction(" or " if want else " and ", node.items, want)
            case n.Compare():
                return self._compare(node, want)
            case n.In():
                return self._in(node, want)
            case n.TextTest():
                return self._text_test(node, want)
            case n.ListHas():
                test = "{1} in {0}" if want else "{1} not in {0}"
                return self._known([node.items, node.item], test)
            case n.IsKnown():
                known = f"{self.value(node.item)} is not None" if nullable(node.item) else "True"
                return f"({known})" if want else f"(not ({known}))"
            case n.IsTrue():
                return self.truth(node.item) if want else f"(not {self.truth(node.item)})"
            case n.If():
                then, otherwise = self.truth(node.then, want), self.truth(node.otherwise, want)
                return f"({then} if {self.truth(node.condition)} else {otherwise})"
            case AtLeast() | SumAtLeast() | n.Toggle() | n.Consented() | n.Sequence() | n.Held():
                return self._test(node) if want else f"(not {self._test(node)})"
        return f"({self.value(node)} is {want})"

    def _junction(self, word: str, items: tuple[n.Node, ...], want: bool) -> str:
        return "(" + word.join(self.truth(item, want) for item in items) + ")"

    def _known(self, items: list[n.Node], form: str) -> str:
        """Return code that is true where all items are known and the form over them holds."""
        guards, codes = self._guarded(items)
        return "(" + " and ".join([*(f"{guard} is not None" for guard in guards), form.format(*codes)]) + ")"

    def _guarded(self, items: list[n.Node]) -> tuple[list[str], list[str]]:
        """Return what must not be None, binding it, and then the codes of the items, which may be repeated."""
        guards, codes = [], []
        for item in items:
            code = self.value(item)
            if nullable(item):
                name = code if code.isidentifier() else self.source.fresh()
                guards.append(code if code == name else f"({name} := {code})")
                code = name
            codes.append(code)
        return guards, codes

    def _compare(self, node: n.Compare, want: bool) -> str:
        sign = (_PYTHON if want else _INVERSE)[node.op]
        if sign == "==" and not (nullable(node.left) and nullable(node.right)):
            return f"({self.value(node.left)} == {self.value(node.right)})"  # None equals nothing that is known
        return self._known([node.left, node.right], f"{{0}} {sign} {{1}}")

    def _in(self, node: n.In, want: bool) -> str:
        options = self.names.constant(frozenset(constant_of(option) for option in node.options))
        return f"({self.value(node.item)} in {options})" if want else self._known([node.item], f"{{0}} not in {options}")

    def _text_test(self, node: n.TextTest, want: bool) -> str:
        form = {"contains": "{1} in {0}", "starts with": "{0}.startswith({1})", "ends with": "{0}.endswith({1})"}[node.op]
        return self._known([node.text, node.part], form if want else f"not {form}")

    def _test(self, node: n.Node) -> str:
        """Return code of a condition that is never unknown."""
        match node:
            case n.Toggle():
                return f"x[{self.cells.toggle(node).slot + 1}]"
            case n.Consented():
                return f"x[{self.cells.consent(node).slot}]"
            case n.Sequence():
                row = self.source.fresh()
                slot = self.cells.sequence(node).slot
                return f"(({row} := x[{slot}]) is not None and {row}[{len(node.steps)}] > {self.since(node.within)})"
            case n.Held():
                cell = self.cells.held(node)
                return f"held({cell.function}, x, {cell.slot}, {self.names.constant(node.duration)}, now)[0]"
            case SumAtLeast():
                return f"({self._sum(node)} >= {self.names.constant(node.least)})"
            case AtLeast():
                return self._at_least(node)
        raise TypeError(type(node).__name__)

    def _at_least(self, node: AtLeast) -> str:
        cell = self.cells.of(node)
        least = self.names.constant(node.least)
        if cell.kind == "total":
            return f"(x[{cell.slot}] >= {least})"
        if cell.kind == "set":
            return f"(len(x[{cell.slot}]) >= {least})"
        assert node.within is not None
        if cell.kind == "latest":
            return f"(x[{cell.slot}] > {self.since(node.within)})"
        times = self.source.fresh()
        return f"(len({times} := x[{cell.slot}]) >= {least} and {times}[-{least}] > {self.since(node.within)})"

    def since(self, within: int) -> str:
        """Return code of the instant after which a window begins."""
        return f"(now - {self.names.constant(within)})"

    # -- values -----------------------------------------------------------------------------------------------------

    def value(self, node: n.Node) -> str:
        """Return code of the value; None where it is unknown."""
        if node in self.named:
            return self.named[node]
        match node:
            case n.Literal():
                return self.names.constant(constant_of(node))
            case n.Now():
                return "now"
            case n.EventTime():
                return "at"
            case n.Attribute():
                return f"x[{self.cells.attribute(node)}]"
            case n.TimeSince():
                latest = self.source.fresh()
                return f"(now - {latest} if ({latest} := x[{self.cells.of(node).slot}]) > PAST else None)"
            case n.Bucket():
                a, b = (self.names.constant(part) for part in bucket_constants(node.salt))
                return f"((x[0] * {a} + {b}) % {self.names.constant(BUCKET_PRIME)} / {self.names.constant(BUCKET_PRIME)})"
            case n.Aggregate():
                return self._aggregate(node)
            case n.Arith():
                return self._arith(node)
            case n.Negate():
                return self._or_none([node.item], "(0 - {0})")
            case n.Call():
                return self._call(node)
            case n.If():
                return f"({self.value(node.then)} if {self.truth(node.condition)} else {self.value(node.otherwise)})"
        if not nullable(node):
            return self.truth(node)
        return f"(True if {self.truth(node)} else False if {self.truth(node, False)} else None)"

    def _or_none(self, items: list[n.Node], form: str) -> str:
        """Return code of a form over items, None where one of them is unknown."""
        guards, codes = self._guarded(items)
        code = form.format(*codes)
        if not guards:
            return f"({code})"
        return f"(None if {' or '.join(f'{guard} is None' for guard in guards)} else {code})"

    def _arith(self, node: n.Arith) -> str:
        if type_of(node) == Type.NUMBER and type_of(node.left) == Type.NUMBER:
            if node.op != "/" or (isinstance(node.right, n.Literal) and node.right.value != 0):
                result = self.source.fresh()
                return self._or_none(
                    [node.left, node.right], f"({result} if LOW < ({result} := {{0}} {node.op} {{1}}) < HIGH else None)"
                )
        elif node.op in ("+", "-"):
            return self._or_none([node.left, node.right], f"({{0}} {node.op} {{1}})")
        return f"arith({self.names.constant(node.op)}, {self.value(node.left)}, {self.value(node.right)})"

    def _call(self, node: n.Call) -> str:
        args = list(node.args)
        match node.fn:
            case "min" | "max" if len(args) == 2:
                sign = "<=" if node.fn == "min" else ">="
                one, two = self.source.fresh(), self.source.fresh()
                # Bound once, since both are named twice.
                return self._or_none(args, f"({one} if ({one} := {{0}}) {sign} ({two} := {{1}}) else {two})")
            case "min" | "max":
                return self._or_none(args, f"{node.fn}({', '.join(f'{{{place}}}' for place in range(len(args)))})")
            case "abs" | "lower" | "upper":
                return self._or_none(args, f"{node.fn}({{0}})")
            case "length":
                return self._or_none(args, "float(len({0}))")
            case "default":
                first = self.source.fresh()
                return f"({first} if ({first} := {self.value(args[0])}) is not None else {self.value(args[1])})"
            case fn if fn in DATE_PARTS:
                return self._or_none(args, f"part_{fn}({{0}})")
        return f"call({self.names.constant(node.fn)}, [{', '.join(self.value(arg) for arg in args)}])"

    def _sum(self, node: n.Aggregate | SumAtLeast) -> str:
        """Return code of the exact sum in millionths."""
        cell = self.cells.of(node)
        if node.within is None:
            return f"x[{cell.slot}]"
        sums = self.source.fresh()
        return f"(({sums} := x[{cell.slot + 1}])[-1] - {sums}[after(x[{cell.slot}], {self.since(node.within)}) - 1])"

    def _aggregate(self, node: n.Aggregate) -> str:
        slot, within = self.cells.of(node).slot, node.within
        match node.fn, within:
            case "count", None:
                return f"(x[{slot}] + ZERO)"
            case "distinct", None:
                return f"(len(x[{slot}]) + ZERO)"
            case "sum", _:
                return f"({self._sum(node)} / MILLION)"
            case "avg", None:
                return f"(x[{slot}] / MILLION / x[{slot + 1}] if x[{slot + 1}] else None)"
            case "min" | "max", None:
                return f"x[{slot}]"
            case "first" | "last", None:
                return f"x[{slot + 1}]"
        assert within is not None
        bound = self.since(within)
        match node.fn:
            case "count" | "distinct":
                times = self.source.fresh()
                return f"(len({times} := x[{slot}]) - after({times}, {bound}) + ZERO)"
            case "avg":
                return f"average(x, {slot}, {bound})"
            case "last":
                return f"(x[{slot + 1}] if x[{slot}] > {bound} else None)"
        return f"value_after(x, {slot}, {bound})"


def constant_of(node: n.Literal) -> object:
    """Return a constant as evaluators hold it: a number is a float."""
    return float(node.value) + 0.0 if node.type == Type.NUMBER else node.value  # type: ignore[arg-type]
