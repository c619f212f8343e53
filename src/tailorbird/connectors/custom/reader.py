"""Reads the YAML of a custom connector, and tells everything that is wrong with it at once, each with its line."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Any, Final, TypeVar

from tailorbird.connectors.custom.spec import (
    CLASSES,
    PARAMETERS,
    AuthSpec,
    ErrorRule,
    Mapped,
    Operation,
    Pages,
    Rows,
    Spec,
    WebhookSpec,
)
from tailorbird.connectors.custom.values import TRANSFORMS, check_path, check_transform, names_in
from tailorbird.connectors.rest.address import check_address
from tailorbird.connectors.rest.limits import LENGTHS
from tailorbird.crm.model import ACTIVITY_KINDS, NEUTRAL
from tailorbird.definitions.source import Report, Tree, parse_yaml, plain
from tailorbird.errors import InvalidDefinition, InvalidInput

__all__ = ["read_spec"]

T = TypeVar("T")

_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
_READ: Final = NEUTRAL | {"id", "name", "emails", "phones", "created_at", "updated_at", "deleted"}
_HEADER: Final = re.compile(r"[A-Za-z0-9-]{1,80}\Z")
_TEXT: Final = "text"


def read_spec(text: str, name: str = "custom.yaml") -> Spec:
    """Return the connector that a YAML text describes; raise ``InvalidDefinition`` with all mistakes, each with its place."""
    report = Report()
    trees = parse_yaml(text, name, report)
    spec = None
    if len(trees) == 1:
        spec = _Reader(report).spec(trees[0])
    elif not report.total:
        report.add("wrong_count", f"there are {len(trees)} documents; a connector is one", name)
    if report.total or spec is None:
        more = f" (and {report.more} more)" if report.more else ""
        raise InvalidDefinition(f"{name} is no custom connector: {report.total} mistakes{more}.", mistakes=tuple(report.mistakes))
    return spec


class _Reader:
    """Reads values by the fields of the class that they are to become, and notes what does not fit."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def bad(self, tree: Tree, message: str, hint: str = "", code: str = "wrong_value") -> None:
        self.report.add(code, message, tree.place, hint)

    # ---- the parts

    def spec(self, tree: Tree) -> Spec | None:
        made = self.struct(tree, Spec, "the connector", {
            "base_url": self.address, "auth": self.auth, "operations": self.operations, "headers": self.texts, "limits": self.limits,
            "errors": self.errors, "reading": self.reading, "writing": self.writing, "fields": self.path,
            "unique_email": self.flag, "merges_lists": self.flag, "webhook": self.webhook,
        })  # fmt: skip
        if made is not None and not made.reading.get("id"):
            self.bad(tree.value.get("reading", tree), "reading says nothing of id", "Add id: $.id.", "missing")
        if made is not None and "get" not in made.operations:
            self.bad(
                tree.value.get("operations", tree),
                "there is no operation get",
                "Every connector reads a record by id.",
                "missing",
            )
        return made

    def auth(self, tree: Tree) -> AuthSpec | None:
        return self.struct(tree, AuthSpec, "auth", {
            "kind": self.among("none", "header", "basic", "bearer", "oauth2"), "header": self.header, "template": self.template("secret"),
        })  # fmt: skip

    def operations(self, tree: Tree) -> dict[str, Operation]:
        made = {}
        for name, inner in self.mapping(tree).items():
            if name not in PARAMETERS:
                self.bad(inner, f"{name!r:.60} is no operation", f"There are {', '.join(PARAMETERS)}.", "unknown_field")
                continue
            filled = self.template(*PARAMETERS[name])
            found = self.struct(inner, Operation, name, {
                "method": self.among(*_METHODS), "path": filled, "query": self.templates(filled), "body": filled,
                "headers": self.templates(filled), "record": self.path, "records": self.path, "id": self.path, "total": self.path,
                "pagination": self.pages, "equals": self.texts, "contains": self.texts, "before": self.texts,
                "time": self.among("iso", "epoch_ms", "epoch_s"), "overlap": self.count(0, 86_400), "batch": self.count(1, 1_000),
                "rows": self.rows, "kinds": self.kinds, "found": self.path, "found_equals": plain,
                "channels": self.list_of(self.text), "idempotent": self.flag,
            })  # fmt: skip
            if found is not None:
                made[name] = found
                if not found.path.startswith("/"):
                    self.bad(inner.value.get("path", inner), f"{name}: path has to begin with /")
        return made

    def pages(self, tree: Tree) -> Pages | None:
        made = self.struct(tree, Pages, "pagination", {
            "kind": self.among("none", "cursor", "next_url", "offset", "page"), "path": self.path, "size": self.count(1, 10_000),
            "first": self.count(0, 1),
        })  # fmt: skip
        needs = {"cursor": ("path", "param"), "next_url": ("path",), "offset": ("param",), "page": ("param",)}
        for name in needs.get(made.kind, ()) if made is not None else ():
            if not getattr(made, name):
                self.bad(tree, f"pagination of kind {made.kind} needs {name}", code="missing")  # type: ignore[union-attr]
        return made

    def rows(self, tree: Tree) -> Rows | None:
        paths = dict.fromkeys(("path", "id", "ok", "error", "created"), self.path)
        return self.struct(tree, Rows, "rows", {**paths, "equals": plain})

    def errors(self, tree: Tree) -> tuple[ErrorRule, ...]:
        read = {
            "to": self.among(*CLASSES), "status": self.statuses, "path": self.path, "equals": plain, "regex": self.regex,
            "existing": self.path, "existing_regex": self.regex, "retry_header": self.header, "retry_path": self.path,
            "retry_unit": self.unit, "fields": self.path,
        }  # fmt: skip
        return self.list_of(lambda one: self.struct(one, ErrorRule, "an error", read))(tree)

    def webhook(self, tree: Tree) -> WebhookSpec | None:
        paths = dict.fromkeys(("path", "events", "id", "record", "type", "at"), self.path)
        made = self.struct(tree, WebhookSpec, "webhook", {
            **paths, "verify": self.among("hmac", "basic", "shared_token", "path_secret"), "header": self.header,
            "algorithm": self.among("sha1", "sha256", "sha512"), "encoding": self.among("hex", "base64"),
            "payload": self.template("body", "time", "method", "url"), "time_header": self.header, "time_unit": self.unit,
            "tolerance": self.count(1, 86_400), "types": self.texts,
        })  # fmt: skip
        if made is not None and made.verify == "hmac" and not made.header:
            self.bad(tree, "verifying by hmac needs header", "Name the header that holds the signature.", "missing")
        if made is not None and made.verify == "hmac" and "{body}" not in made.payload:
            self.bad(tree, "the payload of hmac has to hold {body}", "Else anybody may change the body.")
        if made is not None and made.verify == "shared_token" and not (made.header or made.path):
            self.bad(tree, "verifying by shared_token needs header or path", code="missing")
        return made

    def reading(self, tree: Tree) -> dict[str, Mapped]:
        made = self.mapped(tree, path=True)
        for name in made:
            if name not in _READ and not name.startswith("consent:"):
                self.bad(
                    tree.value[name], f"{name!r:.60} is no neutral field", f"There are {', '.join(sorted(_READ))}, consent:…."
                )
        return made

    def writing(self, tree: Tree) -> dict[str, Mapped]:
        return self.mapped(tree, path=False)

    def mapped(self, tree: Tree, *, path: bool) -> dict[str, Mapped]:
        made = {}
        place = self.path if path else self.text
        for name, inner in self.mapping(tree).items():
            if isinstance(inner.value, str):
                found = place(inner)
                one = None if found is None else Mapped(path=found)
            else:
                one = self.struct(inner, Mapped, name, {"path": place, "transforms": self.list_of(self.transform)})
            if one is not None:
                made[name] = one
        return made

    # ---- single values

    def struct(self, tree: Tree, kind: Callable[..., T], about: str, read: Mapping[str, Callable[[Tree], Any]]) -> T | None:
        before = self.report.total
        held = self.mapping(tree)
        known = {one.name: one for one in fields(kind)}  # type: ignore[arg-type]
        for name, inner in held.items():
            if name not in known:
                self.bad(inner, f"{about}: {name!r:.60} is not known", f"Known are {', '.join(known)}.", "unknown_field")
        for name, one in known.items():
            if name not in held and one.default is MISSING and one.default_factory is MISSING:
                self.bad(tree, f"{about}: {name} is missing", code="missing")
        values = {name: read.get(name, self.text)(inner) for name, inner in held.items() if name in known}
        return kind(**values) if self.report.total == before else None

    def mapping(self, tree: Tree) -> dict[str, Tree]:
        if isinstance(tree.value, dict):
            return tree.value
        self.bad(tree, "this has to be a mapping of names to values", code="wrong_type")
        return {}

    def text(self, tree: Tree) -> Any:
        if isinstance(tree.value, str):
            return tree.value
        self.bad(tree, f"{tree.value!r:.40} is not text", "Put it between quotes.", "wrong_type")
        return None

    def flag(self, tree: Tree) -> Any:
        if not isinstance(tree.value, bool):
            self.bad(tree, "this has to be true or false", code="wrong_type")
        return tree.value

    def path(self, tree: Tree) -> Any:
        if isinstance(tree.value, str) and check_path(tree.value):
            return tree.value
        self.bad(tree, f"{plain(tree)!r:.60} is not a path", "Write $.data[0].id, or $ for the whole answer.")
        return None

    def header(self, tree: Tree) -> Any:
        if isinstance(tree.value, str) and _HEADER.match(tree.value):
            return tree.value.lower()
        self.bad(tree, f"{plain(tree)!r:.60} is not the name of a header")
        return None

    def regex(self, tree: Tree) -> Any:
        try:
            return re.compile(str(self.text(tree))).pattern
        except re.error as error:
            self.bad(tree, f"this is not a regular expression: {error}")
        return None

    def address(self, tree: Tree) -> Any:
        try:
            check_address(str(self.text(tree)))
        except InvalidInput as error:
            self.bad(tree, error.message, error.hint)
        return tree.value

    def transform(self, tree: Tree) -> Any:
        if not isinstance(tree.value, str) or not check_transform(tree.value):
            self.bad(tree, f"{plain(tree)!r:.60} is no transform", f"There are {', '.join(TRANSFORMS)}, split X and join X.")
        return tree.value

    def unit(self, tree: Tree) -> Any:
        found = {"s": 1000, "ms": 1}.get(str(tree.value))
        if found is None:
            self.bad(tree, "a unit is s or ms")
        return found

    def statuses(self, tree: Tree) -> tuple[int, ...]:
        one = [tree] if isinstance(tree.value, int) else tree.value
        return self.list_of(self.count(100, 599))(Tree(one, tree.place))

    def limits(self, tree: Tree) -> dict[str, int]:
        for name, inner in self.mapping(tree).items():
            if name not in LENGTHS:
                self.bad(inner, f"{name!r:.40} is no window", f"There are {', '.join(LENGTHS)}.", "unknown_field")
        return {name: self.count(1, 10**9)(inner) for name, inner in self.mapping(tree).items()}

    def kinds(self, tree: Tree) -> dict[str, str]:
        for name, inner in self.mapping(tree).items():
            if name not in ACTIVITY_KINDS:
                self.bad(inner, f"{name!r:.40} is no kind of activity", f"There are {', '.join(sorted(ACTIVITY_KINDS))}.")
        return self.texts(tree)

    def texts(self, tree: Tree) -> dict[str, str]:
        return {name: self.text(inner) for name, inner in self.mapping(tree).items()}

    def templates(self, read: Callable[[Tree], Any]) -> Callable[[Tree], dict[str, Any]]:
        def several(tree: Tree) -> dict[str, Any]:
            return {name: read(inner) for name, inner in self.mapping(tree).items() if self.text(inner) is not None}

        return several

    def template(self, *names: str) -> Callable[[Tree], Any]:
        def filled(tree: Tree) -> Any:
            value = plain(tree)
            for name in sorted(names_in(value) - set(names)):
                known = ", ".join(f"{{{one}}}" for one in sorted(names)) or "no values"
                self.bad(tree, f"{{{name}}} is not known here", f"There are {known}.", "unknown_name")
            return value

        return filled

    def among(self, *choices: str) -> Callable[[Tree], Any]:
        def chosen(tree: Tree) -> Any:
            if tree.value not in choices:
                self.bad(tree, f"{plain(tree)!r:.60} is not one of {', '.join(choices)}")
            return tree.value

        return chosen

    def count(self, low: int, high: int) -> Callable[[Tree], Any]:
        def number(tree: Tree) -> Any:
            if type(tree.value) is not int or not low <= tree.value <= high:
                self.bad(tree, f"{plain(tree)!r:.40} is not a whole number from {low} to {high}")
            return tree.value

        return number

    def list_of(self, read: Callable[[Tree], Any]) -> Callable[[Tree], tuple[Any, ...]]:
        def several(tree: Tree) -> tuple[Any, ...]:
            if isinstance(tree.value, list):
                return tuple(read(one) for one in tree.value)
            self.bad(tree, "this has to be a list", code="wrong_type")
            return ()

        return several
