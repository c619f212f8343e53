"""The expression language: one meaning, several evaluators."""

from tailorbird.expr.check import Names, Schema, references, resolve, type_of
from tailorbird.expr.parse import parse

__all__ = ["Names", "Schema", "parse", "references", "resolve", "type_of"]
