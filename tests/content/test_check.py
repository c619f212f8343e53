"""What is wrong with a template is told when it is applied, all at once, with its place."""

# ruff: noqa: E501  a template reads best in one line

from __future__ import annotations

import pytest

from tailorbird.content.analysis import check_text
from tailorbird.content.names import Known
from tailorbird.content.spec import check_template, mentions

KNOWN = Known(attributes=["plan", "address.city"], features=["orders"], variables=["code"], pieces=["footer"])


def told(source: str, part: str = "body") -> list[str]:
    return [item.render(source) for item in check_text(source, KNOWN, part)]


@pytest.mark.parametrize(
    "source",
    [
        "{{ firstName }}{{ last_name }}{{ email }}{{ now }}{{ today }}{{ code }}{{ code.x[0] }}{{ offer.anything }}",
        "{{ attributes.plan }}{{ custom.address.city }}{{ custom.address }}{{ attributes.company }}{{ customer.account.tier }}{{ features.orders }}",
        "{% for i in code %}{{ i }}{{ forloop.index }}{% endfor %}{% assign a = code %}{{ a }}{% capture b %}{% endcapture %}{{ b }}",
        '{% render "footer", year: code %}{% include "footer" %}{% case code %}{% when 1 %}{% endcase %}',
    ],
)
def test_what_there_is_may_be_named(source: str) -> None:
    assert told(source) == []


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("Hi\n  {{ frist_name }}", "line 2, column 6: there is no variable called frist_name\n    {{ frist_name }}\n       ^^^^^^^^^^\n  Did you mean first_name?"),
        ("{{ plan }}", "line 1, column 4: there is no variable called plan\n  {{ plan }}\n     ^^^^\n  Attributes are written attributes.plan."),
        ("{{ orders }}", "line 1, column 4: there is no variable called orders\n  {{ orders }}\n     ^^^^^^\n  Features are written features.orders."),
        ("{{ custom.plam }}", "line 1, column 4: there is no attribute called plam\n  {{ custom.plam }}\n     ^^^^^^^^^^^\n  Did you mean attributes.plan?"),
        ("{{ features.x }}", "line 1, column 4: there is no feature called x\n  {{ features.x }}\n     ^^^^^^^^^^\n  List what there is with: tailorbird features"),
        ("{{ email | upcse }}", "line 1, column 12: there is no filter called upcse\n  {{ email | upcse }}\n             ^^^^^\n  Did you mean upcase?"),
        ('{% render "x" %}', "line 1, column 4: there is no other template called x\n  {% render \"x\" %}\n     ^^^^^^"),
    ],
)  # fmt: skip
def test_a_mistake_has_line_column_caret_and_a_hint(source: str, wanted: str) -> None:
    assert told(source) == [wanted]


def test_mistakes_of_every_sort_are_told_together_in_their_order() -> None:
    source = "{{ a }}\n{{ email | foo }}\n{% bar %}\n{{ features.none }}\n{% for %}{% endfor %}\n{{ custom.zzz }}"
    assert [item.split(":")[0] for item in told(source)] == [
        f"line {n}, column {c}" for n, c in [(1, 4), (2, 12), (3, 4), (4, 4), (5, 4), (6, 4)]
    ]


def spec(**fields: object) -> dict[str, object]:
    return {"type": "email", "subject": "s", "html": "<p>", **fields}


@pytest.mark.parametrize(
    ("given", "where"),
    [
        (spec(subject=""), "subject"),
        (spec(html=""), "html"),
        (spec(mjml="<mjml>"), "mjml"),
        (spec(body="x"), "body"),
        (spec(network="x"), "network"),
        (spec(max_segments=2), "max_segments"),
        ({"type": "sms"}, "body"),
        (spec(variants={"en": {"subject": "a", "html": "b"}}), "variants.en"),
        (spec(variants={"fr": {"subject": "a"}}), "variants.fr"),
        (spec(variants={"fr/loud": {"subject": "a"}}), "variants.fr/loud"),
        (spec(variants={"formal": {"body": "a"}}), "variants.formal.body"),
        (spec(fallback=["de"]), "fallback"),
        (spec(variables={"attributes": {}}), "variables.attributes"),
        (spec(defaults={"frist": 1}), "defaults.frist"),
    ],
)
def test_fields_that_do_not_go_together_are_mistakes(given: dict[str, object], where: str) -> None:
    assert [item.where for item in check_template(given)] == [where]


def test_fields_that_go_together_are_none() -> None:
    variants = {"fr": {"subject": "a", "mjml": "b"}, "formal": {"subject": "c"}, "fr/casual": {"html": "d"}}
    assert (
        check_template(spec(variants=variants, fallback=["fr", "en"], defaults={"first_name": "x", "custom.a": 1}, preheader="p"))
        == []
    )


def test_what_a_template_mentions_is_read_without_reading_liquid() -> None:
    found = mentions(
        {
            "type": "plain",
            "body": '{{ features.a }} features.no {% if custom.plan.x %}{% render "t" %}',
            "variants": {"fr": {"body": "{{ features.b }}"}},
        }
    )
    assert found == (frozenset({"a", "b"}), frozenset({"plan.x"}), frozenset({"t"}))
