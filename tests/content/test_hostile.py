"""Whatever people's data holds, it becomes no markup, no header, no address that runs, and no template code."""

# ruff: noqa: E501  a template reads best in one line

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from content.made import html, person, rendered, text
from tailorbird.content.analysis import check_text
from tailorbird.content.check import check_source
from tailorbird.content.limits import Limits
from tailorbird.content.names import Known
from tailorbird.errors import InvalidTemplate, TailorbirdError

NASTY = [
    "<script>alert(1)</script>", '" onmouseover="alert(1)', "' onclick='x", "</title><script>x</script>", "-->", "<!--", "]]>",
    "javascript:alert(1)", " jAvAsCrIpT:alert(1)", "java\nscript:alert(1)", "data:text/html,<script>", "vbscript:x", "&#106;avascript:x",
    "{{ email }}", "{% for i in (1..9) %}x{% endfor %}", "{{ 'x' | append: 'y' }}", "%7B%7B", "a\r\nBcc: all@example.com", "a\nb", "a\x00b",
    "\u2028x", "expression(alert(1))", "red;background:url(//evil)", "{% raw %}", "lqz0q", "<!--lqz0q-->", "&lt;script&gt;", "\\",
]  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(NASTY), st.text(max_size=40), st.tuples(st.sampled_from(NASTY), st.text(max_size=5)).map("".join)
)
PAGE = (
    "<style>p { color: {{ color }} } a { color: blue }</style><title>{{ v }}</title><p title=\"{{ v }}\" style='color: {{ v }}'>{{ v }} {{ v | upcase }}"
    '{{ v | append: "!" }}{{ "<b>" | append: v }}{{ v | newline_to_br }}{{ v | strip_html }}{{ v | escape_once }}{{ v | url_decode }}</p><!-- {{ v }} -->'
    '<a href="{{ v }}">1</a><a href="https://shop.example/{{ v }}?q={{ v }}&amp;r={{ v | url_encode }}">2</a><img src="{{ v }}" alt="{{ v }}">'
    "{% capture c %}<i>{{ v }}</i>{% endcapture %}{{ c }}<b title=\"{{ c | strip_html }}\">{{ v | split: '' | join: '' }}</b>{{ list }}"
    '<a href="{{ v | split: "" | join: "" }}">3</a><a href="{{ "" | append: v }}">4</a>'
)


