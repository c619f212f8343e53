"""Expressions as SQL on the three engines: what random expressions would seldom meet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from expr.cases import load_cases
from expr.engines import ENGINES, Engine, opened
from tailorbird.core.event import PROFILE_UPDATED, Event
from tailorbird.expr import nodes as n
from tailorbird.expr.check import type_of
from tailorbird.expr.evaluate import History, evaluate
from tailorbird.expr.sql import Dialect, Source, compile_count, compile_members, compile_table, compile_values, compile_wakes
from tailorbird.expr.types import Type

T = 1_700_000_000_000
DAY = 86_400_000
ODD = [
    "'; DROP TABLE event; --", 'a"b', "a'b", "a.b", "a[0]", "$", "$.a", "/a/b", "~0", "a~1b", "0", "-", "", " ", "é", "🤦", "a\\b", "a\nb",
    "%s", "%", "?", ":x", "{body}", "{}", "\x01" + "0\x02", "a\tb", "*", "@", "NULL", "-- x", "/* x */", "\u2028",
]  # fmt: skip


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with opened(request.param) as found:
        yield found


def event(seq: int, type: str, data: dict[str, Any], *, at: int = T, profile: int = 1) -> Event:
    return Event(id=f"e{seq}", type=type, profile=profile, at=at, received_at=at, data=data, seq=seq)


def agree(engine: Engine, events: list[Event], expressions: dict[str, tuple[n.Node, Type]], *instants: int) -> dict[str, Any]:
    """Check every expression against the reference; return the values at the last instant."""
    engine.load([(1, "person", 77, None)], events)
    found: dict[str, Any] = {}
    for instant in instants or (T,):
        found = engine.values(expressions, instant)[1]
        for name, (node, _) in expressions.items():
            expected = evaluate(node, History(77, events), instant)
            assert (type(found[name]), found[name]) == (type(expected), expected), name
    return found


def test_the_cases_mean_what_they_say(engine: Engine) -> None:
    cases = dict(enumerate(load_cases(), 1))
    events: list[Event] = []
    asked: dict[int, dict[str, tuple[n.Node, Type]]] = {}
    for key, case in cases.items():
        mine = History(case.seed, case.events).events
        events += [msgspec.structs.replace(one, profile=key, seq=one.seq * 1_000 + key) for one in mine]
        for instant, _ in case.expected:
            asked.setdefault(instant, {})[str(key)] = (case.node, type_of(case.node))
    engine.load([(key, "person", case.seed, None) for key, case in cases.items()], events)
    found = {instant: engine.values(nodes, instant) for instant, nodes in asked.items()}
    for key, case in cases.items():
        for instant, value in case.expected:
            got = found[instant][key][str(key)]
            assert (type(got), got) == (type(value), value), f"{case.name} at {instant}"


def test_any_key_and_any_text_is_data_and_never_sql(engine: Engine) -> None:
    nested = {key: {other: f"{key}|{other}" for other in ODD} for key in ODD}
    events = [event(1, PROFILE_UPDATED, {"attributes": nested}), *(event(i + 2, key, nested) for i, key in enumerate(ODD))]
    expressions: dict[str, tuple[n.Node, Type]] = {}
    for place, key in enumerate(ODD):
        other = ODD[-1 - place]
        about = n.Compare("=", n.Property((key, other), Type.TEXT), n.Literal(f"{key}|{other}", Type.TEXT))
        expressions[f"attribute {place}"] = (n.Attribute((key, other), Type.TEXT), Type.TEXT)
        expressions[f"count {place}"] = (n.Aggregate("count", key, where=about), Type.NUMBER)
        expressions[f"toggle {place}"] = (n.Toggle(key, other, key, key), Type.BOOL)
        expressions[f"literal {place}"] = (n.Literal(key, Type.TEXT), Type.TEXT)
        expressions[f"list {place}"] = (n.Literal((key, other), Type.TEXTS), Type.TEXTS)
    found = agree(engine, events, expressions)
    for place, key in enumerate(ODD):
        assert found[f"attribute {place}"] == f"{key}|{ODD[-1 - place]}"
        assert found[f"count {place}"] == 1.0


def test_no_text_of_a_person_stands_in_the_sql() -> None:
    for dialect in Dialect:
        for word in ODD:
            if len(word) < 3:
                continue
            mark = f"zq{word}qz"
            node = n.And(
                (
                    n.Compare("=", n.Attribute((mark,), Type.TEXT), n.Literal(mark, Type.TEXT)),
                    n.Did(mark, n.TextTest("contains", n.Property((mark,), Type.TEXT), n.Literal(mark, Type.TEXT))),
                    n.Toggle(mark, mark, mark, mark),
                    n.Consented(mark, mark),
                    n.In(n.Attribute((mark,), Type.TEXT), (n.Literal(mark, Type.TEXT),)),
                )
            )
            for query in (
                compile_values({mark: node}, T, dialect, kind=mark),
                compile_members(node, T, dialect, kind=mark),
                compile_count(node, T, dialect, kind=mark),
                compile_table({mark: node}, T, dialect, kind=mark),
                compile_wakes(node, T, dialect, kind=mark),
            ):
                assert "zq" not in query.sql


def deep(depth: int, shape: str) -> tuple[n.Node, Type]:
    number: n.Node = n.Attribute(("n",), Type.NUMBER)
    text: n.Node = n.Attribute(("s",), Type.TEXT)
    test: n.Node = n.Did("a")
    one = n.Literal(1.0, Type.NUMBER)
    for place in range(depth):
        number = {
            "plus": n.Arith("+", one, number),
            "minus": n.Arith("-", number, n.Negate(number) if place % 16 == 15 else one),
            "over": n.Arith("/", number, n.Literal(3.0, Type.NUMBER)),
            "call": n.Call("max", (n.Call("abs", (number,)), one, n.Attribute(("m",), Type.NUMBER))),
            "if": n.If(n.Compare("<", number, one), one, n.Attribute(("n",), Type.NUMBER)),
            "round": n.Call("round", (n.Arith("*", number, n.Literal(1.37, Type.NUMBER)), n.Literal(3.0, Type.NUMBER))),
        }.get(shape, number)
        test = {
            "not": n.Not(test),
            "and": n.And((test, n.IsKnown(number))),
            "or": n.Or((n.Not(test), test)) if place % 8 == 7 else n.Or((n.Not(test), n.IsKnown(number))),
            "true": n.IsTrue(n.Not(test)),
        }.get(shape, test)
        text = n.Call("upper" if place % 2 else "lower", (text,)) if shape == "text" else text
    return {"text": (text, Type.TEXT)}.get(shape) or (
        (test, Type.BOOL) if shape in ("not", "and", "or", "true") else (number, Type.NUMBER)
    )


@pytest.mark.parametrize("shape", ["plus", "minus", "over", "call", "if", "round", "not", "and", "or", "true", "text"])
def test_an_expression_may_nest_sixty_four_levels(engine: Engine, shape: str) -> None:
    events = [event(1, PROFILE_UPDATED, {"attributes": {"n": 2.5, "m": 0.5, "s": "aÉ"}}), event(2, "a", {})]
    agree(engine, events, {"deep": deep(60, shape)})


def test_held_may_stand_in_held(engine: Engine) -> None:
    held: n.Node = n.Compare("=", n.Attribute(("s",), Type.TEXT), n.Literal("x", Type.TEXT))
    for _ in range(3):
        held = n.Held(n.Or((held, n.Compare("<", n.TimeSince("a"), n.Literal(DAY, Type.DURATION)))), DAY)
    events = [
        event(1, "a", {}, at=T),
        event(2, PROFILE_UPDATED, {"attributes": {"s": "x"}}, at=T + DAY - 1),
        event(3, PROFILE_UPDATED, {"attributes": {"s": "y"}}, at=T + 9 * DAY),
    ]
    edges = [T + k * DAY + d for k in (1, 3, 4, 9) for d in (-1, 0, 1)]
    agree(engine, events, {"held": (held, Type.BOOL)}, *edges)


def test_many_conditions_stand_in_one_query(engine: Engine) -> None:
    engine.load([(1, "person", 77, None), (2, "person", 3, None)], [event(i, "a", {"n": i}, at=T - i) for i in range(1, 30)])
    conditions = {
        f"c{i}": n.Compare(">=", n.Aggregate("count", "a", within=i), n.Literal(float(i // 2), Type.NUMBER))
        for i in range(1, 151)
    }
    rows = {row[0]: row[1:] for row in engine.run(compile_table(conditions, T, engine.dialect))}
    history = History(77, [event(i, "a", {"n": i}, at=T - i) for i in range(1, 30)])
    assert [bool(value) for value in rows[1]] == [evaluate(node, history, T) for node in conditions.values()]


def test_a_condition_may_have_a_thousand_parts(engine: Engine) -> None:
    parts = tuple(n.Compare("!=", n.Attribute(("n",), Type.NUMBER), n.Literal(float(i), Type.NUMBER)) for i in range(1_000))
    options = tuple(n.Literal(f"t{i}", Type.TEXT) for i in range(1_000))
    events = [event(1, PROFILE_UPDATED, {"attributes": {"n": 0.5, "s": "t999"}})]
    agree(engine, events, {"and": (n.And(parts), Type.BOOL), "in": (n.In(n.Attribute(("s",), Type.TEXT), options), Type.BOOL)})


def test_sums_are_exact_beyond_what_a_double_or_an_integer_of_64_bits_holds(engine: Engine) -> None:
    values = (
        [1e12, 1e12, 0.1, 0.2, 0.3, -1e12, 1e-6, 999_999_999_999.999999, 1e12, 12345.678901] * 9
        + [1e12] * 30
        + [2e12, -0.0000005]
    )
    events = [event(i + 1, "a", {"n": value}) for i, value in enumerate(values)]
    sums = {
        "sum": (n.Aggregate("sum", "a", ("n",), type=Type.NUMBER), Type.NUMBER),
        "avg": (n.Aggregate("avg", "a", ("n",), type=Type.NUMBER), Type.NUMBER),
    }
    agree(engine, events, sums)


def test_numbers_at_the_ends_of_the_doubles_do_not_break_a_query(engine: Engine) -> None:
    tiny, huge = 5e-324, 1e15
    events = [
        event(1, PROFILE_UPDATED, {"attributes": {"tiny": tiny, "small": 1e-200, "huge": huge, "none": 1e16, "zero": -0.0}})
    ]
    read = {name: n.Attribute((name,), Type.NUMBER) for name in ("tiny", "small", "huge", "none", "zero")}
    tower: n.Node = read["huge"]
    for _ in range(5):
        tower = n.Arith("*", tower, tower)
    cases: dict[str, n.Node] = {
        "underflow": n.Arith("*", read["tiny"], read["small"]),
        "half": n.Arith("*", read["tiny"], n.Literal(0.5, Type.NUMBER)),
        "quotient under": n.Arith("/", read["tiny"], read["huge"]),
        "quotient over": n.Arith("/", read["huge"], read["tiny"]),
        "by zero": n.Arith("/", read["huge"], read["zero"]),
        "tower": tower,
        "difference of towers": n.Arith("-", tower, tower),
        "beyond": read["none"],
        "zero": n.Arith("+", read["zero"], read["zero"]),
        "long": n.Arith("*", n.Literal(DAY, Type.DURATION), read["huge"]),
    }
    agree(engine, events, {name: (node, Type.DURATION if name == "long" else Type.NUMBER) for name, node in cases.items()})


def test_times_are_read_strictly(engine: Engine) -> None:
    texts = [
        "2024-02-29", "2023-02-29", "2100-02-29", "2000-02-29", "2024-13-01", "2024-00-01", "2024-01-00", "2024-04-31",
        "0999-01-01", "3000-01-01",
        "2024-01-01T00:00", "2024-01-01 23:59:59", "2024-01-01T24:00", "2024-01-01T23:60", "2024-01-01T23:59:60", "2024-01-01T23:59.5",
        "2024-01-01T10:20:30.1", "2024-01-01T10:20:30.123456789Z", "2024-01-01T10:20:30.1234567890Z", "2024-01-01T10:20:30.Z",
        "2024-01-01T10:20+01:00", "2024-01-01T10:20:30-23:59", "2024-01-01T10:20:30+24:00", "2024-01-01T10:20:30+0100", "2024-01-01Z",
        " 2024-01-01", "2024-01-01\n", "2024-01-01T10:20z", "2024-01-01t10:20", "٢٠٢٤-01-01", "1000-01-01T00:00+23:59", "", "2024-1-1",
        "1969-12-31T23:59:59.999Z", "1600-02-29 12:00:00.5",
    ]  # fmt: skip
    events = [event(1, PROFILE_UPDATED, {"attributes": {f"t{i}": text for i, text in enumerate(texts)}})]
    cases: dict[str, tuple[n.Node, Type]] = {}
    for place in range(len(texts)):
        read = n.Attribute((f"t{place}",), Type.TIME)
        cases[texts[place]] = (read, Type.TIME)
        for part in ("year", "month", "day", "weekday", "hour"):
            cases[f"{part} of {texts[place]}"] = (n.Call(part, (read,)), Type.NUMBER)
    agree(engine, events, cases)


def test_calendars_go_on_for_ever(engine: Engine) -> None:
    now = n.Now()
    cases = {
        f"{part} {away}": (n.Call(part, (n.Arith("+", now, n.Literal(away, Type.DURATION)),)), Type.NUMBER)
        for part in ("year", "month", "day", "weekday", "hour")
        for away in (-T - 1, -(10**13), -(10**14), -(10**15), 10**14, 10**15, -62_135_596_800_001 - T, 253_402_300_800_000 - T)
    }
    agree(engine, [], cases)


def test_text_is_measured_and_ordered_by_code_points(engine: Engine) -> None:
    words = ["", "a", "Z", "é", "e\u0301", "ａ", "🤦", "\uffff", "ß", "İ", "ΣΊΣΥΦΟΣ", "ж", "a" * 300, "A b", "%", "_", "a%"]
    events = [event(1, PROFILE_UPDATED, {"attributes": {f"w{i}": word for i, word in enumerate(words)}})]
    cases: dict[str, tuple[n.Node, Type]] = {}
    for i in range(len(words)):
        word = n.Attribute((f"w{i}",), Type.TEXT)
        other = n.Attribute((f"w{(i + 5) % len(words)}",), Type.TEXT)
        cases[f"lower {i}"] = (n.Call("lower", (word,)), Type.TEXT)
        cases[f"upper {i}"] = (n.Call("upper", (word,)), Type.TEXT)
        cases[f"length {i}"] = (n.Call("length", (word,)), Type.NUMBER)
        cases[f"less {i}"] = (n.Compare("<", word, other), Type.BOOL)
        cases[f"known {i}"] = (n.TextTest("contains", word, n.Attribute(("w0",), Type.TEXT)), Type.BOOL)
        for op in ("contains", "starts with", "ends with"):
            cases[f"{op} {i}"] = (n.TextTest(op, word, n.Call("lower", (word,))), Type.BOOL)  # type: ignore[arg-type]
            cases[f"{op} % {i}"] = (n.TextTest(op, word, n.Literal("%", Type.TEXT)), Type.BOOL)  # type: ignore[arg-type]
    agree(engine, events, cases)


def test_the_last_of_two_events_of_one_instant_is_the_one_that_arrived_last(engine: Engine) -> None:
    events = [event(3, "a", {"n": 3}), event(2, "a", {"n": 2}), event(1, "a", {"n": 1}), event(4, "a", {"n": None})]
    cases = {fn: (n.Aggregate(fn, "a", ("n",), type=Type.NUMBER), Type.NUMBER) for fn in ("first", "last")}  # type: ignore[arg-type]
    assert agree(engine, events, cases) == {"first": 1.0, "last": 3.0}


def test_merged_and_other_kinds_are_left_out(engine: Engine) -> None:
    engine.load([(1, "person", 1, None), (2, "person", 1, 1), (3, "company", 1, None), (4, "person", 1, None)], [])
    always = n.Literal(True, Type.BOOL)
    assert [row[0] for row in engine.run(compile_members(always, T, engine.dialect))] == [1, 4]
    assert [row[0] for row in engine.run(compile_members(always, T, engine.dialect, kind="company"))] == [3]
    assert [row[0] for row in engine.run(compile_values({"x": always}, T, engine.dialect))] == [1, 3, 4]
    assert [row[0] for row in engine.run(compile_values({"x": always}, T, engine.dialect, profiles=[4, 2, 9]))] == [4]
    assert engine.run(compile_wakes(always, T, engine.dialect)) == []


def test_a_duration_that_will_grow_beyond_all_bounds_is_looked_at_then(engine: Engine) -> None:
    events = [event(1, "a", {})]
    engine.load([(1, "person", 77, None)], events)
    grown = n.IsKnown(n.Arith("*", n.Literal(1e6, Type.NUMBER), n.TimeSince("a")))
    ((_, due),) = engine.run(compile_wakes(grown, T + 1, engine.dialect))
    last = T + 2**53 // 10**6
    assert evaluate(grown, History(77, events), last) is True
    assert evaluate(grown, History(77, events), last + 1) is False
    assert last - 1_000 < due <= last + 1
    shrunk = n.IsKnown(n.Arith("+", n.Literal(2**53, Type.DURATION), n.Arith("-", n.Literal(T + 9, Type.TIME), n.Now())))
    ((_, due),) = engine.run(compile_wakes(shrunk, T + 1, engine.dialect))
    assert T + 1 < due <= T + 9


def test_the_speed_of_what_is_not_chosen_does_not_matter(engine: Engine) -> None:
    engine.load([(1, "person", 77, None)], [event(1, "a", {})])
    since = n.TimeSince("a")
    fallback = n.Arith("/", since, n.Attribute(("n",), Type.NUMBER))
    for value in (n.Call("default", (since, fallback)), n.If(n.Did("a"), since, fallback)):
        waits = n.Compare("=", value, n.Literal(DAY, Type.DURATION))
        assert engine.run(compile_wakes(waits, T + 1, engine.dialect)) == [(1, T + DAY)]


def test_a_source_may_offer_columns_instead_of_json(engine: Engine) -> None:
    engine.load([(7, "person", 1, None)], [event(1, "a", {"n": 1}, profile=7), event(2, "a", {"n": 5}, profile=7)])
    source = Source(
        events="(SELECT seq, type, profile, at AS at, seq * 2.0 AS n FROM event)" if engine.dialect != "duckdb"
        else '(SELECT seq, type, profile, "at", CAST(seq * 2.0 AS DOUBLE) AS n FROM event)',
        profiles="(SELECT key, kind, bucket, merged_into, 'FR' AS country FROM profile)",
        property=lambda path, type: "CAST(e.n AS DOUBLE PRECISION)" if path == ("n",) and type is Type.NUMBER else None,
        attribute=lambda path, type: "p.country" if path == ("country",) else None,
    )  # fmt: skip
    condition = n.And(
        (
            n.Compare("=", n.Aggregate("sum", "a", ("n",), type=Type.NUMBER), n.Literal(6.0, Type.NUMBER)),
            n.Compare("=", n.Attribute(("country",), Type.TEXT), n.Literal("FR", Type.TEXT)),
        )
    )
    assert engine.run(compile_members(condition, T, engine.dialect, source=source)) == [(7,)]
    assert "data" not in compile_members(condition, T, engine.dialect, source=source).sql


def test_what_a_source_knows_about_the_present_does_not_widen_the_look_at_events(engine: Engine) -> None:
    engine.load([(7, "person", 1, None)], [event(1, "a", {}, profile=7)])
    source = Source(
        profiles="(SELECT key, kind, bucket, merged_into, 'FR' AS country FROM profile)",
        attribute=lambda path, type: "p.country",
    )
    live = n.Compare("=", n.Attribute(("country",), Type.TEXT), n.Literal("FR", Type.TEXT))
    condition = n.And((live, n.Did("a", within=DAY)))
    assert engine.run(compile_count(condition, T, engine.dialect, source=source)) == [(1,)]
    assert T - DAY in compile_count(condition, T, engine.dialect, source=source).params[:8]
    past = n.And((n.Held(live, DAY), n.Did("a", within=DAY)))
    assert engine.run(compile_count(past, T, engine.dialect, source=source)) == [(0,)]


def test_a_surface_node_is_refused(engine: Engine) -> None:
    with pytest.raises(TypeError, match=r"check\.resolve"):
        compile_count(n.HasTag("vip"), T, engine.dialect)


def test_the_data_of_events_may_hold_anything(engine: Engine) -> None:
    odd = [
        None,
        True,
        0,
        -1,
        1.5,
        10**17,
        -(10**400) if engine.dialect == "postgres" else -(10**40),
        1e300,
        "",
        "x",
        [],
        [[]],
        {},
        {"a": {}},
        [None, "a", {"b": 1}, "c"],
    ]
    events = [event(i + 1, "a", {"v": value}, at=T - i) for i, value in enumerate(odd)]
    cases: dict[str, tuple[n.Node, Type]] = {}
    for kind in (Type.BOOL, Type.NUMBER, Type.TEXT, Type.TIME, Type.TEXTS):
        cases[f"first {kind}"] = (n.Aggregate("first", "a", ("v",), type=kind), kind)
        cases[f"last {kind}"] = (n.Aggregate("last", "a", ("v",), type=kind), kind)
    cases["distinct"] = (n.Aggregate("distinct", "a", ("v",)), Type.NUMBER)
    cases["sum"] = (n.Aggregate("sum", "a", ("v",), type=Type.NUMBER), Type.NUMBER)
    assert json.dumps(odd)
    agree(engine, events, cases)
