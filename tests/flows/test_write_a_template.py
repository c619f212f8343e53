"""The page on writing a template, walked through word for word."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.walkthrough import ROOT, blocks, shell, steps

PAGE = ROOT / "docs" / "how-to" / "write-a-template.md"


@pytest.mark.slow
def test_the_page_works_word_for_word(tmp_path: Path) -> None:
    (tmp_path / "definitions").mkdir()
    said: dict[str, str] = {}
    for block in blocks(PAGE):
        if block.language == "yaml":
            (tmp_path / "definitions" / "welcome.yaml").write_text(block.text, encoding="utf-8")
            continue
        for step in steps(block.text):
            done = shell(step.command, tmp_path)
            assert done.returncode == ("frist_name" in step.command), (step.command, done.stderr)
            if step.shown:
                assert done.stdout.splitlines() == list(step.shown), step.command
            said[step.command] = done.stdout + done.stderr
    message = said["tailorbird render welcome ann"]
    assert '<p style="color: #333333;">Hi Ann,</p>' in message
    assert "https://shop.example/me?mail=ann%40example.com" in message
    assert "Your account (https://shop.example/me?mail=ann%40example.com)" in message
    assert "support_line" in message
    counts = said["tailorbird content preview welcome buyers --all"]
    assert "2 of 2 in buyers" in counts
    assert "prefers fr-CA" in counts
    assert "Did you mean first_name?" in said['tailorbird render --text "Hi {{ frist_name }}" ann']
