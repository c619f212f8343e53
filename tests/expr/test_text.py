"""The letter table: one to one, in four scripts, the same in both directions."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tailorbird.expr.text import LOWER_FROM, LOWER_TO, lower, upper


@settings(max_examples=300)
@given(st.text())
def test_folding_keeps_length_and_is_stable(text):
    assert len(lower(text)) == len(upper(text)) == len(text)
    assert lower(lower(text)) == lower(text)
    assert upper(lower(text)) == upper(text)


def test_the_table_pairs_each_letter_once():
    assert len(LOWER_FROM) == len(LOWER_TO) == len(set(LOWER_FROM)) == len(set(LOWER_TO))
    assert not set(LOWER_FROM) & set(LOWER_TO)


def test_letters_of_the_alphabets_are_in_it():
    for small in "azéñøşžæœÿαωάђяёաֆ":
        assert lower(upper(small)) == small != upper(small)


def test_letters_without_a_partner_stay():
    ohm, kelvin, angstrom, micro = "\u2126", "\u212a", "\u212b", "\u00b5"
    for letter in [*"ßẞİıςⅷⓐａაꭰ", ohm, kelvin, angstrom, micro]:
        assert lower(letter) == upper(letter) == letter
