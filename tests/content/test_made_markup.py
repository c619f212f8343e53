"""Markup and addresses that a template puts together from values and texts: they stay text, or lead nowhere."""

# ruff: noqa: E501  a template reads best in one line

from __future__ import annotations

from html import escape
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from content.made import html, rendered
from tailorbird.content.escaping import scheme_of
from tailorbird.errors import InvalidTemplate


def seen(source: str) -> list[tuple[str, tuple[str, ...]]]:
    """The elements of HTML, each with the names of its attributes."""
    found: list[tuple[str, tuple[str, ...]]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: Any) -> None:
            found.append((tag, tuple(name for name, _ in attrs)))

    reader = Reader()
    reader.feed(source)
    reader.close()
    return found


def links(source: str) -> list[str]:
    """The addresses in HTML, decoded."""
    found: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: Any) -> None:
            found.extend(value or "" for name, value in attrs if name in ("href", "src"))

    reader = Reader()
    reader.feed(source)
    reader.close()
    return found


@pytest.mark.parametrize(
    "source",
    [
        "<a href='{{ a }}{{ b }}'>x</a>", "<a href='{{ c }}:{{ d }}'>x</a>", "<a href='{{ c }}&colon;{{ d }}'>x</a>", "<a href='{{ c }}:x'>x</a>",
        "<a href=\"{% for i in list %}{{ i }}{% endfor %}\">x</a>", "<a href='{% if a %}javascript:{% endif %}{{ d }}'>x</a>",
        "<a href='{% if a %}javascript:{% endif %}/{{ d }}'>x</a>", "<a href='java{{ b }}'>x</a>", "<a href='java&#9;{{ b }}'>x</a>",
        "<a href='{% if a %}{{ a }}{% endif %}{% if b %}{{ b }}{% endif %}'>x</a>", "<A HREF = '{{ a }}{{ b }}'>x</A>",
        "<a href='{{ a }}{% comment %}x{% endcomment %}{{ b }}'>x</a>", "<a href='{% capture u %}{{ a }}{{ b }}{% endcapture %}{{ u }}'>x</a>",
        "<a href='{{ a | append: b }}'>x</a>", "<style>p { color: red }</style><p><a href='{{ a }}{{ b }}'>x</a></p>",
    ],
)  # fmt: skip
def test_values_that_make_a_scheme_together_lead_nowhere(source: str) -> None:
    made = html(source, a="java", b="script:alert(1)", c="javascript", d="alert(1)", list=["java", "script", ":alert(1)"])
    assert [scheme_of(escape(link)) for link in links(made)] == [None]


def test_an_address_put_together_in_mjml_leads_nowhere() -> None:
    source = '<mjml><mj-body><mj-section><mj-column><mj-button href="{{ a }}{{ b }}">x</mj-button></mj-column></mj-section></mj-body></mjml>'
    spec = {"type": "email", "subject": "s", "mjml": source}
    made = rendered(spec, caller={"a": "java", "b": "script:alert(1)"}).content["html"]
    assert "#" in links(made)
    assert "script:alert" not in made


def test_an_address_put_together_in_another_template_leads_nowhere() -> None:
    made = rendered(
        {"type": "plain", "html": "{% include 'foot' %}"}, caller={"a": "java", "b": "script:x"},
        pieces={"foot": {"type": "plain", "html": "<a href='{{ a }}{{ b }}'>x</a>", "variables": {"a": {}, "b": {}}}},
    )  # fmt: skip
    assert links(made.content["html"]) == ["#"]


