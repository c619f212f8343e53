"""The README, walked through word for word: its commands, its Python, and its numbers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from flows.walkthrough import ROOT, blocks, shell, steps

README = ROOT / "README.md"
ORDERS = Path(os.environ.get("TAILORBIRD_CDNOW") or ROOT.parent / "shared" / "data" / "cdnow" / "orders.csv")
COUNTS = {"1997-04-01": "242", "1997-11-15": "664", "1998-07-01": "612"}

pytestmark = pytest.mark.slow


def walk(heading: str, folder: Path) -> Mapping[str, str]:
    """Run the first console block under a heading; return what each command answered."""
    console = next(b.text for b in blocks(README) if b.heading == heading and b.language == "console")
    answers = {}
    for step in steps(console):
        if step.command.startswith(". "):  # the environment of the test is the one that the README means
            continue
        done = shell(step.command, folder)
        assert done.returncode == 0, (step.command, done.stdout, done.stderr)
        answers[step.command.partition("#")[0].strip()] = done.stdout
    return answers


def folder_with_definitions(tmp_path: Path) -> Path:
    """Return a folder as the README supposes it: the YAML from its first lines stands in definitions/."""
    (tmp_path / "definitions").mkdir()
    segment = next(b.text for b in blocks(README) if b.language == "yaml")
    (tmp_path / "definitions" / "hot_lead.yaml").write_text(segment, encoding="utf-8")
    return tmp_path


def test_the_commands_of_the_section_on_use_work(tmp_path: Path) -> None:
    answers = walk("Use it", folder_with_definitions(tmp_path))
    assert len(answers) >= 6
    assert "country" in answers["tailorbird profile ann"]
    assert answers["tailorbird why ann hot_lead"].startswith("ann is not in hot_lead")
    assert "1 of 3" in answers["tailorbird why ann hot_lead"]
    (count,) = [said for command, said in answers.items() if command.startswith("tailorbird evaluate")]
    assert count == "1 of 1 (100.0 %)\n"


def test_the_commands_of_the_section_on_contacts_work(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    answers = walk("A CRM of its own, and a voice for every contact", tmp_path)
    said = list(answers.values())
    assert "11 people came" in said[0] and "[engaged]" in said[2]
    assert "Hi Ann" in said[4] and "Dear Ben" in said[5]
    assert "case studies" in said[6] or "opt-out" in said[6]


def test_the_python_of_the_readme_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder_with_definitions(tmp_path))
    monkeypatch.delenv("TAILORBIRD_DATABASE_URL", raising=False)
    from tailorbird import Engine

    with Engine.open() as engine:  # what the lines' comments say holds for somebody who looked at prices twice before
        engine.identify("ann", attributes={"country": "FR"})
        for _ in range(2):
            engine.track("page.viewed", profile="ann", url="/pricing")
    names: dict[str, Any] = {}
    exec(compile(next(b.text for b in blocks(README) if b.language == "python"), str(README), "exec"), names)
    try:
        assert names["engine"].profile("ann").segments == ("hot_lead",)
        assert names["engine"].why("ann", "hot_lead").value is True
    finally:
        names["engine"].close()


@pytest.mark.skipif(not ORDERS.exists(), reason=f"{ORDERS} is not there; name the file with TAILORBIRD_CDNOW")
def test_the_file_of_orders_gives_the_numbers_of_the_readme(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    shutil.copy(ORDERS, tmp_path / "orders.csv")
    heading = "A file of orders, any instant"
    answers = walk(heading, tmp_path)
    for date, count in COUNTS.items():
        (said,) = [said for command, said in answers.items() if "champions" in command and date in command]
        assert said.split()[0] == count, date
    text = README.read_text(encoding="utf-8")
    assert "The three counts are 242, 664 and 612" in text
    (why,) = [said for command, said in answers.items() if " why " in command]
    assert why.startswith("00004 is in lapsed")
    again = walk(heading, tmp_path)
    (loaded,) = [said for command, said in again.items() if " import " in command]
    assert "imported before" in loaded or " 0 loaded" in loaded, "importing the file again must change nothing"
