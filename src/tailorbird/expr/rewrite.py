"""What surface forms stand for: tags and segments become toggles and conditions, nested ``and`` and ``or`` become flat."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from tailorbird.core.event import MEMBER_ADDED, MEMBER_REMOVED, TAG_ADDED, TAG_REMOVED
from tailorbird.errors import Span
from tailorbird.expr.nodes import And, IsTrue, Node, Or, Toggle

__all__ = ["flat", "member", "respan", "tag"]


def tag(name: str, span: Span | None = None) -> Toggle:
    """Return what ``has_tag(name)`` stands for.

    >>> tag("vip")
    Toggle(on='tag.added', off='tag.removed', key='tag', value='vip')
    """
    return Toggle(TAG_ADDED, TAG_REMOVED, "tag", name, span=span)


def member(segment: str, condition: Node | None, span: Span | None = None) -> Node:
    """Return what ``member_of(segment)`` stands for; ``condition`` is resolved, or None for a segment kept by hand."""
    if condition is None:
        return Toggle(MEMBER_ADDED, MEMBER_REMOVED, "segment", segment, span=span)
    return IsTrue(respan(condition, span), span=span)


def flat(node: Node) -> Node:
    """Return an ``And`` or ``Or`` with items of its own kind written into it; any other node as it is.

    >>> from tailorbird.expr.nodes import Now
    >>> len(flat(And((And((Now(), Now())), Now()))).items)
    3
    """
    if not isinstance(node, And | Or):
        return node
    kind = type(node)
    if not any(isinstance(item, kind) for item in node.items):
        return node
    items: list[Node] = []
    for item in node.items:
        items.extend(item.items if isinstance(item, kind) else (item,))
    return replace(node, items=tuple(items))


def respan(node: Node, span: Span | None) -> Node:
    """Return the expression as if all of it stood at ``span``: a part taken from elsewhere points at where it is named."""
    changes: dict[str, Any] = {"span": span}
    for item in fields(node):
        value = getattr(node, item.name)
        if isinstance(value, Node):
            changes[item.name] = respan(value, span)
        elif isinstance(value, tuple) and value and isinstance(value[0], Node):
            changes[item.name] = tuple(respan(part, span) for part in value)
    return replace(node, **changes)