def test_addresses_that_values_make_in_good_faith_stay() -> None:
    source = (
        "<a href='{{ a }}{{ b }}'>1</a><a href='{{ base }}/x/{{ b }}?q={{ b }}'>2</a><a href='mailto:{{ b }}'>3</a><a href='app:open'>4</a>"
        "<img src='data:image/png;base64,{{ b }}'><img src='cid:{{ b }}'>"
    )
    made = html(source, a="https://shop.example", b="1:2", base="https://shop.example")
    assert links(made) == [
        "https://shop.example1:2", "https://shop.example/x/1:2?q=1%3A2", "mailto:1:2", "app:open", "data:image/png;base64,1:2", "cid:1:2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "source",
    [
        "<a href='javascript:{{ v }}'>x</a>", "<a href=' java&#10;script&colon;{{ v }}'>x</a>", "<a href='vbscript:{{ v }}'>x</a>",
        "<a href='data:text/html,{{ v }}'>x</a>", "<img src='data:image/svg+xml,{{ v }}'>", "<svg><a><animate attributeName='href' values='{{ v }}'/></a></svg>",
        "<svg><a><set attributeName='href' to='{{ v }}'/></a></svg>", "<svg><animate from='{{ v }}'/></svg>", "<svg><animate by='{{ v }}'/></svg>",
        "{% capture u %}<a href=\"{% endcapture %}{{ u }}{{ v }}\">", "{% capture u %}<{% endcapture %}{{ u }}", "{% capture u %}<script>{% endcapture %}{{ u }}{{ v }}",
    ],
)  # fmt: skip
def test_what_could_run_or_is_left_open_is_a_mistake(source: str) -> None:
    with pytest.raises(InvalidTemplate):
        html(source, v="x")


MADE = [
    "{% assign u = '<a href=\"' %}{{ u }}{{ v }}\">x</a>", "{{ '<a href=\"' | append: v | append: '\">x</a>' }}", "{{ '<a onclick=\"' | append: v | append: '\">x</a>' }}",
    "{{ v | split: '' | join: '<' }}", "{{ v | replace: 'a', '<b ' }}", "{{ v | prepend: '<' }}", "{{ '<' }}{{ v }}{{ '>' }}", "{{ v | default: '<b>' }}",
    "{% capture u %}<i title='{{ v }}'>{{ v }}</i>{% endcapture %}{{ u }}<b title=\"{{ u }}\">{{ u | slice: 0, 9 }}{{ u | split: '>' | first }}{{ u[0] }}</b>",
    "{% capture u %}<i title='{{ v }}'>{{ v }}</i>{% endcapture %}<title>{{ u }}</title><b>{{ u | remove: '>' }}{{ u | append: v }}{{ u | url_decode }}</b>",
    "{% capture u %}<i>{{ v }}</i>{% endcapture %}{% assign w = u | default: v %}{{ w }}{% for c in u %}{{ c }}{% endfor %}<p title='{{ u | escape_once }}'></p>",
    "<p title='{{ v | escape }}'>{{ v | escape }}{{ v | escape_once }}{{ v | strip_newlines }}{{ v | url_encode }}{{ v | url_encode | url_decode }}</p>",
    "<a href='{{ v }}{{ v }}'>x</a><a href='{{ v }}:{{ v }}'>x</a><a href='x{{ v }}'>x</a>",
]  # fmt: skip
PARTS = st.sampled_from(
    [
        "<",
        ">",
        '"',
        "'",
        "&",
        "&lt;",
        "a",
        "b",
        "script",
        "java",
        ":",
        " ",
        "onclick=",
        "x",
        "/",
        "=",
        "%3C",
        "&colon;",
        "\t",
        "\x00",
        "-->",
        "</title>",
        "i",
    ]
)


@pytest.mark.parametrize("source", MADE)
@given(st.lists(PARTS, max_size=8).map("".join))
@example("a href=x onclick=alert(1)>")
@example("javascript:alert(1)")
@example("' onclick='x")
@settings(max_examples=30, deadline=None)
def test_no_value_makes_an_element_an_attribute_or_a_scheme_that_the_template_does_not_write(source: str, value: str) -> None:
    made = html(source, v=value)
    assert seen(made) == seen(html(source, v="x"))
    assert {scheme_of(escape(link)) for link in links(made)} <= {None, "", "http", "https", "mailto", "tel", "sms"}


def test_what_is_made_in_liquid_prints_as_text() -> None:
    assert html("{% assign u = '<a href=\"' %}{{ u }}{{ v }}", v="x") == "&lt;a href=&#34;x"
    assert html("{% capture u %}<i>{{ v }}</i>{% endcapture %}{{ u }}", v="A & B") == "<i>A &amp; B</i>"
    assert html("{% capture u %}{{ v }}{% endcapture %}{{ u | upcase }}", v="a & b") == "A &amp; B"
    assert html("{{ v | newline_to_br }}", v="a\n<b>") == "a<br />\n&lt;b&gt;"
