"""Content on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.terminal import Terminal

TEMPLATE = """
kind: template
name: hi
type: sms
body: "Hi {{ email }}, {{ code }}"
variables: {code: {}}
"""


@pytest.fixture
def ready(shop: Terminal, tmp_path: Path) -> Terminal:
    (tmp_path / "hi.yaml").write_text(TEMPLATE, encoding="utf-8")
    shop("apply", str(tmp_path / "hi.yaml"))
    return shop


def test_a_message_is_shown_with_its_sources(ready: Terminal) -> None:
    said = ready("render", "hi", "ann", "--var", "code=X7")
    assert "body: Hi ann@example.com, X7" in said
    assert "encoding GSM-7, length 22, segments 1" in said
    assert "caller" in said
    assert ready("render", "hi", "ann", "--part", "body") == "Hi ann@example.com, \n"
    assert ready.json("render", "hi", "ann")["missing"] == ["code"]
    assert "no part html" in ready.fails("render", "hi", "ann", "--part", "html")
    assert "A template and a person" in ready.fails("render", "hi")


def test_text_is_rendered_after_it_is_checked(ready: Terminal) -> None:
    assert ready("render", "--text", "<{{ email }}>", "ann", "--part", "body") == "<ann@example.com>\n"
    assert "Did you mean email?" in ready.fails("render", "--text", "{{ emial }}", "ann")


def test_a_preview_tells_languages_and_what_is_missing(ready: Terminal) -> None:
    said = ready("content", "preview", "hi", "visitor", "--all")
    assert "hi v1 for 2 of 2 in visitor" in said
    assert "as written" in said
    assert "code" in said
    assert ready.json("content", "preview", "hi", "visitor")["missing"] == {"code": 2, "email": 1}


def test_versions_are_compared(ready: Terminal, tmp_path: Path) -> None:
    (tmp_path / "hi.yaml").write_text(TEMPLATE.replace("Hi", "Hello"), encoding="utf-8")
    ready("apply", str(tmp_path / "hi.yaml"))
    assert "+Hello ann@example.com" in ready("content", "diff", "hi", "1", "2", "--profile", "ann")
    assert ready("content", "diff", "hi", "2", "2") == "no difference\n"


def test_a_file_is_checked(ready: Terminal, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<a href={{ x }}>{{ email }}</a>", encoding="utf-8")
    said = ready.fails("content", "check", str(page), "--var", "x")
    assert "has no quotes" in said
    assert "^" in said
    page.write_text('<a href="{{ x }}">{{ email }}</a>', encoding="utf-8")
    assert ready("content", "check", str(page), "--var", "x") == "all right\n"
