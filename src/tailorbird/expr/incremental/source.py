"""Writing Python source: indented lines, fresh names, and constants that are only ever bound to names, never written out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Names", "Source"]


class Names:
    """The namespace that compiled functions run in: what they call and the constants they use."""

    __slots__ = ("_known", "bound")

    def __init__(self, functions: dict[str, Any]) -> None:
        self.bound: dict[str, Any] = {
            "__builtins__": {"len": len, "min": min, "max": max, "float": float, "dict": dict, "str": str, "abs": abs}
        }
        self.bound.update(functions)
        self._known: dict[Any, str] = {}

    def constant(self, value: Any) -> str:
        """Return the name that a constant is bound to; equal constants of one kind share it."""
        key = (type(value), repr(value)) if isinstance(value, float) else (type(value), value)
        if key not in self._known:
            self._known[key] = f"k{len(self._known)}"
            self.bound[self._known[key]] = value
        return self._known[key]


class Source:
    """The body of one function under construction."""

    __slots__ = ("_fresh", "depth", "lines")

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.depth = 1
        self._fresh = 0

    def add(self, *lines: str) -> None:
        """Append lines at the current depth."""
        self.lines.extend("    " * self.depth + line for line in lines)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Append a line that opens a block; what is added inside the ``with`` belongs to it."""
        self.add(head)
        self.depth += 1
        yield
        self.depth -= 1

    def fresh(self, prefix: str = "v") -> str:
        """Return a name that the function has not used."""
        self._fresh += 1
        return f"{prefix}{self._fresh}"
