"""What a template becomes: values and their sources, types, languages and styles, what is missing."""

# ruff: noqa: E501  a template reads best in one line

from __future__ import annotations

import pytest

from content.made import NOW, compiled, html, person, rendered, text
from tailorbird.content.rendered import Used
from tailorbird.content.values import Facts
from tailorbird.errors import InvalidTemplate, RenderFailed

ANN = person(
    first_name="Ann",
    last_name="Lee",
    plan="pro",
    address={"city": "Lyon", "geo": None},
    tags=["a", "b"],
    name="Ann B. Lee",
    nought="",
)


def sources(source: str, who: object = ANN, **facts: object) -> dict[str, tuple[str, str]]:
    found = rendered({"type": "plain", "body": source}, who, **facts)  # type: ignore[arg-type]
    return {item.name: (item.source, item.detail) for item in found.variables}


def test_names_of_a_person_may_be_spelled_either_way() -> None:
    said = text("{{ firstName }} {{ first_name }} {{ lastName }} {{ last_name }} {{ fullName }}|{{ full_name }}", ANN)
    assert said == "Ann Ann Lee Lee Ann B. Lee|Ann B. Lee"
    assert text("{{ fullName }}", person(first_name="Ann", last_name="Lee")) == "Ann Lee"


def test_attributes_have_three_roots_and_paths() -> None:
    assert (
        text("{{ attributes.plan }} {{ custom.plan }} {{ customer.plan }} {{ custom.address.city }} {{ custom.tags[1] }}", ANN)
        == "pro pro pro Lyon b"
    )
    assert (
        text(
            "{{ custom.tags.size }} {{ custom.tags.first }} {{ custom.tags.last }} {% for t in custom.tags %}{{ t }}{% endfor %}",
            ANN,
        )
        == "2 a b ab"
    )


def test_every_variable_is_told_with_its_source() -> None:
    facts = {
        "features": {"orders": 3.0},
        "caller": {"code": "X"},
        "offer": {"title": "Free"},
        "identifiers": lambda: [("email", "ann@x.com")],
    }
    source = "{{ first_name }}{{ custom.plan }}{{ email }}{{ features.orders }}{{ code }}{{ offer.title }}{{ phone }}{{ now }}"
    assert sources(source, **facts) == {
        "first_name": ("attribute", "crm"), "attributes.plan": ("attribute", "crm"), "email": ("identifier", "email"),
        "features.orders": ("feature", "v3"), "code": ("caller", ""), "offer.title": ("offer", ""), "phone": ("missing", ""),
        "now": ("clock", ""),
    }  # fmt: skip
    found = rendered({"type": "plain", "body": source}, ANN, **facts)  # type: ignore[arg-type]
    assert Used("features.orders", "feature", "v3", 3) in found.variables
    assert found.missing == ("phone",)
    assert (found.profile, found.personalized_at) == ("p_aaaaaaaaaaaaaaaa", NOW)


def test_what_the_caller_gives_comes_first_for_names_and_never_for_attributes() -> None:
    caller = {"first_name": "Zoe"}
    assert sources("{{ firstName }}", caller=caller) == {"first_name": ("caller", "")}
    assert sources("{{ attributes.first_name }}", caller=caller) == {"attributes.first_name": ("attribute", "crm")}


def test_an_attribute_comes_before_an_identifier() -> None:
    facts = {"identifiers": lambda: [("email", "old@x.com")]}
    assert text("{{ email }}", person(email="new@x.com")) == "new@x.com"
    assert sources("{{ email }}", person(email="new@x.com"), **facts) == {"email": ("attribute", "crm")}


def test_numbers_are_printed_as_people_write_them() -> None:
    assert text("{{ a }} {{ b }} {{ c }} {{ d }}", a=3.0, b=2.5, c=True, d=[1, 2.0]) == "3 2.5 true 12"


@pytest.mark.parametrize(
    "source",
    [
        "{{ custom.none }}",
        "{{ custom.address.geo }}",
        "{{ custom.none | upcase }}",
        "{% for i in (1..2) %}{{ custom.none }}{% endfor %}",
    ],
)
def test_a_missing_value_follows_the_policy(source: str) -> None:
    spec = {"type": "plain", "body": f"[{source}]"}
    found = rendered(spec, ANN)
    assert (found.content["body"], len(found.missing)) == ("[]", 1)
    skipped = rendered({**spec, "missing": "skip"}, ANN)
    assert skipped.content == {}
    assert skipped.skipped == f"nothing is known for {found.missing[0]}"
    with pytest.raises(RenderFailed, match=r"nothing is known for attributes\.(none|address\.geo)"):
        rendered({**spec, "missing": "fail"}, ANN)


