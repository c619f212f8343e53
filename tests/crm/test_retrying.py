"""Plans of retrying: the waits, what is worth another try, and plans of one's own."""

from __future__ import annotations

import pytest

from tailorbird.crm.retrying import BULK, CLIENT, RetryPlan, attempt, plan_of
from tailorbird.errors import InvalidInput, Unavailable


class Flaky:
    """Fails so many times, then answers."""

    def __init__(self, times: int, error: Exception | None = None) -> None:
        self.times = times
        self.error = error or Unavailable("down")
        self.asked = 0

    def __call__(self) -> str:
        self.asked += 1
        if self.asked <= self.times:
            raise self.error
        return "here"


def tried(flaky: Flaky, plan: RetryPlan, *, passes: bool = True) -> tuple[str, list[float]]:
    slept: list[float] = []
    return attempt(flaky, plan, passes=lambda _: passes, sleep=slept.append, chance=lambda: 0.5), slept


def test_client_data_is_asked_at_once_then_after_1_2_and_4_seconds() -> None:
    assert tried(Flaky(3), CLIENT) == ("here", [1, 2, 4])


def test_questions_about_many_wait_2_4_and_8_seconds() -> None:
    assert tried(Flaky(3), BULK) == ("here", [2, 4, 8])


def test_after_the_last_wait_the_error_is_raised() -> None:
    flaky = Flaky(9)
    with pytest.raises(Unavailable):
        tried(flaky, CLIENT)
    assert flaky.asked == 4


def test_what_does_not_pass_is_not_asked_again() -> None:
    flaky = Flaky(1)
    with pytest.raises(Unavailable):
        tried(flaky, CLIENT, passes=False)
    assert flaky.asked == 1


def test_the_word_of_the_other_side_is_kept_when_it_is_short_and_ends_it_when_it_is_long() -> None:
    class Busy(Exception):
        retry_after = 3_000

    class Closed(Exception):
        retry_after = 60_000

    assert tried(Flaky(1, Busy()), CLIENT) == ("here", [3])
    with pytest.raises(Closed):
        tried(Flaky(1, Closed()), CLIENT)


@pytest.mark.parametrize("waits", ["1", [-1], [True], [1] * 11, [601], {"a": 1}])
def test_a_plan_that_makes_no_sense_is_refused(waits: object) -> None:
    with pytest.raises(InvalidInput, match=r"retry\.client"):
        plan_of({"retry": {"client": waits}}, "client")
