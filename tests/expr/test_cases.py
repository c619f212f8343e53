"""The reference evaluator gives what the language-neutral cases say."""

from __future__ import annotations

import pytest

from expr.cases import load, raw_cases
from tailorbird.expr import from_json, parse, to_json, to_text
from tailorbird.expr.evaluate import History, evaluate

CASES = list(raw_cases())


@pytest.mark.parametrize(("name", "case"), CASES, ids=[name for name, _ in CASES])
def test_case(name, case):
    _, node, seed, events, expected = load(name, case)
    got = [(instant, evaluate(node, History(seed, events), instant)) for instant, _ in expected]
    assert got == expected
    assert [type(value) for _, value in got] == [type(value) for _, value in expected]


def test_every_case_round_trips_through_text_and_json():
    for _, case in CASES:
        node = parse(case["expression"])
        assert parse(to_text(node)) == node
        assert from_json(to_json(node)) == node


def test_case_names_are_unique():
    names = [name for name, _ in CASES]
    assert len(names) == len(set(names)) >= 120
