"""The page on keeping contacts, walked through word for word."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.walkthrough import ROOT, blocks, shell, steps

PAGE = ROOT / "docs" / "how-to" / "contacts.md"


@pytest.mark.slow
def test_the_page_on_contacts_works_word_for_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "definitions").mkdir()
    monkeypatch.chdir(tmp_path)
    for block in blocks(PAGE):
        if block.language == "yaml":
            (tmp_path / "definitions" / "lifecycle.yaml").write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            exec(compile(block.text, str(PAGE), "exec"), {})
        else:
            for step in steps(block.text):
                done = shell(step.command, tmp_path)
                assert done.returncode == 0, (step.command, done.stderr)
                if shown := [line for line in step.shown if line]:
                    assert [line.rstrip() for line in done.stdout.splitlines()] == shown, step.command
    assert capsys.readouterr().out == "customer\n"
    assert "none" in shell("tailorbird contacts tasks", tmp_path).stderr
