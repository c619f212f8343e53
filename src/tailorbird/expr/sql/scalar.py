"""Operators and functions over single values as SQL; what the values are is the scope's business."""

from __future__ import annotations

from typing import Final, Protocol

from tailorbird.expr import nodes as n
from tailorbird.expr.sql.columns import Column, Columns
from tailorbird.expr.sql.grammar import LARGEST_SPAN, Grammar
from tailorbird.expr.types import Type

__all__ = ["Scalars", "Scope"]

_OVERFLOW: Final = 1e308
_UNDERFLOW: Final = 1e-300
_TINIEST: Final = 5e-324
_SPANS: Final = (Type.TIME, Type.DURATION)


class Scope(Protocol):
    """What an expression is about: an event under test, or a profile at an instant."""

    def leaf(self, node: n.Node) -> Column:
        """Return the column of a node that is no operator. Raises TypeError for a node that has no place here."""
        ...


class Scalars:
    """Compiles operators over one scope; equal sub-expressions are compiled once."""

    def __init__(self, grammar: Grammar, columns: Columns, scope: Scope) -> None:
        self.grammar = grammar
        self.columns = columns
        self._scope = scope
        self._done: dict[n.Node, Column] = {}

    def compile(self, node: n.Node) -> Column:
        """Return the node's value as a column."""
        found = self._done.get(node)
        if found is None:
            found = self._done[node] = self.columns.settle(self._compile(node))
        return found

    def _compile(self, node: n.Node) -> Column:
        match node:
            case n.Literal():
                return self._literal(node)
            case n.Not():
                return self._over("(NOT {})", Type.BOOL, node.item)
            case n.And():
                return self._joined(" AND ", node.items)
            case n.Or():
                return self._joined(" OR ", node.items)
            case n.Compare():
                return self._compare(node)
            case n.In():
                options = ", ".join(self.compile(option).sql for option in node.options)
                return self._over(f"({{}} IN ({options}))" if node.options else "({} IS NULL AND NULL)", Type.BOOL, node.item)
            case n.TextTest():
                return self._apply(lambda a, b: self.grammar.text_test(node.op, a, b), Type.BOOL, node.text, node.part)
            case n.ListHas():
                return self._apply(self.grammar.has, Type.BOOL, node.items, node.item)
            case n.IsKnown():
                return self._over("({} IS NOT NULL)", Type.BOOL, node.item, nullable=False)
            case n.IsTrue():
                return self._over("({} IS TRUE)", Type.BOOL, node.item, nullable=False)
            case n.Arith():
                return self._arith(node)
            case n.Negate():
                item = self.compile(node.item)
                zero = self.grammar.bind(0, item.type)
                return self._made(f"({zero} - {item.sql})", item.type, item, big=item.big, small=item.small)
            case n.Call():
                return self._call(node)
            case n.If():
                return self._if(node)
            case _:
                return self._scope.leaf(node)

    # how columns are put together ------------------------------------------------------------------------
    def _made(
        self,
        sql: str,
        type: Type,
        *parts: Column,
        nullable: bool | None = None,
        big: float = float("inf"),
        small: float = _TINIEST,
    ) -> Column:
        return Column(
            sql,
            type,
            max((part.level for part in parts), default=0),
            1 + max((part.depth for part in parts), default=0),
            any(part.nullable for part in parts) if nullable is None else nullable,
            big,
            small,
        )

    def _over(self, template: str, type: Type, node: n.Node, *, nullable: bool | None = None) -> Column:
        item = self.compile(node)
        return self._made(template.replace("{}", item.sql), type, item, nullable=nullable)

    def _apply(self, template: object, type: Type, *nodes: n.Node) -> Column:
        items = [self.compile(node) for node in nodes]
        assert callable(template)
        return self._made(template(*(item.sql for item in items)), type, *items)

    def _literal(self, node: n.Literal) -> Column:
        size = abs(float(node.value)) if isinstance(node.value, int | float) else float("inf")
        return Column(self.grammar.bind(node.value, node.type), node.type, nullable=False, big=size, small=size or 1.0)

    def _joined(self, word: str, nodes: tuple[n.Node, ...]) -> Column:
        parts = [self.compile(node) for node in nodes]
        while len(parts) > 1:  # in pairs: an engine's limit on depth counts every link of a chain
            pairs = [parts[i : i + 2] for i in range(0, len(parts), 2)]
            parts = [self.columns.settle(self._made(f"({word.join(p.sql for p in pair)})", Type.BOOL, *pair)) for pair in pairs]
        return parts[0]

    def _compare(self, node: n.Compare) -> Column:
        left, right = self.compile(node.left), self.compile(node.right)
        op = "<>" if node.op == "!=" else node.op
        if left.type is Type.TEXT:
            return self._made(self.grammar.compare_text(op, left.sql, right.sql), Type.BOOL, left, right)
        return self._made(f"({left.sql} {op} {right.sql})", Type.BOOL, left, right)

    def _if(self, node: n.If) -> Column:
        condition, then, otherwise = self.compile(node.condition), self.compile(node.then), self.compile(node.otherwise)
        return self._made(
            f"(CASE WHEN {condition.sql} THEN {then.sql} ELSE {otherwise.sql} END)",
            then.type,
            condition,
            then,
            otherwise,
            nullable=then.nullable or otherwise.nullable,
            big=max(then.big, otherwise.big),
            small=min(then.small, otherwise.small),
        )

    # arithmetic ------------------------------------------------------------------------------------------
    def _arith(self, node: n.Arith) -> Column:
        left, right = self.compile(node.left), self.compile(node.right)
        if left.type in _SPANS or right.type in _SPANS:
            return self._span_arith(node.op, left, right)
        match node.op:
            case "+" | "-":
                big = left.big + right.big
                safe = big < _OVERFLOW
                sql = self.grammar.add(node.op, left.sql, right.sql, safe)
                return self._made(sql, Type.NUMBER, left, right, nullable=None if safe else True, big=big)
            case "*":
                return self._product(left, right)
            case "/":
                return self._quotient(left, right)

    def _product(self, left: Column, right: Column) -> Column:
        big, small = left.big * right.big, left.small * right.small
        safe = big < _OVERFLOW and small > _UNDERFLOW
        sql = self.grammar.multiply(left.sql, right.sql, safe)
        return self._made(sql, Type.NUMBER, left, right, nullable=None if safe else True, big=big, small=max(small, _TINIEST))

    def _quotient(self, left: Column, right: Column) -> Column:
        big, small = left.big / right.small, left.small / right.big if right.big else _TINIEST
        return self._made(
            self.grammar.divide(left.sql, right.sql), Type.NUMBER, left, right, nullable=True, big=big, small=max(small, _TINIEST)
        )

    def _as_number(self, column: Column) -> Column:
        if column.type not in _SPANS:
            return column
        return self._made(self.grammar.number(column.sql), Type.NUMBER, column, big=column.big, small=1.0)

    def _span_arith(self, op: n.ArithOp, left: Column, right: Column) -> Column:
        if op in ("+", "-"):
            big = left.big + right.big
            sql = f"({left.sql} {op} {right.sql})"
            times = (left.type is Type.TIME) + (right.type is Type.TIME)
            type = Type.TIME if times == 1 else Type.DURATION
            if big > LARGEST_SPAN:
                return self._made(self.grammar.span(sql), type, left, right, nullable=True, big=float(LARGEST_SPAN), small=1.0)
            return self._made(sql, type, left, right, big=big, small=1.0)
        whole = op == "*" or right.type is Type.NUMBER
        first, second = self._as_number(left), self._as_number(right)
        result = self._product(first, second) if op == "*" else self._quotient(first, second)
        if not whole:
            return result
        sql = self.grammar.rounded_span(result.sql)
        return self._made(sql, Type.DURATION, result, nullable=True, big=float(LARGEST_SPAN), small=1.0)

    # functions -------------------------------------------------------------------------------------------
    def _call(self, node: n.Call) -> Column:
        first = self.compile(node.args[0])
        grammar = self.grammar
        match node.fn:
            case "default":
                second = self.compile(node.args[1])
                return self._made(
                    f"coalesce({first.sql}, {second.sql})",
                    first.type,
                    first,
                    second,
                    nullable=first.nullable and second.nullable,
                    big=max(first.big, second.big),
                    small=min(first.small, second.small),
                )
            case "min" | "max":
                items = [self.compile(arg) for arg in node.args]
                known = not any(item.nullable for item in items)
                sql = grammar.extreme(node.fn, [item.sql for item in items], first.type, known)
                size = max(item.big for item in items)
                deep = self._made(sql, first.type, *items, big=size, small=min(item.small for item in items))
                return self.columns.settle(deep, force=len(items) > 3)
            case "abs":
                return self._made(f"abs({first.sql})", first.type, first, big=first.big, small=first.small)
            case "floor" | "ceil":
                return self._made(grammar.floor(first.sql) if node.fn == "floor" else grammar.ceil(first.sql), Type.NUMBER, first,
                                  big=first.big + 1, small=1.0)  # fmt: skip
            case "round":
                return self._round(first, node)
            case "lower" | "upper":
                return self._made(grammar.fold(node.fn, first.sql), Type.TEXT, first)
            case "length":
                count = grammar.size(first.sql) if first.type is Type.TEXTS else grammar.length(first.sql)
                return self._made(grammar.number(count), Type.NUMBER, first, big=1e10, small=1.0)
            case "year" | "month" | "day" | "weekday" | "hour":
                return self._made(grammar.part(node.fn, first.sql), Type.NUMBER, first, big=1e6, small=1.0)
            case _:
                raise TypeError(f"the SQL compiler does not know the function {node.fn}; add it to expr/sql/scalar.py")

    def _round(self, first: Column, node: n.Call) -> Column:
        digits = node.args[1].value if len(node.args) > 1 and isinstance(node.args[1], n.Literal) else 0
        assert isinstance(digits, int | float)
        scale = 10.0 ** int(digits)
        if scale == 1.0:
            half = self.grammar.bind(0.5, Type.NUMBER)
            return self._made(self.grammar.floor(f"({first.sql} + {half})"), Type.NUMBER, first, big=first.big + 1, small=1.0)
        factor, half = self.grammar.bind(scale, Type.NUMBER), self.grammar.bind(0.5, Type.NUMBER)
        safe = first.big * scale < _OVERFLOW
        scaled = self.grammar.multiply(first.sql, factor, safe)
        sql = f"({self.grammar.floor(f'({scaled} + {half})')} / {factor})"
        return self._made(sql, Type.NUMBER, first, nullable=None if safe else True, big=first.big + 1, small=1 / scale)
