"""A tool: its name, what it takes and gives as types, what it does, and how its mistakes are told to a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
from mcp_types import CallToolResult, TextContent, ToolAnnotations
from mcp_types import Tool as Listed

from tailorbird.engine import Engine
from tailorbird.errors import TailorbirdError

__all__ = ["Tool", "schema_of", "told"]


@dataclass(frozen=True)
class Tool:
    """One tool. ``takes`` and ``gives`` are msgspec structs, so that what is checked is what is told.

    ``run`` is called from a thread. ``writes`` says whether it changes anything, ``again`` whether calling it twice with the
    same arguments is as good as once, ``replaces`` whether it may undo what somebody else made.
    """

    name: str
    title: str
    about: str
    takes: type[msgspec.Struct]
    gives: type[msgspec.Struct]
    run: Callable[[Engine, Any], msgspec.Struct]
    writes: bool = False
    again: bool = True
    replaces: bool = False

    @cached_property
    def listed(self) -> Listed:
        """The tool as it is listed."""
        hints = ToolAnnotations(
            title=self.title, read_only_hint=not self.writes, idempotent_hint=self.again, destructive_hint=self.replaces,
            open_world_hint=False,
        )  # fmt: skip
        return Listed(
            name=self.name, title=self.title, description=self.about, input_schema=schema_of(self.takes),
            output_schema=schema_of(self.gives), annotations=hints,
        )  # fmt: skip

    def call(self, engine: Engine, arguments: dict[str, Any]) -> CallToolResult:
        """Carry the tool out; mistakes come back as a result that says what is wrong, where, and how to mend it.

        Numbers and booleans written as text are read as what they say. Raises only what is a defect here.
        """
        try:
            asked = msgspec.convert(arguments, self.takes, strict=False)
        except msgspec.ValidationError as error:
            known = ", ".join(self.takes.__struct_encode_fields__)
            return _refused(f"The arguments of {self.name} are not acceptable: {error}.", f"It takes: {known}.")
        try:
            given = self.run(engine, asked)
        except TailorbirdError as error:
            return told(error)
        value = msgspec.to_builtins(given)
        return CallToolResult(content=[TextContent(text=msgspec.json.encode(value).decode())], structured_content=value)


def told(error: TailorbirdError) -> CallToolResult:
    """Return one of our errors as a model can act on it: what, where with an excerpt, and how to mend it."""
    places = [mistake.render() for mistake in error.mistakes if mistake.where or mistake.excerpt]
    return _refused("\n".join([f"{error.code}: {error.message}", *places]), error.hint)


def schema_of(shape: type[msgspec.Struct]) -> dict[str, Any]:
    """Return a type's JSON schema with an object at its root."""
    schema = msgspec.json.schema(shape)
    root = schema.pop("$ref", "").removeprefix("#/$defs/")
    if not root:
        return schema
    found = {**schema["$defs"][root], **schema}
    if f"#/$defs/{root}" not in msgspec.json.encode(found).decode():  # it stays where it refers to itself
        found["$defs"] = {name: part for name, part in schema["$defs"].items() if name != root}
    return found if found["$defs"] else {name: part for name, part in found.items() if name != "$defs"}


def _refused(what: str, mend: str) -> CallToolResult:
    text = f"{what}\nTo mend it: {mend}" if mend else what
    return CallToolResult(content=[TextContent(text=text)], is_error=True)
