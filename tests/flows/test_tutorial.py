"""The tutorial, walked through word for word."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from flows.walkthrough import ROOT, blocks, shell, steps

PAGE = ROOT / "docs" / "tutorial" / "first-segment.md"


@pytest.mark.slow
def test_the_tutorial_works_word_for_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "definitions").mkdir()
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    said: dict[str, str] = {}
    for block in blocks(PAGE):
        if block.language == "yaml":
            (tmp_path / "definitions" / "hot_lead.yaml").write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            exec(compile(block.text, str(PAGE), "exec"), names)
        else:
            assert block.language == "console"
            for step in steps(block.text):
                done = shell(step.command, tmp_path)
                wrong = block.heading.endswith("When you mistype")
                assert done.returncode == (1 if wrong else 0), (step.command, done.stderr)
                if step.shown:
                    assert done.stdout.splitlines() == list(step.shown), step.command
                said[f"{block.heading}: {step.command}"] = done.stdout + done.stderr
    entering = "3. A segment: tailorbird track page.viewed --profile ann url=/pricing"
    assert "entered: hot_lead" in said[entering]
    assert "ann@example.com" in said["3. A segment: tailorbird segments members hot_lead"]
    assert "3 of 3" in said["4. Why: tailorbird why ann hot_lead"]
    assert "ben is not in hot_lead" in said["4. Why: tailorbird why ben hot_lead"]
    assert "hot_lead v1" in said["6. Changing it safely: tailorbird definitions rollback segment hot_lead"]
    assert "^" in said["7. When you mistype: tailorbird evaluate 'count(page.viewed, within 7 weeks) > 3'"]
    assert os.listdir(tmp_path / "definitions") == ["hot_lead.yaml"]
