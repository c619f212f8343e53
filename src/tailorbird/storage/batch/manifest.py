"""What the columnar folder holds: which files cover which events, so that anything amiss is seen and made again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

__all__ = ["VERSION", "Chunk", "Manifest", "Snapshot", "load", "locked", "save"]

VERSION: Final = 1
"""The version of the files' layout; a folder of another version is made again."""

_NAME: Final = "manifest.json"


class Chunk(msgspec.Struct, kw_only=True):
    """A file of rows whose key (seq of events, key of profiles) lies in ``[first, last]``.

    ``mark`` is the id of the row at ``last`` when it was written: another there means another database. ``columns`` lists
    (kind, path) of the typed columns; ``leftovers`` tells whether some rows keep their JSON. ``size`` is in bytes;
    ``news`` the latest instant of a ``profile.updated`` in it.
    """

    file: str
    first: int
    last: int
    rows: int
    size: int
    mark: str = ""
    columns: list[tuple[str, list[str]]] = []
    leftovers: bool = False
    news: int = -1


class Snapshot(msgspec.Struct, kw_only=True):
    """A file with every profile and its attributes, as of the events up to ``seq`` and the profiles up to ``key``.

    ``merged`` are the merges that stood then, loser and winner; ``columns`` lists (kind, path) of the typed columns.
    """

    file: str
    seq: int
    key: int
    size: int
    merged: list[tuple[int, int]] = []
    columns: list[tuple[str, list[str]]] = []


class Manifest(msgspec.Struct, kw_only=True):
    """The contents of a folder; ``serial`` numbers the files."""

    version: int = VERSION
    serial: int = 0
    events: list[Chunk] = []
    people: list[Chunk] = []
    snapshot: Snapshot | None = None

    def seq(self) -> int:
        """Return the seq up to which events are held."""
        return self.events[-1].last if self.events else 0

    def key(self) -> int:
        """Return the key up to which profiles are held."""
        return self.people[-1].last if self.people else 0

    def name(self, what: str) -> str:
        """Return a new file name."""
        self.serial += 1
        return f"{what}-{self.serial:06}.parquet"

    def files(self) -> set[str]:
        """Return the names of all files that belong."""
        return {c.file for c in (*self.events, *self.people)} | ({self.snapshot.file} if self.snapshot else set())


def load(folder: Path) -> Manifest:
    """Return the manifest of a folder, an empty one when it has none that can be used; files that are amiss are left out."""
    try:
        found = msgspec.json.decode((folder / _NAME).read_bytes(), type=Manifest)
    except (OSError, msgspec.MsgspecError):
        return Manifest()
    if found.version != VERSION:
        return Manifest(serial=found.serial)
    for chunks in (found.events, found.people):
        sound = next((i for i, c in enumerate(chunks) if _size(folder / c.file) != c.size), len(chunks))
        del chunks[sound:]
    if found.snapshot is not None and _size(folder / found.snapshot.file) != found.snapshot.size:
        found.snapshot = None
    return found


def save(folder: Path, manifest: Manifest) -> None:
    """Put the manifest in place in one step; then remove the files it does not name."""
    draft = folder / f".{_NAME}.{os.getpid()}"
    draft.write_bytes(msgspec.json.encode(manifest))
    draft.replace(folder / _NAME)
    kept = manifest.files()
    for path in folder.glob("*.parquet*"):
        if path.name not in kept:
            path.unlink(missing_ok=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock: one process writes at a time; it is let go when the process ends, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            import fcntl
        except ImportError:  # a platform without it: the files are checked when read, the worst is work done twice
            yield
            return
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
