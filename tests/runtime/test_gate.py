"""What the gate lets through."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tailorbird.core.action import Action, ActionStatus
from tailorbird.core.context import DAY, HOUR
from tailorbird.core.profile import Profile
from tailorbird.runtime.gate import Gate, Guard, Verdict, parse_guard, suppression_tag


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


NOON = at("2026-03-10T12:00")


def message(**changes: object) -> Action:
    fields: dict[str, object] = {
        "key": "k", "kind": "message.send", "connector": "log", "payload": {"to": "ann@example.com"}, "profile": 1,
        "channel": "email", "purpose": "marketing",
    }  # fmt: skip
    return Action(**{**fields, **changes})  # type: ignore[arg-type]


def person(**changes: object) -> Profile:
    fields: dict[str, object] = {"key": 1, "id": "p_ann", "bucket": 1, "consents": {"email/marketing": True}}
    return Profile(**{**fields, **changes})  # type: ignore[arg-type]


def gate(*guards: Guard, sent: tuple[int, ...] = ()) -> Gate:
    return Gate(guards, lambda profile, channel, since: sum(1 for instant in sent if instant > since))


def test_consent_lets_a_message_through() -> None:
    assert gate().admit(message(), person(), NOON) == Verdict(True)


def test_an_action_without_a_channel_passes_whatever_the_person_said() -> None:
    assert gate().admit(message(channel=None, profile=0), None, NOON).allowed


def test_a_message_to_somebody_erased_is_refused() -> None:
    assert gate().admit(message(), None, NOON).reason == "no_profile"


@pytest.mark.parametrize(
    ("consents", "purpose", "allowed"),
    [
        ({}, "marketing", False),
        ({"email/marketing": False}, "marketing", False),
        ({"sms/marketing": True}, "marketing", False),
        ({"email/marketing": True}, None, True),
        ({}, None, False),
        ({}, "transactional", True),
        ({"email/transactional": False}, "transactional", False),
        ({"email/marketing": True}, "surveys", False),
    ],
)
def test_consent_is_asked_per_channel_and_purpose(consents: dict[str, bool], purpose: str | None, allowed: bool) -> None:
    verdict = gate().admit(message(purpose=purpose), person(consents=consents), NOON)
    assert (verdict.allowed, verdict.reason) == (allowed, "" if allowed else "no_consent")


@pytest.mark.parametrize(
    ("tag", "allowed"),
    [
        ("suppressed", False),
        (suppression_tag("email"), False),
        (suppression_tag("sms"), True),
        (suppression_tag("email", "ann@example.com"), False),
        (suppression_tag("email", "old@example.com"), True),
    ],
)
def test_suppression_stops_a_channel_or_one_address(tag: str, allowed: bool) -> None:
    assert gate().admit(message(), person(tags=(tag,)), NOON).allowed is allowed


def test_suppression_is_said_before_missing_consent() -> None:
    assert gate().admit(message(), person(tags=("suppressed",), consents={}), NOON).reason == "suppressed"


NIGHT = parse_guard("night", {"channel": "email", "quiet_hours": {"from": "21:00", "to": "08:00", "timezone": "Europe/Paris"}})


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-03-10T19:59", None),
        ("2026-03-10T20:00", "2026-03-11T07:00"),  # 21:00 in Paris, one hour ahead in winter
        ("2026-03-11T02:00", "2026-03-11T07:00"),
        ("2026-03-11T06:59", "2026-03-11T07:00"),
        ("2026-03-11T07:00", None),
        ("2026-03-28T22:00", "2026-03-29T06:00"),  # the night in which the clock is put forward
        ("2026-10-24T22:00", "2026-10-25T07:00"),  # and back
    ],
)
def test_a_message_waits_until_quiet_hours_end_where_the_zone_is(now: str, until: str | None) -> None:
    verdict = gate(NIGHT).admit(message(), person(), at(now))
    assert verdict.retry_at == (at(until) if until else None)
    assert verdict.allowed is (until is None)


def test_the_persons_own_zone_comes_before_the_gates() -> None:
    tokyo = person(attributes={"timezone": "Asia/Tokyo"})
    assert gate(NIGHT).admit(message(), tokyo, NOON).retry_at == at("2026-03-10T23:00")


def test_a_zone_that_does_not_exist_is_not_used() -> None:
    assert gate(NIGHT).admit(message(), person(attributes={"timezone": "../etc/passwd"}), NOON).allowed


def test_quiet_hours_within_a_day_end_the_same_day() -> None:
    siesta = Guard(name="siesta", channel="email", quiet=(13 * 60, 15 * 60))
    assert gate(siesta).admit(message(), person(), at("2026-03-10T13:30")).retry_at == at("2026-03-10T15:00")
    assert gate(siesta).admit(message(), person(), at("2026-03-10T15:00")).allowed


def test_a_reached_cap_refuses() -> None:
    cap = parse_guard("cap", {"channel": "email", "cap": {"count": 2, "per": "7d"}})
    assert gate(cap, sent=(NOON - DAY,)).admit(message(), person(), NOON).allowed
    verdict = gate(cap, sent=(NOON - DAY, NOON - HOUR)).admit(message(), person(), NOON)
    assert (verdict.allowed, verdict.reason, verdict.retry_at) == (False, "cap_reached", None)
    assert verdict.applied_to(message()).status == ActionStatus.REFUSED


def test_a_reached_cap_can_put_off_until_there_is_room() -> None:
    cap = parse_guard("cap", {"channel": "email", "cap": {"count": 2, "per": "7d", "then": "defer"}})
    judge = gate(cap, sent=(NOON - 6 * DAY, NOON - DAY))
    verdict = judge.admit(message(), person(), NOON)
    assert verdict.retry_at is not None
    assert NOON + DAY <= verdict.retry_at <= NOON + DAY + 1000
    assert judge.admit(message(), person(), verdict.retry_at).allowed
    waiting = verdict.applied_to(message())
    assert (waiting.status, waiting.due) == (ActionStatus.PENDING, verdict.retry_at)


def test_a_guard_of_one_purpose_leaves_the_others_alone() -> None:
    cap = Guard(name="cap", channel="email", purpose="marketing", count=1, per=DAY)
    judge = gate(cap, sent=(NOON - HOUR,))
    assert not judge.admit(message(), person(), NOON).allowed
    assert judge.admit(message(purpose="transactional"), person(), NOON).allowed
