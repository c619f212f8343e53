"""What an error shows of the text that is wrong: the line, cut to what stands around the caret, and the caret under it."""

from __future__ import annotations

import pytest

from tailorbird.errors import Mistake, Span, excerpt


def marked(text: str, span: Span) -> str:
    source, caret = excerpt(text, span).split("\n")
    assert len(source) <= 160 and len(caret) <= 160
    return source[caret.index("^") :][: caret.count("^")]


@pytest.mark.parametrize("start", [0, 1, 79, 80, 81, 159, 160, 5_000, 9_900, 9_990, 9_996])
@pytest.mark.parametrize("before", ["", "one line\n"])
def test_the_caret_points_at_the_same_characters_wherever_a_long_line_is_cut(start: int, before: str) -> None:
    text = before + "".join(f"{i:04}" for i in range(2_500)) + "\nanother"
    span = Span(len(before) + start, len(before) + start + 4)
    assert marked(text, span) == text[span.start : span.end]


@pytest.mark.parametrize("length", [159, 160, 161])
def test_a_line_is_shown_whole_up_to_160_characters(length: int) -> None:
    source = excerpt("x" * length, Span(length - 1, length)).split("\n")[0]
    assert ("…" in source) is (length > 160)


def test_a_mistake_at_the_end_of_the_text_has_a_caret() -> None:
    assert excerpt("a = ", Span(4, 4)) == "a = \n    ^"
    assert excerpt("x" * 500, Span(500, 500)).endswith(" ^")


def test_a_span_over_several_lines_is_marked_on_its_first() -> None:
    assert excerpt("ab\ncd\nef", Span(3, 8)) == "cd\n^^"


def test_an_error_does_not_quote_a_whole_long_line() -> None:
    told = Mistake("unexpected", "no", span=Span(19_000, 19_001)).render("x" * 20_000)
    assert len(told) < 500 and told.startswith("line 1, column 19001: no")
