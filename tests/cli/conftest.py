"""What the tests of the command line share: a terminal on an empty database, and a few definitions."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.terminal import Terminal

DEFINITIONS = """
kind: segment
name: hot_lead
description: Looked at prices again and again
when: count(page.viewed where url contains "/pricing", within 7d) >= 3 and country = "FR"
---
kind: segment
name: visitor
when: did(page.viewed)
---
kind: segment
name: testers
members: manual
---
kind: feature
name: views_7d
value: count(page.viewed, within 7d)
view: browsing
---
kind: feature
name: last_page
type: text
value: last(page.viewed.url)
"""


@pytest.fixture
def cli(tmp_path: Path) -> Terminal:
    """A terminal on an empty database."""
    return Terminal(str(tmp_path / "shop.db"))


@pytest.fixture
def definitions(tmp_path: Path) -> Path:
    """A folder with three segments and two features."""
    folder = tmp_path / "definitions"
    folder.mkdir()
    (folder / "all.yaml").write_text(DEFINITIONS, encoding="utf-8")
    return folder


@pytest.fixture
def shop(cli: Terminal, definitions: Path) -> Terminal:
    """A terminal on a database with definitions, Ann who is a hot lead, and Ben who is a visitor."""
    cli("identify", "--profile", "ann", "country=FR", "email=ann@example.com", "--also", "email=ann@example.com")
    for url in ("/pricing", "/pricing/team", "/pricing"):
        cli("track", "page.viewed", "--profile", "ann", f"url={url}")
    cli("track", "page.viewed", "--profile", "ben", "url=/")
    cli("apply", str(definitions))
    return cli
