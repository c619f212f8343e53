"""What a custom connector is made of: values read from YAML, checked as a whole before anything is asked of anybody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from tailorbird.core.event import Json

__all__ = ["CLASSES", "PARAMETERS", "AuthSpec", "ErrorRule", "Mapped", "Operation", "Pages", "Rows", "Spec", "WebhookSpec"]

CLASSES: Final = (
    "auth_expired", "auth_revoked", "forbidden", "not_found", "conflict", "invalid", "rate_limited", "quota_exhausted", "locked",
    "transient", "ok",
)  # fmt: skip
"""What an answer can be said to be."""

PARAMETERS: Final[Mapping[str, frozenset[str]]] = {
    "test": frozenset(),
    "get": frozenset({"id"}),
    "list": frozenset({"limit"}),
    "search": frozenset({"text", "limit"}),
    "find_email": frozenset({"email", "limit"}),
    "find_phone": frozenset({"phone", "limit"}),
    "create": frozenset({"values", "key"}),
    "update": frozenset({"id", "values", "key"}),
    "upsert_many": frozenset({"rows"}),
    "log_activity": frozenset({"key", "kind", "record", "at", "at_iso", "subject", "body", "data"}),
    "set_consent": frozenset({"id", "channel", "purpose", "given"}),
    "add_member": frozenset({"id", "segment"}),
    "remove_member": frozenset({"id", "segment"}),
    "subscribe": frozenset({"url"}),
    "unsubscribe": frozenset({"id"}),
}
"""The operations there are, and the names that each one's templates may hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthSpec:
    """How the connection shows who it is. ``secret`` names the credential that the vault holds."""

    kind: Literal["none", "header", "basic", "bearer", "oauth2"] = "none"
    header: str = "authorization"
    template: str = "{secret}"
    secret: str = "key"
    user: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """How many pages follow one another: ``cursor`` and ``next_url`` stand in the answer, ``offset`` and ``page`` are counted."""

    kind: Literal["none", "cursor", "next_url", "offset", "page"] = "none"
    path: str = ""
    param: str = ""
    limit_param: str = ""
    size: int = 100
    first: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Where an answer about many rows tells of each: by its place in the list at ``path``."""

    path: str
    id: str
    ok: str
    equals: Json
    error: str = ""
    created: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One request: method, address, query and body are templates; the paths say where in the answer things stand."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Json = None
    headers: Mapping[str, str] = field(default_factory=dict)
    record: str = "$"
    records: str = "$"
    id: str = "$.id"
    total: str = ""
    pagination: Pages = field(default_factory=Pages)
    equals: Mapping[str, str] = field(default_factory=dict)
    contains: Mapping[str, str] = field(default_factory=dict)
    before: Mapping[str, str] = field(default_factory=dict)
    changed_since: str = ""
    time: str = "iso"
    overlap: int = 60
    batch: int = 1
    rows: Rows | None = None
    kinds: Mapping[str, str] = field(default_factory=dict)
    found: str = ""
    found_equals: Json = True
    channels: tuple[str, ...] = ()
    idempotent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRule:
    """Answers that match are of a class. Every condition that is given has to hold; the first rule that matches counts."""

    to: str
    status: tuple[int, ...] = ()
    path: str = ""
    equals: Json = None
    regex: str = ""
    existing: str = ""
    existing_regex: str = ""
    retry_header: str = ""
    retry_path: str = ""
    retry_unit: int = 1000
    fields: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """Where a value stands (read: a path; written: names with dots between), and what is done to it on the way."""

    path: str
    transforms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSpec:
    """How a webhook shows whose it is, and where its notices stand."""

    verify: Literal["hmac", "basic", "shared_token", "path_secret"]
    header: str = ""
    algorithm: str = "sha256"
    encoding: str = "hex"
    prefix: str = ""
    payload: str = "{body}"
    time_header: str = ""
    time_unit: int = 1000
    tolerance: int = 300
    path: str = ""
    user: str = ""
    events: str = "$"
    id: str = ""
    record: str = "$.id"
    type: str = ""
    types: Mapping[str, str] = field(default_factory=dict)
    at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A whole custom connector."""

    name: str
    base_url: str
    auth: AuthSpec
    operations: Mapping[str, Operation]
    reading: Mapping[str, Mapped]
    writing: Mapping[str, Mapped]
    headers: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)
    errors: tuple[ErrorRule, ...] = ()
    fields: str = "$"
    unique_email: bool = False
    merges_lists: bool = False
    webhook: WebhookSpec | None = None

    def operation(self, name: str) -> Operation | None:
        """Return an operation; None where this connector has none of that name."""
        return self.operations.get(name)
