"""The expression language: one meaning, several evaluators."""

from tailorbird.expr.check import Names, Schema, references, resolve, type_of
from tailorbird.expr.explain import explain
from tailorbird.expr.json import from_json, to_json
from tailorbird.expr.parse import parse
from tailorbird.expr.render import to_text

__all__ = [
    "Names",
    "Schema",
    "explain",
    "from_json",
    "parse",
    "references",
    "resolve",
    "to_json",
    "to_text",
    "type_of",
]
