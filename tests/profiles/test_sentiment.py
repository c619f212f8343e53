"""How replies sound: English by the lexicon, other languages not at all."""

from __future__ import annotations

import pytest

from tailorbird.profiles.sentiment import scored, sentiment


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Sounds great, let's talk next week!", "positive"),
        ("Not interested. This is annoying, stop emailing me.", "negative"),
        ("The contract is with my colleague.", "neutral"),
        ("Perfect!", "positive"),
    ],
)
def test_english_replies_are_scored(text: str, label: str) -> None:
    found = sentiment(text)
    assert found is not None and found.label == label and -1 <= found.score <= 1


@pytest.mark.parametrize(
    "text",
    [
        "Merci, très bonne idée",
        "Das ist ein super Angebot, danke",
        "Gracias, no me interesa",
        "Grazie, non mi interessa",
        "",
        "!!!",
    ],
)
def test_other_languages_have_no_sentiment(text: str) -> None:
    assert sentiment(text) is None


def test_what_language_somebody_has_counts_before_what_a_text_looks_like() -> None:
    assert sentiment("super", "de-DE") is None
    assert sentiment("super", "en_GB") is not None


def test_a_sentiment_that_was_said_stands() -> None:
    said = {"text": "I love it", "sentiment": "ironic"}
    assert scored(said) == said
    assert scored({"text": 7}) == {"text": 7}
    assert scored({"text": "I love it", "language": "de"}) == {"text": "I love it", "language": "de"}
