"""The page on matching the voice, walked through: its Python and its commands answer what it shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.walkthrough import ROOT, blocks, shell, steps

PAGE = ROOT / "docs" / "how-to" / "match-the-voice.md"
BLOCKS = blocks(PAGE)

pytestmark = pytest.mark.slow


def test_the_python_of_the_page_yields_what_its_comments_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAILORBIRD_DATABASE_URL", f"sqlite:///{tmp_path / 'page.db'}")
    names: dict[str, Any] = {}
    checked = 0
    for block in (b for b in BLOCKS if b.language == "python"):
        lines = block.text.splitlines()
        done = 0
        for place, line in enumerate(lines):
            if line.startswith("# "):
                exec("\n".join(lines[done : place - 1]), names)
                assert eval(lines[place - 1], names) == eval(line[2:], {}), lines[place - 1]
                done, checked = place + 1, checked + 1
        exec("\n".join(lines[done:]), names)
    assert checked == 4


def test_the_commands_of_the_page_answer_what_it_shows(tmp_path: Path) -> None:
    shown = 0
    for block in (b for b in BLOCKS if b.language == "console"):
        for step in steps(block.text):
            done = shell(step.command.strip(), tmp_path)
            assert done.returncode == 0, (step.command, done.stderr)
            expected = "\n".join(step.shown).strip()
            assert done.stdout.strip().startswith(expected), (step.command, done.stdout)
            shown += bool(expected)
    assert shown == 2
