"""Text of YAML or JSON into trees of values that remember where they stand, so that every mistake can be shown in its file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Final

import yaml

from tailorbird.core.event import Json
from tailorbird.errors import Mistake, Span, excerpt

__all__ = [
    "MAX_DEPTH", "MAX_DOCUMENTS", "MAX_MISTAKES", "MAX_TEXT", "Place", "Report", "Tree", "parse_json", "parse_yaml", "plain", "plant",
]  # fmt: skip

MAX_DEPTH: Final = 32
"""How deep lists and mappings may nest."""
MAX_TEXT: Final = 1_000_000
"""How many characters one file or text may have."""

MAX_DOCUMENTS: Final = 2_000
"""How many definitions may be read at once."""
MAX_MISTAKES: Final = 25
"""How many mistakes are told; of the others only how many there are."""
_MAX_VALUES: Final = 100_000  # keys, values, lists and mappings in one text
_MAX_MESSAGE: Final = 400  # characters of one mistake's sentence: what it quotes may be long

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT: Final = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})$")
_FLOAT: Final = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)([eE][-+]?[0-9]{1,3})?$")
_ESCAPE: Final = re.compile(r"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|.)", re.DOTALL)
_WORDS: Final[Mapping[str, Json]] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands: in a file (``text`` from ``start`` to ``end``), or at a path inside values given directly."""

    name: str
    text: str | None = field(default=None, repr=False)
    start: int = 0
    end: int = 0

    def __str__(self) -> str:
        if self.text is None:
            return self.name
        line, _ = Span(self.start, self.end).locate(self.text)
        return f"{self.name}:{line}"

    def inside(self, value: str, span: Span) -> str:
        """Return ``file:line:column`` of a span of the text value that stands here."""
        if self.text is None:
            line, column = span.locate(value)
            return f"{self.name} line {line}, column {column}"
        line, column = Span(self._offset(value, span.start), self.end).locate(self.text)
        return f"{self.name}:{line}:{column}"

    def _offset(self, value: str, target: int) -> int:
        # The characters of a scalar stand in the file in the same order, with indentation, folding and escapes between
        # them: walking both together finds the place for every way YAML has of writing text.
        text = self.text or ""
        at = self.start
        if text[at : at + 1] in ("|", ">"):
            at = text.find("\n", at) + 1
        found = at
        for index, char in enumerate(value):
            if char.isspace():
                if index == target:
                    return found
                continue
            found = text.find(char, at, self.end)
            if found < 0:
                return self.start
            if index >= target:
                return found
            at = found + 1
        return at


@dataclass(frozen=True, slots=True)
class Tree:
    """A value with its place; ``value`` is a scalar, a list of trees, or a dict of trees."""

    value: Any
    place: Place


class Report:
    """Collects the mistakes of everything that is read, so that they can be told together.

    ``mistakes`` holds the first of them, ``more`` says how many there are besides.
    """

    def __init__(self) -> None:
        self.mistakes: list[Mistake] = []
        self.more = 0

    @property
    def total(self) -> int:
        """How many mistakes there are."""
        return len(self.mistakes) + self.more

    def add(self, code: str, message: str, place: Place | str, hint: str = "") -> None:
        """Note one mistake at a place."""
        if self._room():
            self.mistakes.append(Mistake(code, _short(message), hint, where=str(place)))

    def add_all(self, other: Report) -> None:
        """Note what another report holds."""
        for item in other.mistakes:
            if self._room():
                self.mistakes.append(item)
        self.more += other.more

    def _room(self) -> bool:
        """Return whether one more mistake is told; where not, it is counted (finding its place would cost more than it tells)."""
        if len(self.mistakes) < MAX_MISTAKES:
            return True
        self.more += 1
        return False

    def add_expression(self, mistakes: Sequence[Mistake], text: str, place: Place, about: str) -> None:
        """Note the mistakes of an expression, mapped to where it stands; ``about`` says whose it is."""
        for item in mistakes:
            if not self._room():
                continue
            message = _short(f"{about}: {item.message}" if about else item.message)
            if item.span is None:
                self.mistakes.append(Mistake(item.code, message, item.hint, where=str(place)))
            else:
                where = place.inside(text, item.span)
                self.mistakes.append(Mistake(item.code, message, item.hint, item.span, where, excerpt(text, item.span)))


