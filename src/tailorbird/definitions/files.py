"""Definitions out of files, text or values: everything is read, and every mistake of everything is told at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from tailorbird.core.definition import Definition, Kind
from tailorbird.core.event import Json
from tailorbird.core.ids import digest
from tailorbird.definitions.fields import FIELDS, read_fields, read_name
from tailorbird.definitions.readers import did_you_mean
from tailorbird.definitions.source import (
    MAX_DOCUMENTS,
    MAX_MISTAKES,
    MAX_TEXT,
    Place,
    Report,
    Tree,
    parse_json,
    parse_yaml,
    plant,
)
from tailorbird.errors import InvalidDefinition, Mistake
from tailorbird.expr.json import to_json
from tailorbird.expr.parse import parse

__all__ = ["EXPRESSIONS", "Document", "invalid", "read", "spec_digest"]

MAX_FILES: Final = 1_000
EXPRESSIONS: Final[Mapping[str, str]] = {Kind.SEGMENT: "when", Kind.FEATURE: "value"}
"""Which field of a kind holds an expression."""

What = str | Path | Mapping[str, Json] | Sequence[Mapping[str, Json]]


@dataclass(frozen=True, slots=True)
class Document:
    """One definition as it was read: ``spec`` is canonical, ``places`` says where each field stands.

    ``broken`` ones have mistakes of their own; they are kept so that what refers to them can still be checked.
    ``draft`` ones (``draft: true`` in the file) are checked and stored, never activated by applying the file.
    """

    kind: str
    name: str
    spec: dict[str, Json]
    place: Place
    places: Mapping[str, Place] = field(default_factory=dict, repr=False, compare=False)
    broken: bool = False
    draft: bool = False

    @property
    def digest(self) -> str:
        """The digest of what it means (see ``spec_digest``)."""
        return spec_digest(self.kind, self.spec)


def spec_digest(kind: str, spec: Mapping[str, Json]) -> str:
    """Return a digest that is equal for specs that say the same, however their expressions are laid out."""
    name = EXPRESSIONS.get(kind)
    meaning = {key: to_json(parse(value)) if key == name else value for key, value in spec.items()}
    return digest(kind, msgspec.json.encode(meaning, order="deterministic").decode())


def read(what: What | Iterable[Definition], report: Report | None = None) -> tuple[Document, ...]:
    """Read definitions from a folder, a file, a text (YAML or JSON), a mapping or a list of mappings.

    A ``str`` is text when it has a line break or begins like a document, else a path. Raises ``InvalidDefinition`` with
    every mistake of everything that was read, each with file, line and (in expressions) column and caret; when a report
    is given, the mistakes are left in it instead.
    """
    noted = Report() if report is None else report
    documents: dict[tuple[str, str], Document] = {}
    found = False
    for count, tree in enumerate(_trees(what, noted)):
        found = True
        if count >= MAX_DOCUMENTS:
            hint = "Apply them in several steps."
            noted.add("too_large", f"there are more than {MAX_DOCUMENTS} definitions", "", hint)
            break
        document = _document(tree, noted)
        if document is None:
            continue
        key = (document.kind, document.name)
        if key in documents:
            first = f"; the first is at {documents[key].place}" if noted.total < MAX_MISTAKES else ""
            message = f"{document.kind} {document.name} is defined twice{first}"
            noted.add("duplicate", message, document.place, "Keep one of them, or give it another name.")
        else:
            documents[key] = document
    if not found and not noted.mistakes:
        shown = what if isinstance(what, str | Path) and "\n" not in str(what) else "what was given"
        noted.add("empty", f"no definition was found in {shown}", "", "A folder may hold .yaml, .yml and .json files.")
    if report is None and noted.mistakes:
        raise invalid(noted)
    return tuple(documents.values())


def invalid(report: Report) -> InvalidDefinition:
    """Return the error that carries the mistakes of a report; the last one says how many are not told."""
    many = "1 mistake" if report.total == 1 else f"{report.total} mistakes"
    rest = (Mistake("more_mistakes", f"… and {report.more} more", "Mend these first, then check again."),) if report.more else ()
    return InvalidDefinition(f"Nothing was applied: the definitions have {many}.", mistakes=(*report.mistakes, *rest))


def _trees(what: What | Iterable[Definition], report: Report) -> Iterator[Tree]:
    if isinstance(what, Path):
        yield from _path(what, report)
    elif isinstance(what, str):
        if "\n" in what or what.lstrip().startswith(("{", "[", "kind:", "---")):
            yield from _parse(what, "text", report)
        else:
            yield from _path(Path(what), report)
    elif isinstance(what, Mapping):
        yield plant(what, "definition", report)
    elif isinstance(what, Sequence) and len(what) > MAX_DOCUMENTS:
        hint = "Apply them in several steps."
        report.add("too_large", f"{len(what)} definitions; the limit is {MAX_DOCUMENTS} at once", "definitions", hint)
    else:
        for index, item in enumerate(what):
            if isinstance(item, Definition):
                item = {"kind": item.kind, "name": item.name, **item.spec}  # noqa: PLW2901
            yield plant(item, f"definitions[{index}]", report)


def _parse(text: str, name: str, report: Report) -> list[Tree]:
    if name.endswith(".json") or text.lstrip()[:1] in ("{", "["):
        return parse_json(text, name, report)
    return parse_yaml(text, name, report)


def _path(path: Path, report: Report) -> Iterator[Tree]:
    if path.is_dir():
        files = sorted(item for item in path.rglob("*") if item.suffix in (".yaml", ".yml", ".json") and item.is_file())
        files = [item for item in files if not any(part.startswith(".") for part in item.relative_to(path).parts)]
    elif path.is_file():
        files = [path]
    else:
        report.add("not_found", "there is no such file or folder", str(path))
        return
    if len(files) > MAX_FILES:
        report.add("too_large", f"{len(files)} files; the limit is {MAX_FILES}", str(path))
        return
    for item in files:
        yield from _file(item, report)


def _file(path: Path, report: Report) -> list[Tree]:
    try:
        raw = path.read_bytes() if path.stat().st_size <= 4 * MAX_TEXT else None
    except OSError as error:
        report.add("unreadable", f"the file cannot be read: {error.strerror}", str(path))
        return []
    if raw is None:
        report.add("too_large", f"the file is larger than {4 * MAX_TEXT} bytes", str(path), "Split it into several files.")
        return []
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        report.add("invalid_utf8", f"byte {error.start} is not UTF-8", str(path), "Save the file as UTF-8.")
        return []
    return _parse(text, str(path), report)


def _document(tree: Tree, report: Report) -> Document | None:
    if not isinstance(tree.value, dict):
        report.add("wrong_type", "a definition is a mapping of fields, such as kind and name", tree.place)
        return None
    items: dict[str, Tree] = dict(tree.value)
    kind = _kind(items.pop("kind", None), tree.place, report)
    if kind is None:
        return None
    before = report.total
    name = read_name(kind, items.pop("name", None), tree.place, report)
    draft = items.pop("draft", None)
    if draft is not None and not isinstance(draft.value, bool):
        report.add("wrong_type", "draft is true or false", draft.place)
    spec = read_fields(kind, items, f"{kind} {name}" if name else f"this {kind}", tree.place, report)
    if kind == Kind.SEGMENT and ("when" in items) == ("members" in items):
        told = "both when and members" if "when" in items else "neither when nor members"
        report.add("missing_field", f"segment {name} has {told}", tree.place, "Give a condition (when: …) or members: manual.")
    if name is None:
        return None
    places = dict(_places(items))
    return Document(kind, name, spec, tree.place, places, broken=report.total > before,
                    draft=draft is not None and draft.value is True)  # fmt: skip


def _places(items: Mapping[str, Tree], path: str = "") -> Iterator[tuple[str, Place]]:
    """Yield where each field stands, those inside by a path such as ``variants.fr.subject`` or ``labels[0].when``."""
    for key, item in items.items():
        yield f"{path}{key}", item.place
        if isinstance(item.value, dict):
            yield from _places(item.value, f"{path}{key}.")
        for index, part in enumerate(item.value if isinstance(item.value, list) else ()):
            if isinstance(part.value, dict):
                yield from _places(part.value, f"{path}{key}[{index}].")


def _kind(tree: Tree | None, place: Place, report: Report) -> Kind | None:
    known = [str(kind) for kind in FIELDS]
    if tree is None:
        report.add("missing_field", "this definition has no kind", place, f"Known are: {', '.join(known)}.")
        return None
    if not isinstance(tree.value, str) or tree.value not in known:
        hint = did_you_mean(str(tree.value), known)
        report.add("unknown_kind", f"{tree.value!r} is not a kind of definition", tree.place, hint)
        return None
    return Kind(tree.value)
