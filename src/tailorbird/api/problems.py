"""Errors as RFC 9457 problem details: one form for every refusal, whichever path it took."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec

from tailorbird.errors import InvalidExpression, Mistake, TailorbirdError

__all__ = ["CONTENT_TYPE", "Problem", "encode", "problem", "problem_of"]

CONTENT_TYPE = "application/problem+json"


class Problem(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A refusal: HTTP ``status``, stable ``code``, ``title`` of the status, ``detail`` for people, ``mistakes`` one by one."""

    status: int
    code: str
    title: str
    detail: str
    type: str = "about:blank"
    hint: str = ""
    mistakes: list[dict[str, Any]] = []


def problem(status: int, code: str, detail: str, *, hint: str = "", mistakes: list[dict[str, Any]] | None = None) -> Problem:
    """Return the problem details of a refusal."""
    return Problem(status=status, code=code, title=HTTPStatus(status).phrase, detail=detail, hint=hint, mistakes=mistakes or [])


def problem_of(error: TailorbirdError, *, status: int | None = None) -> Problem:
    """Return the problem details of one of our own errors, each mistake with line, column and excerpt where it has them."""
    text = error.text if isinstance(error, InvalidExpression) else None
    mistakes = [_mistake(m, text) for m in error.mistakes]
    return problem(status or error.status, error.code, error.message, hint=error.hint, mistakes=mistakes)


def encode(refusal: Problem) -> bytes:
    """Return the JSON body."""
    return msgspec.json.encode(refusal)


def _mistake(mistake: Mistake, text: str | None) -> dict[str, Any]:
    row: dict[str, Any] = {"code": mistake.code, "message": mistake.message}
    if mistake.where:
        row["where"] = mistake.where
    if mistake.hint:
        row["hint"] = mistake.hint
    if text is not None and mistake.span is not None:
        row["line"], row["column"] = mistake.span.locate(text)
        row["excerpt"] = mistake.render(text)
    elif mistake.excerpt:
        row["excerpt"] = mistake.excerpt
    return row
