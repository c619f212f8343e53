"""What identifies people is replaced before it leaves, and comes back exactly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailorbird.connectors.redaction import Redaction, StrangePlaceholder


@pytest.mark.parametrize(
    "secret",
    [
        "ann.lee+shop@mail.example.co.uk", "ann@x.exampleben@x.example", "ann@localhost", "a" * 90 + "@x.example",
        "+33 6 12 34 56 78", "(030) 1234-5678", "06.12.34.56.78", "0612345678",
        "https://x.example/u/ann?t=1", "www.ann.example", "DE89 3704 0044 0532 0130 00", "p_abcdefgh234567ab",
    ],
)  # fmt: skip
def test_identifiers_are_found_by_their_form(secret: str) -> None:
    hidden = Redaction().hide(f"See {secret} today")
    assert secret not in hidden and hidden.startswith("See [") and hidden.endswith("] today")


@pytest.mark.parametrize(
    "plain", ["2026-01-31", "1,234,567.89", "12 orders", "3.5", "v1.2.3", "at 12:30:00", "room 4711", "99.95 EUR"]
)
def test_numbers_that_identify_nobody_stay(plain: str) -> None:
    assert Redaction().hide(plain) == plain


def test_a_name_is_hidden_however_it_is_written_but_not_inside_other_words() -> None:
    redaction = Redaction({"Ann": "PERSON", "Ann Lee": "PERSON"})
    assert redaction.hide("Ann Lee, ANN and ann's Annual") == "[PERSON_1], [PERSON_2] and [PERSON_3]'s Annual"


def test_placeholders_in_the_text_itself_survive() -> None:
    redaction = Redaction({"Ann": "PERSON"})
    text = "[PERSON_1] is Ann"
    assert redaction.reveal(redaction.hide(text)) == text


def test_an_invented_placeholder_is_refused() -> None:
    with pytest.raises(StrangePlaceholder):
        Redaction().reveal("[PERSON_1]")


PARTS = st.sampled_from(
    ["Ann", "Lee", "ann@x.example", "+33612345678", "[PERSON_1]", "[EMAIL_2]", " ", ", ", "https://x.example", "7", "[", "]"]
)


@given(st.lists(PARTS | st.text(max_size=5), max_size=12))
def test_what_is_hidden_comes_back_exactly(parts: list[str]) -> None:
    redaction = Redaction({"Ann": "PERSON", "Lee": "PERSON", "Ann Lee": "PERSON"})
    text = "".join(parts)
    hidden = redaction.hide(text)
    assert redaction.reveal(hidden) == text
    assert "@x.example" not in hidden
