"""What a text states is in its sources or is found out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailorbird.content.supported import unsupported

FACTS = (
    "Ann Lee, Head of Marketing at Acme, viewed a page 4 times, last on 2 October 2024. She spent 1,200.50 EUR. "
    "Write in French by email to ann@x.example. It's one of seven interactions."
)


@pytest.mark.parametrize(
    "text",
    [
        "Ann viewed a page four times, most recently on 2 October 2024.",
        "Ann's latest visit was on 2 October; Acme spent 1200.5 EUR, says Ann Lee.",
        "Write to her in French. I would open with the page. She has 7 interactions.",
        "Reach out to ann@x.example. However, keep it short.",
        "Since Ann spent 1,200.50 EUR, mention what she saw. Given that, be brief.",
        "One of them is enough.",
    ],
)
def test_what_is_in_the_facts_passes(text: str) -> None:
    assert unsupported(text, [FACTS]) == []


@pytest.mark.parametrize(
    ("text", "strange"),
    [
        ("Ann viewed it 5 times.", "5"),
        ("Ann viewed it five times.", "5"),
        ("She spent $1,200.50.", "$"),
        ("Offer her 20% off.", "20"),
        ("She came a dozen times, twice today.", "12"),
        ("She works with Zeus.", "Zeus"),
        ("Zeus sent her.", "Zeus"),
        ("Ann spoke with “Hera” about it.", "Hera"),
        ("Ann lives in Paris.", "Paris"),
        ("It was on 3 October 2024.", "3"),
        ("It was in November.", "November"),
        ("Write to bob@x.example.", "bob@x.example"),
        ("See www.evil.example/x now.", "www.evil.example/x"),
        ("She uses the iPhone app.", "iPhone"),
        ("She asked the CEO.", "CEO"),
        ("She spent 12,00.", "12"),
    ],
)
def test_what_is_not_is_found(text: str, strange: str) -> None:
    assert strange in unsupported(text, [FACTS])


@given(st.text(max_size=120))
def test_every_text_supports_itself(text: str) -> None:
    assert unsupported(text, [text]) == []


@given(st.integers(0, 10**9), st.sampled_from(["Ann came {} times.", "{} came.", "It is {}.", "€{}"]))
def test_a_number_that_is_not_there_is_always_found(number: int, form: str) -> None:
    facts = "Ann came 3 times €"
    assert bool(unsupported(form.format(f"{number:,}"), [facts])) == (number != 3)
    assert bool(unsupported(form.format(number), [facts])) == (number != 3)
