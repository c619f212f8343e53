"""Keeping others from writing for a while, for who has lost to them again and again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final, Protocol

from tailorbird.ports import Store

__all__ = ["PATIENT", "Hold"]

PATIENT: Final = 3
"""How many commits may be lost to other processes before the write lock is taken ahead of computing."""


class Memory(Protocol):
    """What may be out of step with the store."""

    stale: bool


class Hold:
    """The write lock of the database, held by one thread from before it computes until it has committed.

    Who computes first and writes then may find that somebody else wrote in between, and with busy neighbours may find it
    every time. Under the lock nothing can come in between, so that everybody gets on. ``losses`` counts lost commits.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stack: ExitStack | None = None
        self.losses = 0

    @property
    def held(self) -> bool:
        """Whether the lock is held now."""
        return self._stack is not None

    def lost(self, *, insist: bool = True) -> None:
        """Count a lost commit; after some, and where the caller may ``insist``, take the lock."""
        self.losses += 1
        if insist and self.losses >= PATIENT and self._stack is None:
            stack = ExitStack()
            stack.enter_context(self._store.alone())
            self._stack = stack

    def release(self) -> None:
        """Commit what was written under the lock, if it is held, and let others write. Raises what the store raises."""
        stack, self._stack = self._stack, None
        if stack is not None:
            stack.close()

    @contextmanager
    def within(self, memory: Memory, *, outermost: bool) -> Iterator[None]:
        """A piece of work at whose end others may write again: what was written under the lock stays, after an error it does not.

        Until we know that it is durable, memory is ``stale``.
        """
        failed: BaseException | None = None
        try:
            yield
        except BaseException as error:
            failed = error
            raise
        finally:
            stack = None
            if outermost:
                stack, self._stack, self.losses = self._stack, None, 0
            if stack is not None:
                memory.stale = True
                if failed is None:
                    stack.close()
                else:
                    stack.__exit__(type(failed), failed, failed.__traceback__)
                memory.stale = failed is not None
