"""Which language a person gets, why, and how many of N get which."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailorbird.content.language import choose, coverage, is_tag, normalise


@pytest.mark.parametrize(
    ("preferred", "available", "chain", "language", "how"),
    [
        (["fr-CA"], ["en", "fr-CA", "fr"], ["en"], "fr-CA", "exact"),
        (["fr-CA"], ["en", "fr"], ["en"], "fr", "broader"),
        (["fr-CA"], ["en", "fr-FR"], ["en"], "fr-FR", "narrower"),
        (["fr"], ["en", "fr-FR"], ["en"], "fr-FR", "narrower"),
        (["fr_ca"], ["EN", "Fr"], [], "Fr", "broader"),
        (["pl", "de"], ["en", "de"], ["en"], "de", "exact"),
        (["pl"], ["en", "de"], ["nl", "de", "en"], "de", "fallback"),
        (["pl"], ["en", "de"], [], None, "none"),
        (["zh-Hant-TW"], ["zh-Hans", "en"], ["en"], "en", "fallback"),
        (["zh-Hant-TW"], ["zh-Hans", "zh-Hant"], [], "zh-Hant", "broader"),
        (["sr-Latn"], ["sr"], [], "sr", "broader"),
        ([], ["de"], [], "de", "only"),
        ([], ["de", "en"], [], None, "none"),
        ([], ["de", "en"], ["en"], "en", "fallback"),
        (["no such tag!"], ["de"], [], "de", "only"),
        (["fr"], [], ["en"], None, "none"),
    ],
)
def test_preferences_then_wider_then_another_region_then_the_chain(
    preferred: list[str], available: list[str], chain: list[str], language: str | None, how: str
) -> None:
    found = choose(preferred, available, chain)
    assert (found.language, found.how) == (language, how)
    assert found.reason


def test_the_reason_says_what_was_wanted_and_what_became_of_it() -> None:
    assert choose(["fr-CA"], ["fr"], []).reason == "prefers fr-CA; fr is the nearest there is"
    assert choose(["pl", "cs"], ["en"], ["en"]).reason == "there is nothing in pl or cs; en is the fallback"
    assert choose([], ["en", "de"], ["en"]).reason == "no preference is known; en is the fallback"


def test_coverage_tells_how_many_get_which_language_and_who_misses_theirs() -> None:
    found = coverage({"fr-CA": 3, "fr": 2, "pl": 4, None: 5, "": 1}, ["en", "fr"], ["en"])
    assert found.people == 15
    assert [(p.language, p.people) for p in found.portions] == [("en", 10), ("fr", 5)]
    assert found.unmet == 4
    assert found.portions[0].reasons == {
        "no preference is known; en is the fallback": 6, "there is nothing in pl; en is the fallback": 4,
    }  # fmt: skip


def test_nobody_is_lost_when_there_is_no_fallback() -> None:
    found = coverage({"pl": 4, "en": 1}, ["en", "fr"])
    assert {p.language: p.people for p in found.portions} == {None: 4, "en": 1}


TAGS = st.sampled_from(["en", "en-GB", "en-US", "fr", "fr-CA", "de-AT", "zh-Hant-TW", "zh-Hans", "zh", "pt-BR", "xx", "!", ""])


@given(st.lists(TAGS, max_size=3), st.lists(TAGS, max_size=5), st.lists(TAGS, max_size=3))
def test_what_is_chosen_is_there_and_a_preference_that_is_there_is_met(
    wanted: list[str], there: list[str], chain: list[str]
) -> None:
    found = choose(wanted, there, chain)
    assert found.language is None or found.language in there
    first = next((tag for tag in wanted if is_tag(tag)), None)
    if first in there:
        assert found.language == first
    assert choose(wanted, [*reversed(there)], chain).how == found.how


@given(st.text(max_size=80))
def test_any_text_is_a_tag_in_its_one_spelling_or_none(text: str) -> None:
    tag = normalise(text)
    assert tag == "" or (is_tag(tag) and normalise(tag) == tag)
