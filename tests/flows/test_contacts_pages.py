"""The pages on contacts, walked through: their commands run, their Python runs, and the file they show is what is written."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import pytest

from flows.walkthrough import ROOT, blocks, shell, steps
from tailorbird.engine import Engine

HOW_TO = ROOT / "docs" / "how-to"
FILE_PAGE = ROOT / "docs" / "reference" / "contact-file.md"
SEGMENT = {"kind": "segment", "name": "hot_lead", "when": 'status = "engaged"'}


def contact_file(folder: Path) -> Path:
    shown = next(block.text for block in blocks(FILE_PAGE) if block.language == "json")
    (folder / "contacts.json").write_text(shown, encoding="utf-8")
    return folder / "contacts.json"


def test_the_contact_file_that_is_shown_is_what_comes_out(tmp_path: Path) -> None:
    path = contact_file(tmp_path)
    with Engine.open(str(tmp_path / "tailorbird.db")) as engine:
        engine.directory.read_contacts(path)
        engine.directory.write_contacts(tmp_path / "out.json")
    assert (tmp_path / "out.json").read_text(encoding="utf-8") == path.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("page", [HOW_TO / "find-contacts.md", HOW_TO / "campaigns.md", FILE_PAGE], ids=lambda page: page.stem)
def test_every_command_of_the_page_works(page: Path, tmp_path: Path) -> None:
    with Engine.open(str(tmp_path / "tailorbird.db")) as engine:
        engine.directory.read_contacts(contact_file(tmp_path))
        engine.apply([SEGMENT])
    (tmp_path / "visitors.csv").write_text("E-Mail,First Name\nBen@Example.org,Ben\nno address,x\n", encoding="utf-8")
    said: list[str] = []
    for block in blocks(page):
        for step in steps(block.text) if block.language == "console" else ():
            command = step.command
            if "campaign undo" in command:  # the page shows an id; ours is another
                listed = shell("tailorbird --json campaign list", tmp_path)
                command = shlex.join([*shlex.split(command)[:-1], json.loads(listed.stdout)[0]["id"]])
            done = shell(command, tmp_path)
            assert done.returncode == 0, (command, done.stderr)
            said.append(done.stdout)
    assert "".join(said)


@pytest.mark.parametrize("page", ["find-contacts", "campaigns"])
def test_the_python_of_the_page_works(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "visitors.csv").write_text("email\nben@example.org\n", encoding="utf-8")
    with Engine.open(str(tmp_path / "tailorbird.db")) as engine:
        engine.identify(identifiers={"email": "eve@example.org"}, attributes={"city": "Paris"})
        engine.tag("email:eve@example.org", "vip")
        for block in blocks(HOW_TO / f"{page}.md"):
            if block.language == "python":
                exec(compile(block.text, page, "exec"), {"engine": engine, "print": lambda *_: None})
        assert engine.directory.count() == 1
    assert os.path.exists(tmp_path / "tailorbird.db.search")
