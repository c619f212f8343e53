"""Hypothesis strategies for surface expressions: every node class, any shape the grammar allows, types not minded."""

from __future__ import annotations

from hypothesis import strategies as st

from tailorbird.expr import nodes as n
from tailorbird.expr.forms import SCALARS
from tailorbird.expr.types import Type

ODD = ["plan", "a", "b2", "_x", "at", "and", "now", "for", "known", "if", "count", "Within", "NOT", "é", "odd name", "2nd", "a.b"]
names = st.one_of(
    st.sampled_from(ODD),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=6),
)
paths = st.lists(names, min_size=1, max_size=3).map(tuple)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
TYPES = ["page.viewed", "order.placed", "signup", "Order Completed", "a.b.c", "not.done", "x.", ".", "within"]
events = st.one_of(st.sampled_from(TYPES), names)
readings = st.sampled_from([Type.NUMBER, Type.TEXT, Type.BOOL, Type.TIME, Type.TEXTS])
lengths = st.one_of(st.sampled_from([1, 1000, 86_400_000, 604_800_000, 90_061_001]), st.integers(1, 10**15))
numbers = st.floats(-1e15, 1e15, allow_nan=False).map(lambda x: x + 0.0)
instants = st.integers(-30_610_224_000_000, 32_503_679_999_999)  # 1000-01-01 to 2999-12-31T23:59:59.999Z
literals = st.one_of(
    st.booleans().map(lambda v: n.Literal(v, Type.BOOL)),
    numbers.map(lambda v: n.Literal(v, Type.NUMBER)),
    numbers.map(lambda v: n.Literal(v, Type.NUMBER, True)),
    texts.map(lambda v: n.Literal(v, Type.TEXT)),
    instants.map(lambda v: n.Literal(v, Type.TIME)),
    st.integers(-(10**15), 10**15).map(lambda v: n.Literal(v, Type.DURATION)),
    st.lists(texts, max_size=3).map(lambda v: n.Literal(tuple(v), Type.TEXTS)),
)
named = st.one_of(
    names.map(n.MemberOf),
    names.map(n.FeatureRef),
    names.map(n.HasTag),
    names.map(n.Bucket),
    st.builds(n.Consented, names, names),
    st.just(n.Now()),
)


def operators(inner: st.SearchStrategy[n.Node]) -> st.SearchStrategy[n.Node]:
    """Return a strategy for one operator over operands of the given one."""
    some = st.lists(inner, min_size=2, max_size=4).map(tuple)
    return st.one_of(
        inner.map(n.Not),
        some.map(n.And),
        some.map(n.Or),
        st.builds(n.Compare, st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), inner, inner),
        st.builds(n.In, inner, st.lists(literals, min_size=1, max_size=3).map(tuple)),
        st.builds(n.TextTest, st.sampled_from(["contains", "starts with", "ends with"]), inner, inner),
        st.builds(n.ListHas, inner, inner),
        inner.map(n.IsKnown),
        inner.map(n.IsTrue),
        st.builds(n.Arith, st.sampled_from("+-*/"), inner, inner),
        inner.map(n.Negate),
        st.builds(n.If, inner, inner, inner),
        st.sampled_from(sorted(SCALARS)).flatmap(lambda fn: calls(fn, inner)),
    )


def calls(fn: str, inner: st.SearchStrategy[n.Node]) -> st.SearchStrategy[n.Node]:
    least, most = SCALARS[fn]
    return st.lists(inner, min_size=least, max_size=min(most, 3)).map(lambda args: n.Call(fn, tuple(args)))


wheres = st.recursive(
    st.one_of(st.builds(n.Property, paths, st.none() | readings), st.just(n.EventTime()), literals), operators, max_leaves=4
)
windows = st.none() | lengths
steps = st.builds(n.Step, events, st.none() | wheres)
over_events = st.one_of(
    st.builds(n.Did, events, st.none() | wheres, windows),
    st.builds(n.TimeSince, events, st.none() | wheres),
    st.builds(n.Aggregate, st.just("count"), events, st.none(), st.none() | wheres, windows),
    st.builds(n.Aggregate, st.just("distinct"), events, paths, st.none() | wheres, windows),
    st.builds(
        n.Aggregate,
        st.sampled_from(["sum", "avg", "min", "max", "first", "last"]),
        events,
        paths,
        st.none() | wheres,
        windows,
        st.none() | readings,
    ),
    st.builds(n.Sequence, st.lists(steps, min_size=2, max_size=3).map(tuple), lengths),
)
leaves = st.one_of(st.builds(n.Attribute, paths, st.none() | readings), literals, named, over_events)
expressions: st.SearchStrategy[n.Node] = st.recursive(
    leaves, lambda inner: operators(inner) | st.builds(n.Held, inner, lengths), max_leaves=8
)
"""Any surface expression."""
