"""The incremental evaluator: conditions and values over one profile's history, kept exact event by event."""

from tailorbird.expr.incremental.program import NEVER, Change, Program, State, true_since

__all__ = ["NEVER", "Change", "Program", "State", "true_since"]
