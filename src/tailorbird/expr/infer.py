"""Type inference: every node keeps the set of types it may have, and operators strike out what cannot be.

The sets shrink until nothing changes. What is left with several types is ambiguous, what is left with none is a
mistake of the operator that emptied it. So a reading is fixed by any use that fixes it, from above or from below.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from tailorbird.errors import Mistake
from tailorbird.expr.nodes import Aggregate, And, Arith, Attribute, Call, Compare, In, Negate, Node, Not, Or, Property
from tailorbird.expr.signatures import EVERY, Case
from tailorbird.expr.types import Type

__all__ = ["Cell", "Inference", "names_of", "say"]

_ROUNDS: Final = 16
"""How long a chain of uses may be that fix one another; more would only serve somebody who wants to keep us busy."""
_WORDS: Final = {
    Type.BOOL: "true or false", Type.NUMBER: "a number", Type.TEXT: "a text", Type.TIME: "a time", Type.DURATION: "a duration",
    Type.TEXTS: "a list of texts",
}  # fmt: skip


def say(kinds: frozenset[Type] | set[Type]) -> str:
    """Return types in words.

    >>> say({Type.TIME, Type.NUMBER})
    'a number or a time'
    """
    words = [_WORDS[kind] for kind in Type if kind in kinds]
    if len(words) >= 5:
        return "a value of any kind"
    return " or ".join(words)


def names_of(node: Node) -> str:
    """Return what a message calls an operator."""
    match node:
        case Compare(op=op) | Arith(op=op):
            return op
        case Call(fn=fn):
            return fn
        case And():
            return "and"
        case Or():
            return "or"
        case Not():
            return "not"
        case Negate():
            return "-"
        case In():
            return "in"
        case _:
            words = {"TextTest": getattr(node, "op", ""), "ListHas": "has", "IsKnown": "is known", "IsTrue": "is_true"}
            return words.get(type(node).__name__, type(node).__name__.lower())


@dataclass(eq=False, slots=True)
class Cell:
    """A node with the types it may still have. ``key`` names the value in data that a leaf reads."""

    node: Node
    kinds: frozenset[Type]
    parts: tuple[Cell, ...] = ()
    cases: tuple[Case, ...] = ()
    key: tuple[str, ...] | None = None
    broken: bool = False
    where: Cell | None = None
    steps: tuple[Cell | None, ...] = field(default=())


class Inference:
    """The cells of one expression, parts before wholes, and the mistakes found among them."""

    def __init__(self) -> None:
        self.cells: list[Cell] = []
        self.roots: list[tuple[Cell, frozenset[Type], str]] = []
        self.mistakes: list[Mistake] = []

    def run(self) -> None:
        """Narrow until nothing changes; then let uses of one value agree; then complain about what is still open."""
        self._narrow()
        for root, wanted, what in self.roots:
            self._require(root, wanted, what)
        self._narrow()
        rounds = 0
        while rounds < _ROUNDS and self._agree():
            self._narrow()
            rounds += 1
        self._open()

    def _narrow(self) -> None:
        changed = True
        while changed:
            changed = False
            for cell in self.cells:
                if cell.cases and not cell.broken:
                    changed |= self._apply(cell)

    def _apply(self, cell: Cell) -> bool:
        """Strike out cases that cannot be, and types that no case has left; True when something shrank."""
        fitting = tuple(
            case
            for case in cell.cases
            if case[1] in cell.kinds and all(kind in part.kinds for kind, part in zip(case[0], cell.parts, strict=True))
        )
        if not fitting:
            self._clash(cell)
            return True
        shrank = len(fitting) < len(cell.cases)
        cell.cases = fitting
        for place, part in enumerate(cell.parts):
            kinds = part.kinds & {case[0][place] for case in fitting}
            if not part.broken and kinds != part.kinds:
                part.kinds, shrank = kinds, True
        kinds = cell.kinds & {case[1] for case in fitting}
        if kinds != cell.kinds:
            cell.kinds, shrank = kinds, True
        return shrank

    def _clash(self, cell: Cell) -> None:
        cell.broken, word = True, names_of(cell.node)
        reported = False
        for place, part in enumerate(cell.parts):
            wanted = frozenset(case[0][place] for case in cell.cases)
            if not part.kinds & wanted and not part.broken:
                hint = f"write {_hint(part, wanted)}" if _hint(part, wanted) else ""
                self._fail("wrong_type", f"{word} needs {say(wanted)} here, and this gives {say(part.kinds)}", part.node, hint)
                reported = True
        if not reported and not any(part.broken for part in cell.parts):
            given = [say(part.kinds) for part in cell.parts]
            message = (
                f"{word} cannot take {given[0]}"
                if len(given) == 1
                else f"{word} cannot take {' and '.join(dict.fromkeys(given))} together"
            )
            if isinstance(cell.node, Compare | In) and len(set(given)) > 1:
                message = f"{word} compares values of one type, and here are {' and '.join(dict.fromkeys(given))}"
            self._fail("wrong_type", message, cell.node)
        cell.kinds = frozenset({case[1] for case in cell.cases}) or EVERY

    def _require(self, root: Cell, wanted: frozenset[Type], what: str) -> None:
        if root.broken:
            return
        kinds = root.kinds & wanted
        if not kinds:
            self._fail("wrong_type", f"{what} must give {say(wanted)}, and this gives {say(root.kinds)}", root.node)
            root.broken = True
            return
        root.kinds = kinds

    def _agree(self) -> bool:
        """Let one value that is read twice be read as one type; True when that fixed something."""
        fixed: dict[tuple[str, ...], set[Type]] = {}
        for cell in self.cells:
            if cell.key is not None and len(cell.kinds) == 1:
                fixed.setdefault(cell.key, set()).update(cell.kinds)
        changed = False
        for cell in self.cells:
            if cell.key is not None and len(cell.kinds) > 1:
                kinds = cell.kinds & fixed.get(cell.key, set())
                if len(kinds) == 1:
                    cell.kinds, changed = kinds, True
        return changed

    def _open(self) -> None:
        """Complain about readings that nothing fixes, unless a mistake near them may be the reason."""
        quiet: set[int] = set()
        for cell in reversed(self.cells):
            if any(part.broken for part in cell.parts) and not isinstance(cell.node, And | Or | Not):
                cell.broken = True
            if cell.broken or id(cell) in quiet:
                quiet.update(id(part) for part in cell.parts)
        for cell in self.cells:
            if len(cell.kinds) < 2 or cell.key is None or cell.broken or id(cell) in quiet:
                continue
            casts = [str(kind) for kind in Type if kind in cell.kinds]
            name = ".".join(cell.key[-1:]) if isinstance(cell.node, Attribute | Property) else "…"
            hint = f"write {' or '.join(f'{cast}({name})' for cast in casts)}, or declare the attribute's type"
            what = "of which kind this is" if len(casts) >= 5 else f"whether this is {say(cell.kinds)}"
            self._fail("ambiguous", f"nothing says {what}", cell.node, hint)

    def _fail(self, code: str, message: str, node: Node, hint: str = "") -> None:
        self.mistakes.append(Mistake(code, message, hint, node.span))


def _hint(part: Cell, wanted: frozenset[Type]) -> str:
    node = part.node
    if Type.BOOL in wanted and len(wanted) == 1:
        return "a comparison, such as … > 0, or … is known"
    if Type.DURATION in wanted and part.kinds == {Type.NUMBER}:
        return "the number with a unit, such as 7d"
    if isinstance(node, Attribute | Property | Aggregate) and node.type is not None and len(wanted) == 1:
        return f"{next(iter(wanted))}(…)"
    return ""
