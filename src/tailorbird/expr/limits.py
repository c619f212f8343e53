"""How large an expression may be; the reference page tells users."""

from __future__ import annotations

from typing import Final

__all__ = [
    "MAX_DEPTH",
    "MAX_HELD",
    "MAX_LENGTH",
    "MAX_MISTAKES",
    "MAX_NODES",
    "MAX_NUMBER",
    "MAX_READING",
    "MAX_RESOLVED_DEPTH",
    "MAX_RESOLVED_NODES",
    "MAX_STEPS",
]

MAX_LENGTH: Final = 20_000
"""Characters in an expression."""
MAX_DEPTH: Final = 64
"""How deep expressions may nest."""
MAX_READING: Final = 2 * MAX_DEPTH + 4
"""How deep the parser goes: parentheses and functions count too, so that whatever nests 64 levels can be read back."""
MAX_NODES: Final = 2_000
"""Parts in an expression."""
MAX_MISTAKES: Final = 25
"""After so many mistakes reading stops."""
MAX_NUMBER: Final = 1e15
"""The largest magnitude of a constant, and of a number read out of data."""
MAX_RESOLVED_DEPTH: Final = 160
"""How deep an expression may nest once the segments and features that it names are written out."""
MAX_HELD: Final = 3
"""How many ``held`` may stand one inside another: each looks at every change of the one inside, so the work multiplies."""
MAX_RESOLVED_NODES: Final = 20_000
"""How many parts it may have then."""
MAX_STEPS: Final = 16
"""Steps in a ``sequence``: everybody's events are gone through once for each."""
