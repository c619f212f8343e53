"""The reference of definitions names every kind and every field, and its examples are definitions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tailorbird.core.definition import Kind
from tailorbird.definitions.fields import FIELDS
from tailorbird.definitions.files import read

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "definitions.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("kind", Kind)
def test_every_field_of_a_kind_stands_in_its_section_and_no_other(kind: Kind) -> None:
    told = set(re.findall(r"^\| `(\w+)` \|", SECTIONS[kind], re.MULTILINE)) - {"name"}
    assert told == {field.name for field in FIELDS[kind]} - {"description"}


def test_the_examples_are_definitions() -> None:
    examples = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert examples
    for example in examples:
        assert read(example)


@pytest.mark.parametrize("folder", sorted((ROOT / "examples").glob("*/definitions")), ids=lambda p: p.parent.name)
def test_the_examples_that_are_shipped_check(folder: Path) -> None:
    assert all(document.spec.get("description") for document in read(folder))
