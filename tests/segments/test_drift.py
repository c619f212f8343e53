"""Population stability, bin by bin."""

from __future__ import annotations

from math import log

import pytest

from tailorbird.expr.types import Type
from tailorbird.segments.drift import Stability, compare, psi, stability


def test_the_index_is_the_sum_over_bins_of_difference_times_log_ratio() -> None:
    then, now = [3000, 7000], [5000, 5000]
    exact = (0.5 - 0.3) * log(0.5 / 0.3) + (0.5 - 0.7) * log(0.5 / 0.7)
    assert psi(then, now) == pytest.approx(exact, rel=1e-3)


def test_an_empty_bin_gives_a_large_number_and_not_an_infinite_one() -> None:
    index = psi([1000, 0], [500, 500])
    assert index is not None and 0.25 < index < 10


def test_nobody_to_compare_is_unmeasured() -> None:
    item = compare("plan", Type.TEXT, [], ["free"])
    assert (item.psi, item.status) == (None, Stability.UNMEASURED)
    assert stability(psi([0], [5])) == Stability.UNMEASURED


def test_the_same_people_are_stable_whatever_the_type() -> None:
    columns: list[tuple[Type, list[object]]] = [
        (Type.NUMBER, [float(i % 97) for i in range(2000)]),
        (Type.TEXT, ["fr", "de", None, "en"] * 500),
        (Type.BOOL, [True, False, None, True] * 500),
        (Type.TIME, [i * 86_400_000 for i in range(2000)]),
        (Type.TEXTS, [("a", "b"), ("b",), (), None] * 500),
    ]
    for kind, values in columns:
        item = compare("x", kind, values, values)
        assert item.psi == pytest.approx(0.0) and item.status == Stability.STABLE
        assert sum(share.now for share in item.shares) == pytest.approx(1.0)


def test_numbers_are_cut_where_the_baseline_has_equally_many() -> None:
    item = compare("age", Type.NUMBER, [float(i) for i in range(1000)], [float(i + 500) for i in range(1000)])
    assert [round(share.baseline, 2) for share in item.shares] == [0.1] * 10
    assert item.shares[-1].now > 0.5 and item.status == Stability.DRIFTED
    assert item.shares[0].label.startswith("≤ ") and item.shares[-1].label.startswith("> ")


def test_few_distinct_numbers_are_a_bin_each_and_new_ones_are_other() -> None:
    item = compare("orders", Type.NUMBER, [1.0, 2.0, 1.0, 2.0], [1.0, 3.0, 3.0, 3.0])
    assert {share.label: (share.baseline, share.now) for share in item.shares} == {
        "1": (0.5, 0.25), "2": (0.5, 0.0), "other": (0.0, 0.75),
    }  # fmt: skip


def test_unknown_is_a_bin_of_its_own_and_is_not_the_text_unknown() -> None:
    item = compare("city", Type.TEXT, ["unknown", None, "x"], ["unknown", None, None])
    shares = {share.label: share.now for share in item.shares}
    assert shares == pytest.approx({'"unknown"': 1 / 3, "unknown": 2 / 3, "x": 0.0})


def test_rare_texts_are_counted_together() -> None:
    then = [f"city{i}" for i in range(30) for _ in range(40 - i)]
    item = compare("city", Type.TEXT, then, then)
    assert len(item.shares) == 11 and item.shares[-1].label == "other"


def test_a_mix_that_shifts_a_little_is_shifting() -> None:
    item = compare("plan", Type.TEXT, ["free"] * 700 + ["pro"] * 300, ["free"] * 520 + ["pro"] * 480)
    assert item.status == Stability.SHIFTING
    assert item.chance == pytest.approx(6.635 * 2 / 1000, rel=0.03)  # chi-squared, one degree of freedom, 99 %


def test_a_small_sample_does_not_drift_by_chance_alone() -> None:
    then, now = ["a"] * 6 + ["b"] * 4, ["a"] * 4 + ["b"] * 6
    item = compare("plan", Type.TEXT, then, now)
    assert item.psi is not None and item.psi > 0.1 and item.status == Stability.STABLE
    assert compare("plan", Type.TEXT, then * 100, now * 100).status == Stability.SHIFTING
