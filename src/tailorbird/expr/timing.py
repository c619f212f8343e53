"""How a value may depend on the running clock: only in ways whose next change can be told beforehand.

A value *varies with time* when it contains ``now`` or ``time_since``.
"""

from __future__ import annotations

from tailorbird.errors import Mistake
from tailorbird.expr.limits import MAX_HELD
from tailorbird.expr.nodes import Arith, Compare, Held, In, Literal, Negate, Node, Now, TimeSince, children, walk

__all__ = ["held_mistakes", "timing_mistakes", "varies"]


def varies(node: Node) -> bool:
    """Tell whether the value of a resolved expression moves with the clock by itself.

    >>> from tailorbird.expr.nodes import Bucket
    >>> varies(Negate(TimeSince("a"))), varies(Bucket("a"))
    (True, False)
    """
    return any(isinstance(part, Now | TimeSince) for part in walk(node))


def timing_mistakes(node: Node) -> list[Mistake]:
    """Return a mistake for every product of two values that vary with time and every division by one."""
    mistakes = []
    for part in walk(node):
        match part:
            case Arith(op="*", left=left, right=right) if varies(left) and varies(right):
                message = "two values that vary with time cannot be multiplied"
                mistakes.append(Mistake("varies_with_time", message, "compare each of them with a constant", part.span))
            case Arith(op="/", right=right) if varies(right):
                message = "nothing can be divided by a value that varies with time"
                mistakes.append(Mistake("varies_with_time", message, "multiply the other side instead", part.span))
            case _:
                pass
    return mistakes


def held_mistakes(node: Node) -> list[Mistake]:
    """Return a mistake for everything inside a ``held`` that varies with time in more than the simple form."""
    hint = "inside held write time_since(event) > 7d, or now > x + 7d"
    mistakes = []
    for part in walk(node):
        if isinstance(part, Held):
            for culprit in _not_simple(part.condition):
                message = "held cannot follow what varies with time in this way"
                mistakes.append(Mistake("varies_with_time", message, hint, culprit.span or part.span))
    if _held_depth(node) > MAX_HELD:
        message = f"held stands at most {MAX_HELD} deep in itself"
        mistakes.append(Mistake("too_deep", message, "the inner duration can often be added to the outer one", node.span))
    return mistakes


def _held_depth(node: Node) -> int:
    """Return how many ``held`` stand one inside another."""
    below = max((_held_depth(part) for part in children(node)), default=0)
    return below + isinstance(node, Held)


def _not_simple(node: Node) -> list[Node]:
    """Return the comparisons in a condition that vary with time other than in the simple form."""
    if not varies(node):
        return []
    match node:
        case Compare(left=left, right=right):
            return [] if _simple(left, right) or _simple(right, left) else [node]
        case In(item=item) if varies(item):
            return [node]
        case _:
            return [found for part in children(node) for found in _not_simple(part)]


def _simple(moving: Node, other: Node) -> bool:
    """Tell whether ``moving op other`` is ``time_since(e) op constant`` or ``now op x``, give or take constant durations."""
    core = _core(moving)
    if isinstance(core, TimeSince):
        return _constant(other)
    return isinstance(core, Now) and not varies(other)


def _core(node: Node) -> Node:
    """Return what is left when constant durations are taken off a sum."""
    while isinstance(node, Arith) and node.op in ("+", "-"):
        if _constant(node.right):
            node = node.left
        elif node.op == "+" and _constant(node.left):
            node = node.right
        else:
            break
    return node


def _constant(node: Node) -> bool:
    return all(isinstance(part, Literal | Arith | Negate) for part in walk(node))
