"""Putting functions together out of compiled expressions, and turning their source into code."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from tailorbird.expr import nodes as n
from tailorbird.expr import read
from tailorbird.expr.calendar import DATE_PARTS
from tailorbird.expr.evaluate import NEVER
from tailorbird.expr.incremental import support, varying
from tailorbird.expr.incremental.cells import Cells, HeldCell, uses
from tailorbird.expr.incremental.folding import Folding
from tailorbird.expr.incremental.lower import Forest
from tailorbird.expr.incremental.plain import Plain
from tailorbird.expr.incremental.source import Names, Source
from tailorbird.expr.incremental.timed import Timed
from tailorbird.expr.scalar import LARGEST_SPAN, apply_arith, apply_call
from tailorbird.expr.text import lower, upper

__all__ = ["compile_decisions", "compile_due", "compile_folding", "compile_held", "compile_values", "namespace"]


def namespace(change: type) -> Names:
    """Return the namespace of a new program: the only things its compiled functions can reach."""
    functions: dict[str, Any] = {name: getattr(support, name) for name in support.__all__}
    functions |= {name: getattr(varying, name) for name in varying.__all__ if name not in ("Varying", "arith")}
    functions |= {f"read_{as_type}": reader for as_type, reader in read.READERS.items()}
    functions |= {"read_micros": read.micros, "read_distinct": read.distinct_key, "walk": read.walk_path}
    functions |= {f"part_{name}": part for name, part in DATE_PARTS.items()}
    functions |= {"moved": varying.arith, "arith": apply_arith, "call": apply_call, "lower": lower, "upper": upper}
    functions |= {"after": bisect_right, "Change": change, "NEVER": NEVER, "ZERO": 0.0, "MILLION": 1e6, "NONE": {}}
    return Names(functions | {"LOW": float("-inf"), "HIGH": float("inf"), "SPAN": LARGEST_SPAN})


def compile_folding(forest: Forest, cells: Cells, names: Names, event: str) -> Any:
    """Return the function ``(event, x) -> bool`` that folds an event of one type."""
    source = Source()
    Folding(forest, cells, names, source, event).write()
    return names.define(names.function(), "event, x", source)


def compile_held(forest: Forest, cells: Cells, names: Names, cell: HeldCell) -> None:
    """Bind the function ``(x, now) -> (truth, due)`` of a condition under ``held``."""
    source = Source()
    Timed(forest, cells, names, source).decide_alone(cell.condition)
    names.define(cell.function, "x, now", source)


def compile_decisions(forest: Forest, cells: Cells, names: Names, conditions: Mapping[str, tuple[n.Node, int | None]]) -> Any:
    """Return the function ``(x, dues, members, now) -> changes`` that looks at conditions.

    ``conditions`` maps a name to its condition and its place among the dues (None: time alone cannot change it).
    """
    source = Source()
    timed = Timed(forest, cells, names, source, uses(node for node, _ in conditions.values()))
    source.add("found = []")
    for name, (node, place) in conditions.items():
        known = names.constant(name)
        if place is None:
            test = timed.truth(node)
        else:
            timed.decide(node, True, "truth", "due")
            source.add(f"dues[{place}] = due")
            test = "truth"
        entered, exited = (
            names.constant(change) for change in (names.bound["Change"](name, True), names.bound["Change"](name, False))
        )
        source.add(f"if {test}:", f"    if {known} not in members: members.add({known}); found.append({entered})")
        source.add(f"elif {known} in members: members.discard({known}); found.append({exited})")
    source.add("return found")
    return names.define(names.function(), "x, dues, members, now", source)


def compile_values(forest: Forest, cells: Cells, names: Names, nodes: Sequence[n.Node]) -> Any:
    """Return the function ``(x, now) -> values``."""
    source = Source()
    plain = Plain(forest, cells, names, source, uses(nodes))
    codes = [plain.value(node) for node in nodes]
    source.add(f"return ({''.join(f'{code}, ' for code in codes)})")
    return names.define(names.function(), "x, now", source)


def compile_due(forest: Forest, cells: Cells, names: Names, nodes: Sequence[n.Node]) -> Any:
    """Return the function ``(x, now) -> due``: the earliest instant at which a value can change by itself.

    Values that move all the time must not be among them.
    """
    source = Source()
    timed = Timed(forest, cells, names, source, uses(nodes))
    dues: list[str] = []
    for node in nodes:
        if timed.facts(node).timed:
            dues += timed.step(node)[1]
    source.add("return min(" + "".join(f"{due}, " for due in dues) + "NEVER, NEVER)")
    return names.define(names.function(), "x, now", source)