class Seen(HTMLParser):
    """What a mail program would find in HTML."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]


@given(VALUES)
@settings(max_examples=150, deadline=None)
def test_no_value_adds_an_element_or_an_attribute_or_an_address_that_runs(value: str) -> None:
    harmless = html(PAGE, color="x", v="x", list=["x"])
    found = html(PAGE, color=value, v=value, list=[value])
    seen = Seen(found)
    assert [tag for tag in seen.tags if tag != "br"] == Seen(harmless).tags
    assert [name for name, _ in seen.attributes] == [name for name, _ in Seen(harmless).attributes]
    for name, address in seen.attributes:
        if name in ("href", "src"):
            bare = re.sub(r"[\x00-\x20]", "", address).lower()
            assert re.match(r"(https?|mailto|tel|sms):|[^:]*([/?#]|$)", bare), address
        if name == "style":
            assert "(" not in address.removeprefix("color:") and ";" not in address.removeprefix("color: ").rstrip(";")


@given(VALUES)
@settings(max_examples=100, deadline=None)
def test_no_value_adds_a_line_to_a_header(value: str) -> None:
    spec = {"type": "email", "subject": "Hi {{ v }}, {{ first_name }}", "preheader": "{{ v | upcase }}", "text": "{{ v }}"}
    found = rendered(spec, person(first_name=value), caller={"v": value})
    for part in ("subject", "preheader"):
        assert len(found.content[part].splitlines()) <= 1
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", found.content[part])


@given(VALUES)
@settings(max_examples=100, deadline=None)
@pytest.mark.parametrize("type_", ["plain", "sms", "social"])
def test_a_value_is_never_read_as_a_template(type_: str, value: str) -> None:
    said = rendered({"type": type_, "body": "[{{ v }}]"}, caller={"v": value}).content["body"]
    assert said == "[" + re.sub("[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f]", "", value.replace("\r\n", "\n")) + "]"


def test_what_the_template_itself_writes_is_markup_and_what_quoted_texts_and_filters_make_is_not() -> None:
    assert html('<b>{{ "<b>" }}{{ v }}</b>', v="<b>") == "<b>&lt;b&gt;&lt;b&gt;</b>"


def test_no_filter_declares_a_value_safe() -> None:
    with pytest.raises(InvalidTemplate, match="no filter called safe"):
        check_source("{{ first_name | safe }}", Known(), "html")


@pytest.mark.parametrize(
    "source",
    [
        "<script>var a = '{{ v }}'</script>", "<a onclick='x(\"{{ v }}\")'>a</a>", "<a href={{ v }}>a</a>", "<{{ v }}>", "<a {{ v }}>",
        "<a {{ v }}='x'>", "<iframe srcdoc='{{ v }}'></iframe>", "<meta http-equiv='refresh' content='0;url={{ v }}'>", "<p title=\"{{ v }}",
        "{% if v %}<a href='{% else %}<p>{% endif %}{{ v }}", "{% for i in v %}<a title=\"{% endfor %}", "<a title='{% include \"x\" %}'>",
    ],
)  # fmt: skip
def test_where_no_escaping_is_safe_a_value_may_not_stand(source: str) -> None:
    found = check_text(source, Known(variables=["v"], pieces=["x"]), "html")
    assert [item.code for item in found if item.code in ("unsafe_place", "open_markup")]


def test_the_name_of_another_template_is_never_computed() -> None:
    for source in ("{% include v %}", "{% render v %}", "{% assign t = 'x' %}{% include t %}"):
        assert [item.code for item in check_text(source, Known(variables=["v"]))] in (
            ["computed_name"],
            ["computed_name", "unknown_variable"],
        )


def test_the_name_of_a_variable_is_never_computed() -> None:
    for source in ("{{ [v] }}", "{{ attributes[v] }}", "{{ features[v] }}"):
        assert "unknown_variable" in [item.code for item in check_text(source, Known(variables=["v"]))]


LIQUID = st.lists(
    st.sampled_from(
        [
            "{{", "}}", "{%", "%}", " ", "if", "endif", "else", "for", "endfor", "in", "x", "first_name", "|", "append", ":", "'a'", "\"", "1", "(", "..", ")",
            "[", "]", ".", "assign", "=", "capture", "endcapture", "case", "when", "endcase", "raw", "endraw", "comment", "endcomment", "-", "<a href=\"", "\">",
            "<!--", "-->", "<", ">", "times", "date", "'%Y'", "include", "render", "'t'", "forloop", "size", "nil", "contains", "and", "==", "<script>", "\n", "é",
            "99999999999999999999", "split", "join", ",", "#", "unless", "endunless", "limit", "offset", "continue", "slice", "replace", "truncate", "{{ x | ", " }}",
            "{% if x %}", "{% endif %}", "{% for i in (1..9999999) %}", "{% endfor %}", "{{ x }}", "{{ x | times: x }}", "sort", "sum", "map", "where", "'x'",
        ]
    ),
    max_size=25,
).map("".join)  # fmt: skip


@given(
    st.one_of(LIQUID, st.text(max_size=60)),
    st.sampled_from(["body", "html", "subject"]),
    st.one_of(VALUES, st.integers(), st.none(), st.lists(st.integers(), max_size=3)),
)
@settings(max_examples=400, deadline=None)
@example("{{ x | date: '%Q' }}", "body", 1)
@example("{{ x | times: 1e400 }}", "body", 1)
@example("{{ x | divided_by: 0 }}", "body", 1)
@example("{% assign a = 'x' %}{{ a[0] }}{{ a.b.c }}", "body", 1)
def test_no_template_ends_in_anything_but_our_errors(source: str, part: str, value: Any) -> None:
    spec = {"type": "email", "subject": "s", "text": "t", part if part != "body" else "text": source}
    try:
        check_source(source, Known(anything=True), "text" if part == "body" else part)
        rendered(spec, person(first_name="Ann"), caller={"x": value}, limits=Limits(seconds=1.0))
    except TailorbirdError as error:
        assert str(error)


def test_text_keeps_what_html_escapes() -> None:
    assert text("{{ v }}", v="Lee & Sons <x>") == "Lee & Sons <x>"