@pytest.mark.parametrize(
    "source",
    [
        '{{ custom.none | default: "x" }}',
        '{{ custom.none | upcase | default: "x" }}',
        "{% if custom.none %}{{ custom.none }}{% endif %}",
        "{% unless custom.none %}x{% endunless %}",
    ],
)
def test_what_the_template_provides_for_is_not_missing(source: str) -> None:
    assert rendered({"type": "plain", "body": source, "missing": "fail"}, ANN).missing == ()


@pytest.mark.parametrize("loop", ["", "{% assign a = 1 %}"])
def test_a_default_stands_in_by_any_spelling(loop: str) -> None:
    spec = {
        "type": "plain", "body": "{{ firstName }} {{ custom.size }} {{ code }} {{ features.orders }} {{ offer.title }}" + loop, "missing": "fail",
        "defaults": {"first_name": "friend", "attributes.size": 7, "features.orders": 0, "offer.title": "it"}, "variables": {"code": {"default": "Y"}},
    }  # fmt: skip
    found = rendered(spec, person(first_name=""))
    assert found.content["body"] == "friend 7 Y 0 it"
    assert {item.source for item in found.variables} == {"default"}


@pytest.mark.parametrize("tail", ["", "{% assign a = 1 %}"])
def test_both_ways_of_rendering_say_the_same(tail: str) -> None:
    body = (
        "{% if first_name == 'Ann' %}A{% elsif first_name %}B{% else %}C{% endif %}{% unless custom.none %}D{% endunless %}{% if custom.tags contains 'a' %}E{% endif %}"
        "{% if custom.nought == blank %}F{% endif %}{% if n > 2 and n < 4 %}G{% endif %}{% if custom.none %} {% else %}H{% endif %}{% if x.y %}I{% endif %}{{ x.y | times: 2 }}"
        "{% if no %}J{% endif %}{% comment %}{{ zzz }}{% endcomment %}{% raw %}{{ k }}{% endraw %}{{- ' L ' -}} {% if n %} {% endif %}{% case n %}{% when 3 %}M{% endcase %}"
    )
    assert text(body + tail, ANN, n=3, x={"y": 4}, no=False) == "ADEFGHI8{{ k }} L M"


def test_an_email_has_headers_of_one_line_and_a_text_of_its_own() -> None:
    page = '<style>p { color: red } @media print { p { color: blue } }</style><h1>Hi {{ first_name }}</h1><p>Go <a href="https://x.example/{{ custom.plan }}?n={{ name }}">here</a></p>'
    found = rendered(
        {"type": "email", "subject": "Hi\n{{ name }}", "preheader": "{{ name }}", "html": page},
        ANN,
        caller={"name": "A\r\nB & <C>"},
    )
    assert found.content["subject"] == "Hi A B & <C>"
    assert found.content["preheader"] == "A B & <C>"
    assert (
        '<p style="color: red;">Go <a href="https://x.example/pro?n=A%20B%20%26%20%3CC%3E">here</a></p>' in found.content["html"]
    )
    assert "@media print" in found.content["html"]
    assert found.content["text"] == "Hi Ann\n\nGo here (https://x.example/pro?n=A%20B%20%26%20%3CC%3E)"
    assert list(found.content) == ["subject", "preheader", "html", "text"]


def test_styles_that_depend_on_values_are_inlined_for_every_message() -> None:
    page = '<style>.pro { color: red }</style><p class="{{ custom.plan }}">x</p><table>{% for t in custom.tags %}<tr><td>{{ t }}</td></tr>{% endfor %}</table>'
    found = rendered({"type": "email", "subject": "s", "html": page}, ANN).content
    assert '<p class="pro" style="color: red;">x</p>' in found["html"]
    assert "<tbody><tr><td>a</td></tr><tr><td>b</td></tr></tbody>" in found["html"]
    assert found["text"].split() == ["x", "a", "b"]


def test_no_style_sheet_is_fetched() -> None:
    page = '<link rel="stylesheet" href="http://127.0.0.1:9/a.css"><link rel="stylesheet" href="file:///etc/passwd"><style>p { color: red }</style><p>x</p>'
    assert "root:" not in html(page)


