"""The page on serving agents, walked through command by command."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.walkthrough import ROOT, blocks, shell, steps

PAGE = ROOT / "docs" / "how-to" / "serve-agents.md"


@pytest.mark.slow
def test_the_page_works_word_for_word(tmp_path: Path) -> None:
    said: dict[str, str] = {}
    for block in blocks(PAGE):
        for step in steps(block.text) if block.language == "console" else ():
            done = shell(step.command, tmp_path)
            assert done.returncode == 0, (step.command, done.stderr)
            said[step.command] = done.stdout + done.stderr
    answer = said['tailorbird invoke email:ann@example.com --query "what about pricing?"']
    assert "nurture" in answer and "Of the 2 latest interactions 1 has to do with it: email.opened" in answer
    assert "personalization" in said["tailorbird apply personalization.yaml"]
    assert "tb_" in said["tailorbird keys create assistant --scope read"]
