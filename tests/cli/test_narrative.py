"""Narrative and tone on the command line."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from cli.terminal import Terminal


def test_a_narrative_is_told_in_prose(shop: Terminal) -> None:
    text = shop("narrative", "ann")
    assert "“hot lead”" in text and "because" in text
    assert shop.json("narrative", "ann", "--language", "fr")["note"].startswith("Narratives are written in English")


def test_the_tone_of_a_file_or_of_the_input_is_shown(shop: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = tmp_path / "draft.txt"
    draft.write_text("Dear Ms Lee, we would like to inform you.", encoding="utf-8")
    assert "formality" in shop("tone", str(draft))
    shop("track", "reply.received", "--profile", "ann", "text=Hey, yep, cool!")
    assert "their own" in shop("tone", str(draft), "--profile", "ann") and "more formal" in shop("tone", str(draft), "-p", "ann")
    monkeypatch.setattr("sys.stdin", io.StringIO("Hey!"))
    assert shop.json("tone", "-")["draft"]["words"] == 1


def test_what_cannot_be_read_is_told(shop: Terminal, tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("Grüße".encode("latin-1"))
    assert "UTF-8" in shop.fails("tone", str(tmp_path / "latin.txt"))
    assert "no file" in shop.fails("tone", str(tmp_path / "none.txt"))
    assert "TAILORBIRD_LLM_URL" in shop.fails("narrative", "ann", "--author", "model")


def test_who_gets_which_language_is_shown(shop: Terminal) -> None:
    shop("identify", "--profile", "ann", "language=fr-CA")
    text = shop("languages", "en", "fr", "--fallback", "en")
    assert "prefers fr-CA" in text and "no preference is known; en is the fallback" in text
    assert shop.json("languages", "en", "--segment", "visitor")["people"] == 2
