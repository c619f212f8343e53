"""The reference of the command line names every command with every option, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from tailorbird.cli.main import app

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")


def commands(command: Any = None, path: str = "tailorbird") -> Iterator[tuple[str, Any]]:
    """Yield every command that does something, by its full name."""
    command = command or typer.main.get_command(app)
    inner = getattr(command, "commands", {})
    for name, found in inner.items():
        yield from commands(found, f"{path} {name}")
    if not inner:
        yield path, command


COMMANDS = dict(commands())
SECTIONS = {
    name: body
    for heading, body in re.findall(r"^### (.+?)$\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    for name in re.findall(r"`(tailorbird(?: [a-z]+)+)", heading)
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_reference_with_its_options(name: str) -> None:
    assert name in SECTIONS, f"docs/reference/cli.md has no heading `{name} …`"
    section = SECTIONS[name]
    options = [
        option for item in COMMANDS[name].params for option in (*item.opts, *item.secondary_opts) if option.startswith("--")
    ]
    missing = [option for option in options if option != "--help" and f"`{option}" not in section]
    assert not missing, f"the section on {name} says nothing of {missing}"


def test_the_reference_names_no_command_that_is_not_there() -> None:
    groups = {name.rpartition(" ")[0] for name in COMMANDS}
    assert not set(SECTIONS) - set(COMMANDS) - groups


def test_the_options_before_every_command_are_in_the_reference() -> None:
    for item in typer.main.get_command(app).params:
        for option in item.opts:
            assert f"`{option}`" in PAGE


def test_every_page_that_shows_commands_shows_commands_that_are_there() -> None:
    root = Path(__file__).parents[2]
    groups = {name.rpartition(" ")[0] for name in COMMANDS if name.count(" ") == 2}
    wrong = []
    for page in [root / "README.md", *(root / "docs").rglob("*.md"), *(root / "examples").rglob("*.md")]:
        for line in re.findall(r"^\$ (tailorbird .+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
            words = re.sub(r"(--database|-d) \S+ |--json ", "", line).split()
            one, two = " ".join(words[:2]), " ".join(words[:3])
            if (one not in COMMANDS and one not in groups) or (
                one in groups and len(words) > 2 and words[2][0] not in "-#" and two not in COMMANDS
            ):
                wrong.append(f"{page.name}: {line}")
    assert not wrong
