"""The demonstration shop as files that the bulk importer reads, so that loading it is an import like any other."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from tailorbird.core.event import PROFILE_UPDATED, Json
from tailorbird.demo.generator import PROFILES, rows

__all__ = ["COMPANY_MAPPING", "MAPPING", "ShopFile", "write_files"]

_IDENTIFIERS: Final = {
    "external_id": "identifiers.external_id", "email": "identifiers.email", "phone": "identifiers.phone",
    "anonymous_id": "identifiers.anonymous_id",
}  # fmt: skip
MAPPING: Final[Mapping[str, Json]] = {**_IDENTIFIERS, "id": "id", "type": "type", "at": "at", "data": "data"}
"""How the files of people and of what they did are to be read."""
COMPANY_MAPPING: Final[Mapping[str, Json]] = {
    "external_id": "identifiers.external_id", "id": "id", "type": "type", "at": "at", "data": "data", "kind": "=company",
}  # fmt: skip
"""How the file of companies is to be read."""


@dataclass(frozen=True, slots=True)
class ShopFile:
    """A file to be imported as events: how it is to be read, and how many rows it has."""

    path: Path
    mapping: Mapping[str, Json]
    rows: int


def write_files(folder: Path, end: int, *, seed: int = 1, profiles: int = PROFILES) -> tuple[ShopFile, ...]:
    """Write everything that happened until ``end`` as JSONL files, in the order in which they are to be imported.

    Who people say they are comes first: a set-based import does not merge profiles, so it must meet all the names of a
    person together before it meets one alone. History is in the order of time whatever the order of rows.
    """
    names = ("people", "companies", "events")
    counts = dict.fromkeys(names, 0)
    encode = msgspec.json.Encoder().encode
    with ExitStack() as stack:
        files = {name: stack.enter_context((folder / f"{name}.jsonl").open("wb")) for name in names}
        for row in rows(end, seed=seed, profiles=profiles):
            name = "companies" if row["kind"] == "company" else "people" if _names(row) else "events"
            counts[name] += 1
            files[name].write(encode(row) + b"\n")
    mappings = {"companies": COMPANY_MAPPING}
    return tuple(ShopFile(folder / f"{name}.jsonl", mappings.get(name, MAPPING), counts[name]) for name in names)


def _names(row: Mapping[str, Json]) -> bool:
    return row["type"] == PROFILE_UPDATED and "first_name" in row["data"]["attributes"]
