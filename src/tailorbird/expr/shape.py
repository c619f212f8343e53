"""Sizes of expressions, measured without recursion and with shared parts looked at once."""

from __future__ import annotations

from tailorbird.expr.nodes import Node, children

__all__ = ["depth_within", "size"]


def depth_within(node: Node, limit: int) -> bool:
    """Tell whether the expression nests at most ``limit`` levels.

    >>> from tailorbird.expr.nodes import Not, Now
    >>> depth_within(Not(Now()), 2), depth_within(Not(Not(Now())), 2)
    (True, False)
    """
    level: list[Node] = [node]
    for _ in range(limit):
        below: dict[int, Node] = {}
        for one in level:
            below.update((id(child), child) for child in children(one))
        if not below:
            return True
        level = list(below.values())
    return False


def size(node: Node) -> int:
    """Return how many parts the expression has when written out; parts that are shared are counted at every place.

    >>> from tailorbird.expr.nodes import And, Now
    >>> now = Now(); size(And((now, now)))
    3
    """
    sizes: dict[int, int] = {}
    stack: list[tuple[Node, bool]] = [(node, False)]
    while stack:
        one, ready = stack.pop()
        if id(one) in sizes:
            continue
        if ready:
            sizes[id(one)] = 1 + sum(sizes[id(child)] for child in children(one))
        else:
            stack.append((one, True))
            stack.extend((child, False) for child in children(one))
    return sizes[id(node)]