def _short(message: str) -> str:
    return message if len(message) <= _MAX_MESSAGE else f"{message[:_MAX_MESSAGE]}…"


def plain(tree: Tree) -> Json:
    """Return the value without its places."""
    if isinstance(tree.value, dict):
        return {key: plain(item) for key, item in tree.value.items()}
    if isinstance(tree.value, list):
        return [plain(item) for item in tree.value]
    return tree.value


def plant(value: Json, name: str, report: Report, depth: int = 0) -> Tree:
    """Return the tree of a value given directly (from Python or a request body); places are paths such as ``[0].when``."""
    place = Place(name)
    if depth > MAX_DEPTH:
        report.add("too_deep", f"values nest deeper than {MAX_DEPTH}", place)
        return Tree(None, place)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                report.add("wrong_type", f"the key {key!r} is not text", place)
        items = {key: plant(item, f"{name}.{key}", report, depth + 1) for key, item in value.items() if isinstance(key, str)}
        return Tree(items, place)
    if isinstance(value, list | tuple):
        return Tree([plant(item, f"{name}[{index}]", report, depth + 1) for index, item in enumerate(value)], place)
    if isinstance(value, str) and _unfit(value):
        report.add("bad_character", "the text holds a character that cannot be stored", place)
    if isinstance(value, float) and not isfinite(value):
        report.add("wrong_type", "a number must be finite", place)
    if value is None or isinstance(value, bool | int | float | str):
        return Tree(value, place)
    report.add("wrong_type", f"a value of type {type(value).__name__} cannot stand in a definition", place)
    return Tree(None, place)


def parse_json(text: str, name: str, report: Report) -> list[Tree]:
    """Return the document of a JSON text (a list counts as many documents); mistakes go to the report."""
    if _too_large(text, name, report):
        return []
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        report.add("invalid_json", f"this is not JSON: {error.msg}", f"{name}:{error.lineno}:{error.colno}")
        return []
    except (RecursionError, ValueError):
        report.add("too_deep", f"values nest deeper than {MAX_DEPTH}, or a number is too long", name)
        return []
    # JSON is YAML but for tabs between tokens (inside strings JSON allows none) and for characters beyond 16 bits, which
    # it writes as two escapes: with these two mended, both are read by one reader that knows where everything stands.
    return parse_yaml(_ESCAPE.sub(_join_pair, text.replace("\t", " ")), name, report, "JSON")


def parse_yaml(text: str, name: str, report: Report, language: str = "YAML") -> list[Tree]:
    """Return the documents of a YAML text; a document that is a list counts as many. Mistakes go to the report.

    Only plain data: no tags, no anchors and aliases. ``yes``, ``no``, ``on``, dates and ``22:30`` are text, as they read.
    """
    if _too_large(text, name, report):
        return []
    grower = _Grower(text, name, report)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            grower.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        report.add("invalid_yaml", f"this is not {language}: {error.problem or error.context}", where)
        return []
    except yaml.YAMLError as error:
        report.add("invalid_yaml", f"this is not {language}: {str(error).splitlines()[0]}", name)
        return []
    except _Stop:
        return []
    return list(_spread(grower.documents))


def _too_large(text: str, name: str, report: Report) -> bool:
    if len(text) > MAX_TEXT:
        report.add("too_large", f"{len(text)} characters; the limit is {MAX_TEXT}", name, "Split it into several files.")
        return True
    return False


def _spread(documents: Sequence[Tree]) -> Iterator[Tree]:
    for tree in documents:
        if isinstance(tree.value, list):
            yield from tree.value
        elif tree.value is not None:
            yield tree


class _Stop(Exception):
    """Reading this text further makes no sense; the reason is in the report."""


