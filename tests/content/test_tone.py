"""Tone: the scales order texts as people would, reading ease is Flesch's, and advice names what to change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailorbird.content.style import restyle
from tailorbird.content.tone import DIMENSIONS, distance, measure, own_tone, own_words
from tailorbird.content.wordlists import languages

FORMAL = {
    "en": "Dear Ms Lee,\n\nWe would like to inform you that it is complete. Please do not hesitate to contact us.\n\nKind regards",
    "de": "Sehr geehrte Frau Lee,\n\nhiermit teilen wir Ihnen mit, dass Ihre Unterlagen anbei sind.\n\nMit freundlichen Grüßen",
    "fr": "Madame, Monsieur,\n\nNous vous prions de trouver ci-joint votre contrat. Veuillez agréer nos sincères salutations.",
    "es": "Estimada señora Lee:\n\nLe informamos que adjunto encontrará su contrato. Quedamos a su disposición.\n\nAtentamente",
    "it": "Gentile signora Lee,\n\nLa informiamo che in allegato si trova il contratto. Distinti saluti",
}
CASUAL = {
    "en": "Hey Ann! It's done, super quick :) Just ping me if you're stuck. Cheers",
    "de": "Hey Ann! Passt, läuft super :) Sag mal, wie geht's dir? LG",
    "fr": "Salut Ann ! C'est top, du coup tu as ton truc. Bises",
    "es": "Hola Ann! Genial, vale, porfa dime qué tal te va. Besos",
    "it": "Ciao Ann! Dai, super, ci sentiamo stasera. Baci",
}


@pytest.mark.parametrize("language", languages())
def test_a_formal_letter_is_more_formal_than_a_chat_in_every_language(language: str) -> None:
    assert measure(FORMAL[language], language).formality > 0.6
    assert measure(CASUAL[language], language).formality < 0.4


def test_restyling_moves_formality_the_way_it_says() -> None:
    text = "Dear Ann,\nThank you for your order. It is on its way, and we will write again.\nKind regards"
    assert measure(restyle(text, "casual", "en").text, "en").formality < measure(text, "en").formality


def test_kind_words_are_warm_and_threats_are_cold() -> None:
    warm = measure("We are so glad you are here, thank you! We hope you love it.")
    cold = measure("Final notice. Payment is overdue and mandatory. Failure to comply will result in a penalty.")
    assert warm.warmth > 0.7 and cold.warmth < 0.5


# Worked by hand: "The cat sat on the mat." has 6 words, 1 sentence, 6 syllables.
@pytest.mark.parametrize(
    ("text", "language", "flesch"),
    [
        ("The cat sat on the mat.", "en", 206.835 - 1.015 * 6 - 84.6 * 1),
        ("Der Hund ist im Haus.", "de", 180 - 5 - 58.5 * 1),
        ("La casa roja.", "es", 206.84 - 1.02 * 3 - 60 * 5 / 3),
        ("La casa rossa.", "it", 217 - 1.3 * 3 - 60 * 5 / 3),
        ("Le chat dort ici.", "fr", 207 - 1.015 * 4 - 73.6 * 5 / 4),
    ],
)
def test_reading_ease_is_the_formula_of_the_language(text: str, language: str, flesch: float) -> None:
    assert measure(text, language).flesch == pytest.approx(flesch, abs=0.06)


def test_long_words_in_long_sentences_are_harder() -> None:
    hard = (
        "Notwithstanding considerable organisational heterogeneity, responsibilities necessitate interdisciplinary documentation."
    )
    assert measure(hard).ease == 0.0 < measure("We go home. It is late.").ease


def test_quotes_links_code_and_markup_do_not_count() -> None:
    plain = measure("Please call us.")
    full = measure(
        '<p>Please call us. <a href="https://x.example/hey">https://hey.example</a> <code>hey hey</code> "hey"</p>', html=True
    )
    assert (plain.words, plain.formality) == (full.words, full.formality)


def test_a_persons_own_tone_is_the_mean_of_what_they_wrote_themselves() -> None:
    replies = [
        "Hey, sure!\n\nOn Mon, 2 Feb 2026 at 10:00, Shop wrote:\n> Dear Ms Lee, we regret to inform you",
        "> quoted only",
        "",
        "Yep, cool, thanks!",
    ]
    own = own_tone(replies, "en")
    assert own is not None and own.basis == 2
    assert own.formality < 0.35
    assert own_tone(["", "> x"], "en") is None


@pytest.mark.parametrize(
    "reply",
    [
        "Ok.\n\nAm 2.2.2026 um 10 Uhr schrieb Shop:\n> x",
        "Ok.\n\nLe lun. 2 févr. 2026, Shop a écrit :\n> x",
        "Ok.\n-- \nBob, CEO",
        "Ok.",
    ],
)
def test_what_a_reply_quotes_is_not_their_own(reply: str) -> None:
    assert own_words(reply) == "Ok."


def test_the_advice_names_the_widest_gaps_and_how_little_it_rests_on() -> None:
    own = own_tone(["Hey, yep, cool, thanks!"], "en")
    assert own is not None
    found = distance(measure(FORMAL["en"]), own)
    assert found.gaps[0].gap > 0 and found.distance > 0.2
    assert "more formal" in found.advice and "contractions" in found.advice
    assert found.advice.endswith("This rests on one reply only.")


def test_the_same_tone_is_no_distance() -> None:
    tone = measure(CASUAL["en"])
    assert distance(tone, tone).distance == 0
    assert distance(tone, tone).advice.startswith("The draft sounds much as they write")


@given(st.text(max_size=300), st.sampled_from([*languages(), "tlh"]), st.text(max_size=100))
def test_every_scale_stays_between_nought_and_one(text: str, language: str, other: str) -> None:
    tone, against = measure(text, language), measure(other, language)
    found = distance(tone, against)
    assert all(0 <= getattr(tone, name) <= 1 for name in DIMENSIONS)
    assert 0 <= found.distance <= 1 and len(found.gaps) == 4
    assert distance(against, tone).distance == found.distance


@pytest.mark.parametrize("text", ["a" * 300_000, "!" * 300_000, "a. " * 100_000, "<" * 300_000])
def test_hostile_text_is_done_with(text: str) -> None:
    assert 0 <= measure(text, html=True).length <= 1
