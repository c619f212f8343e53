"""What an answer of a custom connector stands for: the first rule of its description that matches, else its status."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from tailorbird.connectors.base import retry_after
from tailorbird.connectors.custom.spec import ErrorRule, Spec
from tailorbird.connectors.custom.values import read
from tailorbird.connectors.rest import (
    Answer,
    AuthExpired,
    AuthRevoked,
    Forbidden,
    Locked,
    QuotaExhausted,
    RateLimited,
    RemoteConflict,
    RemoteError,
    RemoteInvalid,
    RemoteNotFound,
    Transient,
)
from tailorbird.core.event import Json

__all__ = ["refusals"]

_KINDS: Final[Mapping[str, type[RemoteError]]] = {
    "auth_expired": AuthExpired, "auth_revoked": AuthRevoked, "forbidden": Forbidden, "not_found": RemoteNotFound,
    "conflict": RemoteConflict, "invalid": RemoteInvalid, "rate_limited": RateLimited, "quota_exhausted": QuotaExhausted,
    "locked": Locked, "transient": Transient,
}  # fmt: skip
_HINTS: Final[Mapping[str, str]] = {
    "auth_expired": "Check the key of the connection, and connect again.",
    "auth_revoked": "Connect again.",
    "forbidden": "The key may not do this; give it the right there.",
}
_NAME: Final = re.compile(r"[A-Za-z0-9_.\[\]-]{1,80}\Z")
_MOST: Final = 100_000


def refusals(spec: Spec) -> Callable[[Answer, RemoteError | None], RemoteError | None]:
    """Return what says of an answer which error it is, None where it is good."""
    rules = [(rule, re.compile(rule.regex) if rule.regex else None) for rule in spec.errors]

    def refuse(answer: Answer, error: RemoteError | None) -> RemoteError | None:
        body = _json(answer) if answer.status >= 300 or any(rule.path for rule, _ in rules) else None
        for rule, pattern in rules:
            if _matches(rule, pattern, answer, body):
                return None if rule.to == "ok" else _error(spec.name, rule, answer, body, error)
        if isinstance(error, AuthExpired | Forbidden):
            kind = "auth_expired" if isinstance(error, AuthExpired) else "forbidden"
            said = "Unauthorized" if kind == "auth_expired" else "Forbidden"
            return type(error)(f"{error.message} - {said}", hint=_HINTS[kind], http_status=answer.status)
        return error

    return refuse


def _matches(rule: ErrorRule, pattern: re.Pattern[str] | None, answer: Answer, body: Json) -> bool:
    if rule.status and answer.status not in rule.status:
        return False
    if rule.path:
        found = read(rule.path, body)
        if pattern is not None:
            return isinstance(found, str) and pattern.search(found[:_MOST]) is not None
        return found == rule.equals if rule.equals is not None else found is not None
    if pattern is not None:
        return pattern.search(answer.body[:_MOST].decode(errors="replace")) is not None
    return bool(rule.status)


def _error(vendor: str, rule: ErrorRule, answer: Answer, body: Json, by_status: RemoteError | None) -> RemoteError:
    wait = by_status.retry_after if by_status is not None else None
    told = (
        read(rule.retry_path, body) if rule.retry_path else answer.headers.get(rule.retry_header) if rule.retry_header else None
    )
    if isinstance(told, int | float) or (isinstance(told, str) and told.strip().isdecimal()):
        wait = min(int(float(told) * rule.retry_unit), 86_400_000)
    elif isinstance(told, str):
        wait = retry_after(told, 0) or wait
    existing = read(rule.existing, body) if rule.existing else None
    if existing is None and rule.existing_regex:
        found = re.search(rule.existing_regex, answer.body[:_MOST].decode(errors="replace"))
        existing = found[1] if found is not None and found.groups() else None
    wrong = read(rule.fields, body) if rule.fields else None
    names = (
        [str(one) for one in wrong if _NAME.match(str(one))]
        if isinstance(wrong, list)
        else list(wrong)
        if isinstance(wrong, dict)
        else []
    )
    return _KINDS[rule.to](
        f"{vendor} API error: {answer.status} - {rule.to}", hint=_HINTS.get(rule.to, ""), http_status=answer.status, retry_after=wait,
        sent=rule.to == "transient", fields=tuple(names[:20]), existing=None if existing is None else str(existing),
    )  # fmt: skip


def _json(answer: Answer) -> Json:
    try:
        return answer.json()
    except ValueError:
        return None