class _Grower:
    """Builds trees from YAML's events without recursion, so that nesting cannot exhaust the stack."""

    def __init__(self, text: str, name: str, report: Report) -> None:
        self.text, self.name, self.report = text, name, report
        self.documents: list[Tree] = []
        self.count = self.events = 0
        self._last: Any = None
        self.open: list[tuple[Tree, list[Tree]]] = []  # a mapping's list holds at most the key that waits for its value

    def take(self, event: Any) -> None:
        self._last = event
        self.events += 1
        if self.events > _MAX_VALUES:
            self._refuse("too_large", f"there are more than {_MAX_VALUES} values", event, "Split it into several files.")
        if isinstance(event, yaml.AliasEvent):
            self._refuse("yaml_alias", "anchors and aliases are not read in definitions", event, "Write the value out.")
        if isinstance(event, yaml.CollectionStartEvent | yaml.ScalarEvent):
            self._refuse_tags(event)
        if isinstance(event, yaml.MappingStartEvent):
            self._open({}, event)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._open([], event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._place(self.open.pop()[0])
        elif isinstance(event, yaml.ScalarEvent):
            self._place(Tree(self._scalar(event), self._mark(event)))

    def _refuse_tags(self, event: Any) -> None:
        if event.anchor is not None:
            self._refuse("yaml_alias", "anchors and aliases are not read in definitions", event, "Write the value out.")
        if event.tag is not None and event.tag not in ("!", "tag:yaml.org,2002:str"):
            self._refuse("yaml_tag", f"the tag {event.tag} is not read in definitions", event, "Leave the tag out.")

    def _open(self, value: Any, event: Any) -> None:
        if len(self.open) >= MAX_DEPTH:
            self._refuse("too_deep", f"values nest deeper than {MAX_DEPTH}", event)
        self.open.append((Tree(value, self._mark(event)), []))

    def _place(self, tree: Tree) -> None:
        if not self.open:
            self.documents.append(tree)
            self._count(tree)
            return
        parent, waiting = self.open[-1]
        if isinstance(parent.value, list):
            parent.value.append(tree)
            if len(self.open) == 1:
                self._count(tree)
        elif not waiting:
            waiting.append(tree)
        else:
            self._pair(parent, waiting.pop(), tree)

    def _count(self, tree: Tree) -> None:
        self.count += tree.value is not None and not isinstance(tree.value, list)
        if self.count > MAX_DOCUMENTS:
            hint = "Split it into several files, applied one after the other."
            self._refuse("too_large", f"there are more than {MAX_DOCUMENTS} definitions", self._last, hint)

    def _pair(self, parent: Tree, key: Tree, value: Tree) -> None:
        name = key.value
        if isinstance(name, bool | int | float):
            name = self.text[key.place.start : key.place.end]
        if not isinstance(name, str):
            self.report.add("wrong_type", "a key must be text", key.place)
        elif name in parent.value:
            # Where the first stands costs a look through the whole text: not for what is only counted.
            first = f"; the first is at {parent.value[name].place}" if self.report.total < MAX_MISTAKES else ""
            self.report.add("duplicate_key", f"{name:.200} is given twice{first}", key.place, "Keep one of them.")
        else:
            parent.value[name] = value

    def _scalar(self, event: Any) -> Json:
        value: str = event.value
        if _unfit(value):
            self.report.add("bad_character", "the text holds a character that cannot be stored", self._mark(event))
        if event.style not in (None, "") or event.tag is not None:
            return value
        if value in _WORDS:
            return _WORDS[value]
        if _INT.match(value):
            return int(value)
        if _FLOAT.match(value):
            number = float(value)
            return number if abs(number) <= 1e300 else value
        return value

    def _mark(self, event: Any) -> Place:
        return Place(self.name, self.text, event.start_mark.index, event.end_mark.index)

    def _refuse(self, code: str, message: str, event: Any, hint: str = "") -> None:
        self.report.add(code, message, self._mark(event), hint)
        raise _Stop


def _join_pair(match: re.Match[str]) -> str:
    if match[1] is None:
        return match[0]
    return f"\\U{0x10000 + ((int(match[1], 16) - 0xD800) << 10) + int(match[2], 16) - 0xDC00:08x}"


def _unfit(value: str) -> bool:
    return any(char == "\0" or "\ud800" <= char <= "\udfff" for char in value)
