"""Formal and casual: what changes, what never does, and that doing it twice is doing it once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailorbird.content.masking import spans
from tailorbird.content.style import Restyled, Style, languages, restyle
from tailorbird.content.wordlists import Words, words_of

STYLES: tuple[Style, Style] = ("formal", "casual")


@pytest.mark.parametrize(
    ("language", "formal", "casual"),
    [
        ("en", "Dear Ann,\nThank you for it.\n\nKind regards,\nBob", "Hi Ann,\nThanks for it.\n\nCheers,\nBob"),
        ("en-GB", "We have sent it and it is on its way.", "We've sent it and it's on its way."),
        ("en", "I will not do that; we cannot, and you are right.", "I won't do that; we can't, and you're right."),
        ("en", "It has been good.", "It's been good."),
        ("en", "Dear Sir or Madam,\nDo not wait!", "Hi there,\nDon't wait!"),
        ("en", "Hello,\nThank you.", "Hi,\nThanks."),
        ("de", "Guten Tag Frau Müller,\nVielen Dank!\nMit freundlichen Grüßen", "Hallo Frau Müller,\nDanke!\nViele Grüße"),
        ("de", "Wie geht es Ihnen?", "Wie geht's Ihnen?"),
        ("fr", "Bonjour Anne,\nJe vous remercie de cela.\nCordialement", "Salut Anne,\nMerci de ça.\nÀ bientôt"),
        ("fr", "Je vous remercie d'avoir écrit. Merci Anne !", "Merci d'avoir écrit. Merci Anne !"),
        ("es", "Estimado/a Ana:\nMuchas gracias por todo.\nAtentamente", "Hola Ana:\nGracias por todo.\nUn saludo"),
        ("it", "Gentile Anna,\nMolte grazie per tutto.\nCordiali saluti", "Ciao Anna,\nGrazie per tutto.\nA presto"),
    ],
)
def test_a_text_goes_from_one_style_to_the_other_and_back(language: str, formal: str, casual: str) -> None:
    assert restyle(formal, "casual", language).text == casual
    assert restyle(casual, "formal", language).text == formal


@pytest.mark.parametrize(
    ("before", "style", "after"),
    [
        ("DO NOT WAIT", "casual", "DON'T WAIT"),
        ("Do NOT wait", "casual", "Do NOT wait"),
        ("I DON'T. THANKS.", "formal", "I DO NOT. THANK YOU."),
        ("don’t", "formal", "do not"),
        ("It’s Ann’s; do not wait", "casual", "It’s Ann’s; don’t wait"),
        ("Yes, it is. I know what it is.", "casual", "Yes, it is. I know what it is."),
        ("I would like to thank you. Thanks to you!", "casual", "I'd like to thank you. Thanks to you!"),
        ("Sehr geehrte Frau Müller,", "casual", "Sehr geehrte Frau Müller,"),
        ("Best Western is open. Dear customers pay more.", "formal", "Best Western is open. Dear customers pay more."),
        ("Let us help you. Isn't it fine? Don't you agree?", "casual", "Let us help you. Isn't it fine? Don't you agree?"),
        ("Isn't it fine? Don't you agree? I don't.", "formal", "Isn't it fine? Don't you agree? I do not."),
        ("Best\nThe Best plan", "formal", "Best\nThe Best plan"),
        ("Talk soon!\nBest,\nBob", "formal", "Talk soon!\nKind regards,\nBob"),
        (
            "Ask who you are today, where it is sold, and what we are.",
            "casual",
            "Ask who you are today, where it is sold, and what we are.",
        ),
        ("You have a car and we have to go; we have seen it.", "casual", "You have a car and we have to go; we've seen it."),
    ],
)
def test_case_punctuation_and_other_meanings_stay(before: str, style: Style, after: str) -> None:
    assert restyle(before, style, "en").text == after


def test_what_was_changed_is_told() -> None:
    found = restyle("Dear Ann, do not wait.\nKind regards", "casual", "en")
    assert [(c.kind, c.before, c.after) for c in found.changes] == [
        ("greeting", "Dear", "Hi"), ("contraction", "do not", "don't"), ("signoff", "Kind regards", "Cheers"),
    ]  # fmt: skip


def test_a_language_without_word_lists_leaves_the_text_as_it_is() -> None:
    assert restyle("Do not wait", "casual", "tlh") == Restyled("Do not wait")


PROTECTED = [
    "https://shop.example/do not".replace(" ", "-"),
    "www.example.com/we-don't-do-not",
    "do.not@thank-you.example",
    "`do not`",
    "```\ndo not\n```",
    '"do not"',
    "“do not”",
    "„do not“",
    "«do not»",
    "‘do not’",
    "'we don't do not'",
    "{{ do not | thank: 'you' }}",
    "{% if do not %}",
    "@donot",
    "\n> do not\n",
]
MARKUP = [
    "<a href=\"https://x.example/?q=do not\" title='do not > can'>",
    "<code>do not</code>",
    "<pre>do not\ndo not</pre>",
    "<!-- do not -->",
    "<script>if (a < b) do not</script>",
    "<q>do <b>not</b> do not</q>",
    "<blockquote>do not <blockquote>do not</blockquote> do not</blockquote>",
    "&quot;do not&quot;",
    "{{ do not }}",
    "<br>",
]


@pytest.mark.parametrize("stretch", PROTECTED)
def test_what_is_not_ours_is_never_changed(stretch: str) -> None:
    found = restyle(f"We do not {stretch} do not", "casual", "en").text
    assert found == f"We don't {stretch} don't"


@pytest.mark.parametrize("stretch", MARKUP)
def test_markup_and_what_is_not_prose_in_it_is_never_changed(stretch: str) -> None:
    assert restyle(f"<p>do not {stretch} do not</p>", "casual", "en", html=True).text == f"<p>don't {stretch} don't</p>"


def test_apostrophes_that_are_entities_are_understood() -> None:
    assert restyle("<p>I can&#39;t, you don&rsquo;t</p>", "formal", "en", html=True).text == "<p>I cannot, you do not</p>"


def test_greeting_and_sign_off_are_found_in_markup() -> None:
    text = "<td>Dear <b>Ann</b>,</td><p>Kind regards,<br>Bob</p>"
    assert restyle(text, "casual", "en", html=True).text == "<td>Hi <b>Ann</b>,</td><p>Cheers,<br>Bob</p>"


def test_a_name_is_never_changed() -> None:
    text = "Dear Will, will Do Not Disturb do? I do not know."
    found = restyle(text, "casual", "en", names=["Will", "Do Not Disturb"])
    assert found.text == "Hi Will, will Do Not Disturb do? I don't know."


@pytest.mark.parametrize(
    "text", ["<" * 20_000, '<a "' * 5_000, "'" * 20_000, "a." * 10_000, "«" * 20_000, "{{" * 50_000, "do not " * 5_000]
)
def test_hostile_text_is_done_with(text: str) -> None:
    for html in (False, True):
        assert restyle(text, "casual", "en", html=html).text


def vocabulary(words: Words) -> list[str]:
    said = [
        w for p in (*words.greeting, *words.thanks, *words.signoff) for w in (p.formal, p.casual, *p.also_formal, *p.also_casual)
    ]
    said += [w for family in words.contractions for pair in family.words.items() for w in pair]
    return sorted({*said, *(part for phrase in said for part in phrase.split())})


VOCABULARY = {name: vocabulary(found) for name in languages() if (found := words_of(name)) is not None}


@st.composite
def letters(draw: st.DrawFn, *, html: bool) -> tuple[str, str]:
    """A language, and a text soup of the words that its rules are about, and of what is protected."""
    language = draw(st.sampled_from(languages()))
    word = st.sampled_from(VOCABULARY[language])
    cased = st.builds(lambda w, f: f(w), word, st.sampled_from([str, str.capitalize, str.upper, str.lower]))
    other = st.sampled_from([*(MARKUP if html else PROTECTED), "Ann", "sent", "been", "I", "{{ x }}", "'", '"', "’", "7", "»"])
    gap = st.sampled_from([" ", " ", " ", "\n", ", ", ". ", "", "  ", ",\n", "-", "\u00a0"])
    parts = draw(st.lists(st.tuples(cased | cased | other, gap), max_size=14))
    return language, "".join(part + between for part, between in parts)


@pytest.mark.parametrize("html", [False, True])
@pytest.mark.parametrize("style", STYLES)
@given(data=st.data())
@settings(deadline=None, max_examples=300)
def test_restyling_twice_is_restyling_once_and_protected_stretches_stay(*, html: bool, style: Style, data: st.DataObject) -> None:
    language, text = data.draw(letters(html=html))
    names = ["Ann"]
    once = restyle(text, style, language, html=html, names=names)
    again = restyle(once.text, style, language, html=html, names=names)
    assert again.text == once.text and not again.changes
    assert bool(once.changes) == (once.text != text)
    assert spans(once.text, html=html, names=names) == spans(text, html=html, names=names)


@given(st.text(max_size=200))
@settings(deadline=None)
def test_no_text_at_all_breaks_it(text: str) -> None:
    for html in (False, True):
        for style in STYLES:
            found = restyle(text, style, "en", html=html).text
            assert spans(found, html=html) == spans(text, html=html)


@pytest.mark.parametrize("language", languages())
def test_no_word_list_leads_in_a_circle_or_out_of_prose(language: str) -> None:
    words = words_of(language)
    assert words is not None and words.language == language
    for word in VOCABULARY[language]:
        assert spans(word) == [] and spans(f"<p>{word}</p>", html=True) == ["<p>", "</p>"], word
