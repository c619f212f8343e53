"""The definition of a personalization: what it may say, what is told when it is wrong, and what needs what."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tailorbird.engine import Engine
from tailorbird.errors import Conflict, InvalidDefinition

VIP = {"kind": "segment", "name": "vip", "when": 'plan = "pro"'}
OURS = """
kind: personalization
name: ours
labels:
  - label: star
    when: member_of("vip") and interaction_count >= 1
    content: [a call]
  - label: rest
"""


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine.open(":memory:") as found:
        yield found


def mistakes(engine: Engine, text: str) -> str:
    with pytest.raises(InvalidDefinition) as caught:
        engine.apply(text)
    return str(caught.value)


def test_a_team_applies_its_own_and_goes_back_to_what_is_shipped(engine: Engine) -> None:
    engine.identify("ann", attributes={"plan": "pro"})
    engine.track("page.viewed", profile="ann")
    assert engine.service.segment("ann").segment == "do-not-contact"
    engine.apply([VIP])
    engine.apply(OURS)
    assert engine.service.segment("ann").segment == "star"
    engine.apply(OURS.replace(">= 1", ">= 2"))
    assert engine.service.segment("ann").segment == "rest"
    engine.roll_back("personalization", "ours")
    assert engine.service.segment("ann").segment == "star"
    engine.archive("personalization", "ours")
    assert engine.service.segment("ann").segment == "do-not-contact"


def test_the_rules_survive_a_restart_and_a_replay(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = str(tmp_path_factory.mktemp("ours") / "ours.db")
    with Engine.open(path) as first:
        first.apply([VIP])
        first.apply(OURS)
        first.identify("ann", attributes={"plan": "free"})
    with Engine.open(path) as second:
        assert second.service.segment("ann").segment == "rest"


def test_a_wrong_condition_is_told_with_its_place(engine: Engine) -> None:
    text = mistakes(engine, OURS.replace("interaction_count", 'member_of("nobody") and interaction_count'))
    assert "nobody" in text and "text:6:" in text and "^" in text
    text = mistakes(engine, OURS.replace(">= 1", '= "many"'))
    assert "text:6:" in text
    assert "text:6:" in mistakes(engine, OURS.replace(">= 1", ">= "))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("  - label: rest\n", "  - label: rest\n    when: interaction_count = 0\n", "the last label takes everybody who is left"),
        ('    when: member_of("vip") and interaction_count >= 1\n', "", "only the last label goes without when"),
        ("label: star", "label: Star!", "is not a name"),
        ("label: rest", "labl: rest", "Did you mean label?"),
        ("labels:", "preferred_channel: {last: 0}\nlabels:", "a whole number from 1 to 200"),
        ("labels:", "channels: [email]\nlabels:", "is not a mapping"),
        ("labels:", "gaps: [{gap: email}]\nlabels:", "needs the field when"),
    ],
)
def test_what_is_wrong_is_told(engine: Engine, old: str, new: str, told: str) -> None:
    engine.apply([VIP])
    assert told in mistakes(engine, OURS.replace(old, new))


def test_there_is_one_at_most(engine: Engine) -> None:
    engine.apply([VIP])
    engine.apply(OURS)
    assert "there is a personalization already: ours" in mistakes(engine, OURS.replace("name: ours", "name: theirs"))


def test_a_segment_that_the_rules_name_cannot_be_archived(engine: Engine) -> None:
    engine.apply([VIP])
    engine.apply(OURS)
    with pytest.raises(Conflict, match="personalization ours"):
        engine.archive("segment", "vip")
