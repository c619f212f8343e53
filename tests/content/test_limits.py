"""Templates that loop, grow, recurse or take for ever are stopped with an error that says what was too much."""

from __future__ import annotations

import pytest

from content.made import html, rendered, text
from tailorbird.content.analysis import check_text
from tailorbird.content.limits import MAX_SOURCE, Limits
from tailorbird.content.names import Known
from tailorbird.errors import InvalidTemplate, RenderFailed

SMALL = Limits(turns=1000, output=10_000)


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in (1..100000000) %}x{% endfor %}",
        "{% for i in (1..100000000) %}{% endfor %}",
        "{% for i in (1..100) %}{% for j in (1..100) %}{% for k in (1..100) %}{% endfor %}{% endfor %}{% endfor %}",
        "{% for i in (1..900) %}{% endfor %}{% for i in (1..900) %}{% endfor %}",
        "{% for i in (1..900) %}{% break %}{% endfor %}{% for i in (1..900) %}{% endfor %}",
    ],
)
def test_loops_are_counted_over_the_whole_message(source: str) -> None:
    with pytest.raises(RenderFailed, match="more than 1000 turns"):
        text(source, limits=SMALL)


@pytest.mark.parametrize(
    "source",
    [
        "{% assign a = 'xxxxxxxx' %}{% for i in (1..60) %}{% assign a = a | append: a %}{% endfor %}{{ a }}",
        "{% assign a = 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' %}{{ a | replace: 'x', a | replace: 'x', a | replace: 'x', a }}",
        "{{ (1..100000000) | join: 'x' }}",
        "{{ (1..100000000) | reverse | size }}",
        "{% assign a = 'x,x,x' | split: ',' %}{% for i in (1..60) %}{% assign a = a | concat: a %}{% endfor %}{{ a | size }}",
        "{% assign a = 9999999 %}{% for i in (1..60) %}{% assign a = a | times: a %}{% endfor %}{{ a }}",
        "{% for i in (1..900) %}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{% endfor %}",
        "{% for i in (1..900) %}{% capture a %}{{ a }}xxxxxxxxxxxxxxxxxxxxxxxxxxx{% endcapture %}{% endfor %}",
        "{{ 'x' | date: '%0999999999d' }}{{ 'now' | date: '%0999999999d' }}",
    ],
)
def test_what_grows_is_stopped(source: str) -> None:
    with pytest.raises(RenderFailed):
        text(source, limits=SMALL)


def test_a_message_of_megabytes_is_stopped_also_without_loops() -> None:
    with pytest.raises(RenderFailed, match="more than 10000 characters"):
        text("{{ v }}{{ v }}", v="x" * 6_000, limits=SMALL)
    with pytest.raises(RenderFailed, match="more than 1000000 characters"):
        html("{{ v }}" * 20, v="<" * 60_000)


def test_time_runs_out() -> None:
    with pytest.raises(RenderFailed, match="takes longer than 0"):
        text("{% for i in (1..900) %}{{ i }}{% endfor %}", limits=Limits(seconds=0))


def test_templates_within_templates_end_somewhere() -> None:
    laughs = {"t0": {"type": "plain", "body": "ha"}}
    for level in range(1, 9):
        laughs[f"t{level}"] = {"type": "plain", "body": f'{{% render "t{level - 1}" %}}' * 20}
    with pytest.raises(RenderFailed, match=r"takes longer|more than .* characters"):
        rendered({"type": "plain", "body": '{% render "t8" %}'}, pieces=laughs, limits=Limits(output=10_000, seconds=1))
    with pytest.raises(InvalidTemplate, match="no template called made"):
        rendered({"type": "plain", "body": '{% render "made" %}'})


def test_a_circle_of_templates_ends() -> None:
    circle = {"a": {"type": "plain", "body": '{% render "b" %}'}, "b": {"type": "plain", "body": '{% include "a" %}'}}
    with pytest.raises((RenderFailed, InvalidTemplate)):
        rendered({"type": "plain", "body": '{% render "a" %}'}, pieces=circle)
    circle["b"] = {"type": "plain", "body": '{% render "a" %}'}
    with pytest.raises((RenderFailed, InvalidTemplate)):
        rendered({"type": "plain", "body": '{% render "a" %}'}, pieces=circle)


def test_a_text_beyond_the_limit_is_no_template() -> None:
    assert [item.code for item in check_text("x" * (MAX_SOURCE + 1), Known())] == ["too_large"]


def test_deep_nesting_is_refused() -> None:
    found = check_text("{% if a %}" * 50 + "x" + "{% endif %}" * 50, Known(variables=["a"]))
    assert any("nesting" in item.message for item in found)
    assert check_text("{{ a" + "[a" * 5000 + "]" * 5000 + " }}", Known(variables=["a"]))


def test_nothing_but_the_instant_of_the_render_is_the_time() -> None:
    assert text("{{ 'now' | date: '%Y-%m-%d' }} {{ now | date: '%H:%M' }} {{ today | date: '%Y' }}") == "2023-11-14 22:13 2023"
    assert text("{% for i in (1..1) %}{{ 'now' | date: '%Y-%m-%d' }} {{ now | date: '%H:%M' }}{% endfor %}") == "2023-11-14 22:13"
