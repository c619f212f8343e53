"""Writing Python source: indented lines, fresh names, and constants that are only ever bound to names, never written out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Names", "Source"]


class Names:
    """The namespace that compiled functions run in: what they call and the constants they use."""

    __slots__ = ("_functions", "_known", "_later", "bound")

    def __init__(self, functions: dict[str, Any]) -> None:
        self.bound: dict[str, Any] = {
            "__builtins__": {"len": len, "min": min, "max": max, "float": float, "dict": dict, "str": str, "abs": abs}
        }
        self.bound.update(functions)
        self._known: dict[Any, str] = {}
        self._later: dict[Any, str] = {}
        self._functions = 0

    def constant(self, value: Any) -> str:
        """Return the name that a constant is bound to; equal constants of one kind share it."""
        key = (type(value), repr(value)) if isinstance(value, float) else (type(value), value)
        if key not in self._known:
            self._known[key] = f"k{len(self._known)}"
            self.bound[self._known[key]] = value
        return self._known[key]

    def function(self) -> str:
        """Return a name that no function of the namespace has."""
        self._functions += 1
        return f"f{self._functions}"

    def later(self, key: Any, parameters: str, write: Callable[[], Source]) -> str:
        """Return the name of a function that is written and compiled when it is first called; one for each key."""
        if key not in self._later:
            name = self._later[key] = self.function()

            def first(*args: Any) -> Any:
                return self.define(name, parameters, write())(*args)

            self.bound[name] = first
        return self._later[key]

    def define(self, name: str, parameters: str, source: Source) -> Any:
        """Compile a function into the namespace and return it."""
        exec(compile(source.text(name, parameters), "<tailorbird expression>", "exec"), self.bound)
        return self.bound[name]


class Source:
    """The body of one function under construction."""

    __slots__ = ("_fresh", "depth", "head", "lines")

    def __init__(self) -> None:
        self.head: list[str] = []
        self.lines: list[str] = []
        self.depth = 1
        self._fresh = 0

    @contextmanager
    def at_top(self) -> Iterator[None]:
        """Let what is added inside the ``with`` stand before everything else (but after what was put there earlier)."""
        lines, depth = self.lines, self.depth
        self.lines, self.depth = [], 1
        yield
        self.head += self.lines
        self.lines, self.depth = lines, depth

    def text(self, name: str, parameters: str) -> str:
        """Return the whole function."""
        return "\n".join([f"def {name}({parameters}):", *self.head, *self.lines, ""])

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