def test_mjml_becomes_html() -> None:
    body = (
        "<mjml><mj-body>{% if custom.plan == 'pro' %}<mj-section><mj-column><mj-text>Hi {{ first_name | default: \"you\" }}</mj-text>"
        '<mj-button href="{{ offer.url }}">Go</mj-button></mj-column></mj-section>{% endif %}</mj-body></mjml>'
    )
    found = rendered(
        {"type": "email", "subject": "s", "mjml": body}, person(first_name="<b>", plan="pro"), offer={"url": "javascript:x"}
    ).content
    assert "Hi &lt;b&gt;" in found["html"]
    assert 'href="#"' in found["html"]
    assert "javascript" not in found["html"]
    assert "Hi <b>" in found["text"]


@pytest.mark.parametrize("bad", ["<mjml>", "no", "<mjml><mj-body><mj-include path='/etc/passwd' /></mj-body></mjml>"])
def test_what_is_no_mjml_is_refused(bad: str) -> None:
    with pytest.raises(InvalidTemplate, match="MJML"):
        rendered({"type": "email", "subject": "s", "mjml": bad})


def test_a_text_message_is_counted_and_limited() -> None:
    spec = {"type": "sms", "body": "Hi {{ first_name }}", "max_segments": 1}
    assert rendered(spec, ANN).facts == {"encoding": "GSM-7", "length": 6, "segments": 1}
    assert rendered(spec, person(first_name="Zoë 👋")).facts == {"encoding": "UCS-2", "length": 9, "segments": 1}
    with pytest.raises(RenderFailed, match="takes 2 segments"):
        rendered(spec, person(first_name="x" * 160))


def test_a_post_keeps_to_its_network() -> None:
    spec = {"type": "social", "body": "{{ v }}", "network": "x"}
    assert rendered(spec, caller={"v": "a" * 280}).facts == {"length": 280, "limit": 280, "network": "x"}
    with pytest.raises(RenderFailed, match="281 characters; x takes 280"):
        rendered(spec, caller={"v": "a" * 281})


def test_a_language_and_a_style_choose_the_texts() -> None:
    spec = {
        "type": "email", "subject": "Hi", "html": "<p>Hi {{ first_name }}</p>",
        "variants": {
            "fr": {"subject": "Salut", "html": "<p>Voilà</p>"}, "fr/formal": {"subject": "Bonjour"}, "formal": {"html": "<p>Dear {{ full_name }}</p>"},
        },
    }  # fmt: skip

    def said(language: str, style: str | None) -> tuple[str, str]:
        found = compiled(spec, language=language, style=style).render(Facts(ANN, now=NOW)).content
        return found["subject"], found["html"]

    assert said("en", None) == ("Hi", "<p>Hi Ann</p>")
    assert said("fr", None) == ("Salut", "<p>Voilà</p>")
    assert said("fr", "formal") == ("Bonjour", "<p>Voilà</p>")
    assert said("en", "formal")[1] == "<p>Dear Ann B. Lee</p>"


def test_another_template_is_rendered_by_name_in_the_same_part_and_language() -> None:
    footer = {
        "type": "plain",
        "body": "-- {{ year }} {{ custom.plan }}",
        "html": "<hr>{{ year }}",
        "variants": {"fr": {"body": "fin", "html": "<hr>fin"}},
    }
    spec = {
        "type": "email",
        "subject": "s",
        "html": '<p>a</p>{% render "footer", year: "<1>" %}',
        "text": 'a {% render "footer", year: "<1>" %}',
    }
    found = compiled(spec, footer=footer).render(Facts(ANN, now=NOW))
    assert found.content["html"] == "<p>a</p><hr><1>" or found.content["html"] == "<p>a</p><hr>&lt;1&gt;"
    assert found.content["text"] == "a -- <1> pro"
    assert [item.name for item in found.variables] == ["attributes.plan"]
    with pytest.raises(InvalidTemplate, match="no template called footer"):
        compiled({"type": "plain", "html": '{% render "footer" %}'}, footer={"type": "plain", "body": "x"})


def test_an_error_while_rendering_names_the_part_and_the_place() -> None:
    with pytest.raises(RenderFailed, match=r"body: line 2, column 8: .*\n  \{\{ 1 \| divided_by: v \}\}\n"):
        text("a\n{{ 1 | divided_by: v }}", v=0)
