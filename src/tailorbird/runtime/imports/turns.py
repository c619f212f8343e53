"""How an import gets along with what else goes on: when it may write, and who takes the rows that join people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from tailorbird.runtime.ingest import Incoming, Receipt

__all__ = ["Alone", "Take", "Turns", "by_itself"]

Alone = Callable[[], AbstractContextManager[int]]
"""Gives one turn at the store, in which nothing else writes, and the instant of it (ms); between turns others get theirs."""

Take = Callable[[Sequence[Incoming]], Sequence[Receipt]]
"""Takes events in one by one, as they would come in otherwise."""


@dataclass(frozen=True, slots=True)
class Turns:
    """``alone`` is entered for every write, for as short as may be. Without ``take`` rows that join people are rejected."""

    alone: Alone
    take: Take | None = None


def by_itself(now: int) -> Turns:
    """Return the turns of an import that has the store to itself."""

    @contextmanager
    def alone() -> Iterator[int]:
        yield now

    return Turns(alone)
