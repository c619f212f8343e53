"""``why`` names the clause that decides, what was measured, the events behind it, and until when."""

from __future__ import annotations

import msgspec
import pytest

from expr.cases import Case, load_cases
from tailorbird.core.event import Event
from tailorbird.expr.check import Schema, resolve
from tailorbird.expr.evaluate import History, evaluate
from tailorbird.expr.parse import parse
from tailorbird.expr.why import Reason, change_program, next_change, tell, why

T = 1_700_000_000_000
DAY = 86_400_000
CASES = list(load_cases())


def event(seq: int, at: int, type: str = "page.viewed", **data: object) -> Event:
    return Event(id=f"e{seq}", type=type, profile=1, at=at, received_at=at, seq=seq, data=data)


VIEWS = [event(k, T + k * DAY, url="/pricing") for k in range(1, 3)]
ANN = History(1, [event(0, T, "profile.updated", attributes={"country": "FR", "plan": "trial"}), *VIEWS])


def ask(text: str, instant: int = T + 3 * DAY) -> Reason:
    return why(resolve(parse(text), Schema(), text=text), ANN, instant)


def test_a_count_says_how_many_of_how_many_and_which() -> None:
    reason = ask('count(page.viewed where url contains "/pricing", within 7d) >= 3')
    assert (reason.value, reason.actual, reason.until) == (False, "2 of 3", None)
    assert [item.id for item in reason.events] == ["e1", "e2"]


def test_a_clause_says_until_when_it_holds() -> None:
    assert ask("count(page.viewed, within 7d) >= 2").until == T + 8 * DAY
    assert ask("time_since(page.viewed) > 2d").until == T + 4 * DAY + 1
    assert ask('country = "FR"').until is None
    assert ask('held(plan = "trial", for 7d)').until == T + 7 * DAY


def test_and_tells_of_each_clause() -> None:
    reason = ask('did(page.viewed, within 7d) and country = "DE" and not did(order.placed)')
    assert [part.value for part in reason.because] == [True, False, True]
    assert reason.because[1].actual == '"FR"'
    assert [item.id for item in reason.because[1].events] == ["e0"]


def test_a_formula_tells_of_the_values_in_it() -> None:
    reason = ask("0.5 * min(count(page.viewed, within 30d) / 10, 1) + count(order.placed) > 2")
    assert [(part.text, part.actual) for part in reason.because] == [
        ("count(page.viewed, within 30d)", "2"),
        ("count(order.placed)", "0"),
    ]


def test_held_says_since_when() -> None:
    assert ask('held(plan = "trial", for 7d)').actual == "true since 2023-11-14T22:13:20Z"
    assert ask('held(plan = "pro", for 7d)').actual == "not true now"
    assert ask("held(not did(order.placed), for 7d)").actual == "always true"


def test_a_sequence_says_how_far_it_came() -> None:
    assert ask("sequence(page.viewed, order.placed, within 7d)").actual == "1 of 2 steps"


def test_at_most_five_events_are_given() -> None:
    many = History(1, [event(k, T + k) for k in range(9)])
    node = resolve(parse("count(page.viewed) > 3"), Schema())
    assert [item.id for item in why(node, many, T + 100).events] == ["e4", "e5", "e6", "e7", "e8"]


def test_events_after_the_instant_do_not_count() -> None:
    reason = ask("count(page.viewed) >= 2", T + DAY)
    assert (reason.value, reason.actual) == (False, "1 of 2")


def test_the_tree_is_told_with_marks() -> None:
    told = tell(ask('did(page.viewed, within 7d) and seats > 3 and not country = "FR"'))
    assert [line.strip()[0] for line in told.split("\n")] == ["✗", "✓", "?", "✗", "✓"]
    assert "until 2023-11-23T22:13:20Z" in told.split("\n")[1]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_case_can_be_told_and_its_reason_is_plain_data(case: Case) -> None:
    history = History(case.seed, case.events)
    for instant, expected in case.expected[:1]:
        reason = why(case.node, history, instant)
        assert reason.value == expected
        assert tell(reason)
        assert msgspec.json.encode(reason)
        if reason.until is not None:
            known = History(case.seed, history.until(instant))
            assert evaluate(case.node, known, reason.until - 1) == expected
            assert evaluate(case.node, known, reason.until) != expected


def test_without_until_the_reason_is_the_same_but_for_the_instants() -> None:
    text = "count(page.viewed, within 7d) >= 1 and not did(order.placed)"
    node = resolve(parse(text), Schema(), text=text)
    full, short = ask(text), why(node, ANN, T + 3 * DAY, until=False)
    assert full.until == next_change(change_program(node), ANN, T + 3 * DAY) == T + 9 * DAY
    assert short.until is None and all(part.until is None for part in short.because)
    assert (short.value, [p.actual for p in short.because]) == (full.value, [p.actual for p in full.because])
