"""Compiling what one type of event does to a profile's row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tailorbird.core.event import CONSENT_GRANTED, CONSENT_WITHDRAWN, PROFILE_UPDATED
from tailorbird.expr import nodes as n
from tailorbird.expr.incremental.cells import (
    AttributeCells,
    Cells,
    ConsentCell,
    HeldCell,
    SequenceCell,
    StreamCell,
    ToggleCell,
    distinct_nodes,
)
from tailorbird.expr.incremental.lower import AtLeast, Forest, SumAtLeast
from tailorbird.expr.incremental.plain import Plain
from tailorbird.expr.incremental.source import Names, Source
from tailorbird.expr.types import Type

__all__ = ["Folding"]


class Folding(Plain):
    """Writes the function ``(event, x) -> bool`` for one event type; False says that the event came too late."""

    parameters = "event"

    def __init__(self, forest: Forest, cells: Cells, names: Names, source: Source, event: str) -> None:
        super().__init__(forest, cells, names, source)
        self.event = event
        self._fits: dict[int, str] = {}
        self._read: dict[tuple[tuple[str, ...], Type | str], str] = {}

    def write(self) -> None:
        """Write the body: read, test, catch up what depends on order, then update every cell."""
        add = self.source.add
        self._open()
        here = [cell for cell in self.cells if self._touches(cell)]
        for cell in here:
            if isinstance(cell, AttributeCells):
                add('attributes = data.get("attributes")', "if attributes.__class__ is not dict: attributes = NONE")
                break
        for cell in sorted((cell for cell in here if isinstance(cell, HeldCell)), key=lambda cell: -cell.size):
            self._held(cell)  # the outer before what it holds: it still looks at the inner one's past
        for cell in here:
            match cell:
                case StreamCell():
                    self._stream(cell)
                case SequenceCell():
                    self._sequence(cell)
                case AttributeCells():
                    self._attribute(cell)
                case ToggleCell():
                    self._toggle(cell)
                case ConsentCell():
                    self._consent(cell)
        add("return True")

    def _open(self) -> None:
        with self.source.at_top():
            self.source.add("at = event.at", "data = event.data")

    def inner(self, root: n.Node) -> Folding:
        """Return a compiler for a function of the event that holds one node only."""
        found = Folding(self.forest, self.cells, self.names, Source(), self.event)
        found._root = root
        found._open()
        return found

    def _touches(self, cell: Any) -> bool:
        match cell:
            case StreamCell():
                return cell.event == self.event
            case SequenceCell():
                return any(step.event == self.event for step in cell.steps)
            case AttributeCells():
                return self.event == PROFILE_UPDATED
            case ToggleCell():
                return self.event in (cell.node.on, cell.node.off)
            case ConsentCell():
                return self.event in (CONSENT_GRANTED, CONSENT_WITHDRAWN)
        return bool(self._touching(cell.condition))

    # -- reading --------------------------------------------------------------------------------------------------------

    def value(self, node: n.Node) -> str:
        """Return code of a value; a property is read into a variable once."""
        if isinstance(node, n.Property) and node.type is not None:
            return self._property(node.path, node.type)
        return super().value(node)

    def _property(self, path: tuple[str, ...], reading: Type | str) -> str:
        key = (path, reading)
        if key not in self._read:
            name = self._read[key] = self.source.fresh("p")
            with self.source.at_top():
                self.source.add(f"{name} = {self._reading('data', path, reading)}")
        return self._read[key]

    def _reading(self, holder: str, path: tuple[str, ...], reading: Type | str) -> str:
        code = f"{holder}.get({self.names.constant(path[0])})"
        if len(path) > 1:
            code = f"walk({code}, {self.names.constant(path[1:])})"
        if reading == Type.TEXT:
            name = self.source.fresh()
            return f"{name} if ({name} := {code}).__class__ is str else None"
        return f"read_{reading}({code})"

    def _fit(self, where: n.Node | None) -> str | None:
        """Return the variable that says whether the event satisfies a ``where``, None when every event does."""
        if where is None:
            return None
        if id(where) not in self._fits:
            name = self._fits[id(where)] = self.source.fresh("w")
            self.source.add(f"{name} = {self.truth(where)}")
        return self._fits[id(where)]

    # -- what depends on order --------------------------------------------------------------------------------------------

    def _touching(self, condition: n.Node) -> list[str | None]:
        """Return the tests under which this event can change a condition; None stands for always."""
        found: list[str | None] = []
        for item in distinct_nodes([condition]):
            match item:
                case n.Aggregate() | n.TimeSince() | AtLeast() | SumAtLeast() | n.Step() if item.event == self.event:
                    found.append(self._fit(item.where))
                case n.Attribute() if self.event == PROFILE_UPDATED:
                    found.append(f"{self.names.constant(item.path[0])} in attributes")
                case n.Toggle() if self.event in (item.on, item.off):
                    found.append(f"data.get({self.names.constant(item.key)}) == {self.names.constant(item.value)}")
                case n.Consented() if self.event in (CONSENT_GRANTED, CONSENT_WITHDRAWN):
                    found.append(self._consent_test(item))
        return found

    def _held(self, cell: HeldCell) -> None:
        tests = self._touching(cell.condition)
        self._under(tests, [f"if not advance({cell.function}, x, {cell.slot}, at): return False"])

    def _under(self, tests: Iterable[str | None], lines: list[str]) -> None:
        """Write lines under any of some tests."""
        found = list(tests)
        if None in found:
            self.source.add(*lines)
            return
        with self.source.block(f"if {' or '.join(dict.fromkeys(test for test in found if test))}:"):
            self.source.add(*lines)

    def _sequence(self, cell: SequenceCell) -> None:
        fits = [(place, self._fit(step.where)) for place, step in enumerate(cell.steps, 1) if step.event == self.event]
        row = self.source.fresh()
        lines = [f"{row} = x[{cell.slot}]", f"if {row} is None: {row} = x[{cell.slot}] = [PAST] * {len(cell.steps) + 1}"]
        lines += [f"if at < {row}[0]: return False", f"{row}[0] = at"]
        for place, fit in reversed(fits):
            start = "at" if place == 1 else f"{row}[{place - 1}]"
            lines.append(f"if {f'{fit} and ' if fit else ''}{start} > {row}[{place}]: {row}[{place}] = {start}")
        self._under([fit for _, fit in fits], lines)

    # -- cells ------------------------------------------------------------------------------------------------------------

    def _stream(self, cell: StreamCell) -> None:
        tests = [fit] if (fit := self._fit(cell.where)) else []
        value = ""
        if cell.path is not None:
            assert cell.reading is not None
            value = self._property(cell.path, cell.reading)
            tests.append(f"{value} is not None")
        lines = self._update(cell, value)
        self._under([" and ".join(tests) if tests else None], lines)

    def _update(self, cell: StreamCell, value: str) -> list[str]:
        slot = cell.slot
        window = self.names.constant(cell.window)
        match cell.kind:
            case "latest":
                return [f"if at > x[{slot}]: x[{slot}] = at"]
            case "total":
                return [f"x[{slot}] += 1"]
            case "sum":
                return [f"x[{slot}] += {value}"]
            case "mean":
                return [f"x[{slot}] += {value}", f"x[{slot + 1}] += 1"]
            case "min" | "max":
                sign = "<" if cell.kind == "min" else ">"
                return [f"if x[{slot}] is None or {value} {sign} x[{slot}]: x[{slot}] = {value}"]
            case "first" | "last":
                sign = "<" if cell.kind == "first" else ">="
                return [f"if at {sign} x[{slot}]: x[{slot}] = at; x[{slot + 1}] = {value}"]
            case "times":
                return self._times(cell)
            case "sums":
                return [f"summand(x, {slot}, at, {value}, {window})"]
            case "mins" | "maxs":
                return [f"push_extreme(x, {slot}, at, {value}, {window}, {cell.kind == 'maxs'})"]
            case "firsts":
                return [f"insert_value(x, {slot}, at, {value}, {window})"]
            case "set":
                return [f"if not x[{slot}]: x[{slot}] = {{{value}}}", f"else: x[{slot}].add({value})"]
        return [f"distinct(x, {slot}, at, {value}, {window})"]

    def _times(self, cell: StreamCell) -> list[str]:
        times, slot = self.source.fresh(), cell.slot
        keep, window = self.names.constant(cell.keep), self.names.constant(cell.window)
        trim = f"if {times}[0] <= at - {window}: trim({times}, at - {window}, {keep})"
        return [
            f"{times} = x[{slot}]",
            f"if not {times}: x[{slot}] = [at]",
            f"elif at < {times}[-1]: insert_late({times}, at, {keep}, {window})",
            "else:",
            f"    {times}.append(at)",
            f"    {trim}" if cell.window else f"    if len({times}) > {keep}: del {times}[0]",
        ]

    def _attribute(self, cell: AttributeCells) -> None:
        with self.source.block(f"if {self.names.constant(cell.name)} in attributes and at >= x[{cell.slot}]:"):
            self.source.add(f"x[{cell.slot}] = at")
            for (path, as_type), slot in cell.values.items():
                self.source.add(f"x[{slot}] = {self._reading('attributes', path, as_type)}")

    def _toggle(self, cell: ToggleCell) -> None:
        node = cell.node
        test = f"data.get({self.names.constant(node.key)}) == {self.names.constant(node.value)}"
        with self.source.block(f"if {test} and at >= x[{cell.slot}]:"):
            self.source.add(f"x[{cell.slot}] = at", f"x[{cell.slot + 1}] = {self.event == node.on}")

    def _consent_test(self, node: n.Consented) -> str:
        channel, purpose = self.names.constant(node.channel), self.names.constant(node.purpose)
        return f'(data.get("channel") == {channel} and data.get("purpose") == {purpose})'

    def _consent(self, cell: ConsentCell) -> None:
        with self.source.block(f"if {self._consent_test(cell.node)}:"):
            self.source.add(f'consent(x, {cell.slot}, at, {self.event == CONSENT_GRANTED}, data.get("explicit") is True)')
