"""Pages that can be walked through: their fenced blocks, in order, and a shell that runs their commands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Block(NamedTuple):
    """A fenced block: the heading it stands under, its language, and its text."""

    heading: str
    language: str
    text: str


class Step(NamedTuple):
    """A command of a console block, and the lines that the page shows as its answer."""

    command: str
    shown: tuple[str, ...]


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page in order."""
    found, heading = [], ""
    for match in re.finditer(r"^## ([^\n]+)$|^```(\w+)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        if match[1]:
            heading = match[1]
        else:
            found.append(Block(heading, match[2], match[3]))
    return found


def steps(console: str) -> Iterator[Step]:
    """Yield the commands of a console block, lines that end with a backslash joined, with what is shown below each."""
    for part in re.split(r"^\$ ", console, flags=re.MULTILINE)[1:]:
        command, _, rest = part.replace("\\\n", " ").partition("\n")
        yield Step(command, tuple(rest.splitlines()))


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command as a person would, in a folder, with the scripts of this environment on the path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    plain = {name: value for name, value in os.environ.items() if not name.startswith("TAILORBIRD_")}
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, capture_output=True, text=True, encoding="utf-8", timeout=300, check=False,
        env={**plain, "PATH": path, "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
