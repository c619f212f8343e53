"""Compiling an expression to one Python expression over a profile's row ``x`` at an instant ``now`` (or over one event)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Self

from tailorbird.core.ids import BUCKET_PRIME, bucket_constants
from tailorbird.expr import nodes as n
from tailorbird.expr.calendar import DATE_PARTS
from tailorbird.expr.incremental.cells import Cells
from tailorbird.expr.incremental.lower import AtLeast, Facts, Forest, SumAtLeast
from tailorbird.expr.incremental.source import Names, Source
from tailorbird.expr.types import Type

__all__ = ["Plain"]

_PYTHON: Final = {"=": "==", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_TEXT_TESTS: Final = {"contains": "{1} in {0}", "starts with": "{0}.startswith({1})", "ends with": "{0}.endswith({1})"}
_INVERSE: Final = {"=": "!=", "!=": "==", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}


class Plain:
    """Compiles values and truths to expressions.

    A *truth* is two-valued: whether a condition is true (``want``), or whether it is false. Negation is pushed down to
    the comparisons, where "unknown" is neither, so no third value has to be carried around. ``named`` holds the
    variables of what the function has already computed.
    """

    parameters = "x, now"

    def __init__(self, forest: Forest, cells: Cells, names: Names, source: Source, uses: Mapping[int, int] | None = None) -> None:
        self.forest = forest
        self.cells = cells
        self.names = names
        self.source = source
        self.named: dict[int, str] = {}
        self._uses = uses or {}
        self._root: n.Node | None = None
        self._shared: dict[tuple[int, bool | None], str] = {}

    def facts(self, node: n.Node) -> Facts:
        """Return what is known of a node."""
        return self.forest.facts(node)

    def is_shared(self, node: n.Node) -> bool:
        """Return whether several conditions or values of the function contain the node."""
        return self._uses.get(id(node), 0) > 1

    def _placed(self, node: n.Node, want: bool | None, write: Callable[[], str]) -> str:
        """Return the code that ``write`` gives; a variable for what is shared, a call for what lies too deep."""
        if self.is_shared(node) and self._is_worth_sharing(node):
            if (id(node), want) not in self._shared:
                named, self.named = self.named, {}
                with self.source.at_top():
                    name = self._shared[id(node), want] = self.source.fresh()
                    self.source.add(f"{name} = {write()}")
                self.named = named
            return self._shared[id(node), want]
        if self.facts(node).cut and node is not self._root:
            return self._outlined(node, str(want), lambda inner: inner.source.add(f"return {inner.truth_or_value(node, want)}"))
        return write()

    def truth_or_value(self, node: n.Node, want: bool | None) -> str:
        """Return code of a truth, or with ``want`` None of the value."""
        return self.value(node) if want is None else self.truth(node, want)

    def _outlined(self, node: n.Node, mode: str, write: Callable[[Self], None]) -> str:
        """Return code that calls a function of its own for a node."""

        def written() -> Source:
            inner = self.inner(node)
            write(inner)
            return inner.source

        name = self.names.later((id(node), mode, self.parameters, type(self)), self.parameters, written)
        return f"{name}({self.parameters})"

    def inner(self, root: n.Node) -> Self:
        """Return a compiler for a function that holds one node only."""
        found = type(self)(self.forest, self.cells, self.names, Source())
        found._root = root
        return found

    def _is_worth_sharing(self, node: n.Node) -> bool:
        return self.facts(node).height > 2 or (isinstance(node, n.Aggregate) and node.within is not None)

    # -- truths -----------------------------------------------------------------------------------------------------

    def truth(self, node: n.Node, want: bool = True) -> str:
        """Return code that is true where the condition is ``want``."""
        if id(node) in self.named:
            return f"({self.named[id(node)]} is {want})"
        return self._placed(node, want, lambda: self._truth(node, want))

    def _truth(self, node: n.Node, want: bool) -> str:
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
                known = f"{self.value(node.item)} is not None" if self.facts(node.item).nullable else "True"
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
            if self.facts(item).nullable:
                name = code if code.isidentifier() else self.source.fresh()
                guards.append(code if code == name else f"({name} := {code})")
                code = name
            codes.append(code)
        return guards, codes

    def _compare(self, node: n.Compare, want: bool) -> str:
        sign = (_PYTHON if want else _INVERSE)[node.op]
        if sign == "==" and not (self.facts(node.left).nullable and self.facts(node.right).nullable):
            return f"({self.value(node.left)} == {self.value(node.right)})"  # None equals nothing that is known
        return self._known([node.left, node.right], f"{{0}} {sign} {{1}}")

    def _in(self, node: n.In, want: bool) -> str:
        options = self._options(node)
        return f"({self.value(node.item)} in {options})" if want else self._known([node.item], f"{{0}} not in {options}")

    def _options(self, node: n.In) -> str:
        return self.names.constant(frozenset(constant_of(option) for option in node.options))

    def _text_test(self, node: n.TextTest, want: bool) -> str:
        form = _TEXT_TESTS[node.op]
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
        if id(node) in self.named:
            return self.named[id(node)]
        return self._placed(node, None, lambda: self._value(node))

    def _value(self, node: n.Node) -> str:
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
            case _ if not self.facts(node).nullable:
                return self._truth(node, True)
            case n.Not():
                return self._or_none([node.item], "(not {0})")
            case n.And() | n.Or():
                word = "every" if isinstance(node, n.And) else "some"
                return f"{word}(({', '.join(self.value(item) for item in node.items)},))"
            case n.Compare():
                return self._or_none([node.left, node.right], f"({{0}} {_PYTHON[node.op]} {{1}})")
            case n.In():
                return self._or_none([node.item], f"({{0}} in {self._options(node)})")
            case n.TextTest():
                return self._or_none([node.text, node.part], f"({_TEXT_TESTS[node.op]})")
            case n.ListHas():
                return self._or_none([node.items, node.item], "({1} in {0})")
        raise TypeError(f"{type(node).__name__} is not a resolved node")

    def _or_none(self, items: list[n.Node], form: str) -> str:
        """Return code of a form over items, None where one of them is unknown."""
        guards, codes = self._guarded(items)
        code = form.format(*codes)
        if not guards:
            return f"({code})"
        return f"(None if {' or '.join(f'{guard} is None' for guard in guards)} else {code})"

    def _arith(self, node: n.Arith) -> str:
        if self.facts(node).type == Type.NUMBER and self.facts(node.left).type == Type.NUMBER:
            if node.op != "/" or (isinstance(node.right, n.Literal) and node.right.value != 0):
                result = self.source.fresh()
                return self._or_none(
                    [node.left, node.right], f"({result} if LOW < ({result} := {{0}} {node.op} {{1}}) < HIGH else None)"
                )
        elif node.op in ("+", "-"):
            result = self.source.fresh()
            form = f"({result} if -SPAN <= ({result} := {{0}} {node.op} {{1}}) <= SPAN else None)"
            return self._or_none([node.left, node.right], form)
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
