"""Where in HTML a value stands, and so how it is escaped; where no escaping is safe, a value may not stand at all.

A contextual escaper after Samuel, Saxena and Song, "Context-sensitive auto-sanitization in web templating languages using
type qualifiers" (CCS 2011): the markup is followed through the template, every branch has to end where the others do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from liquid.ast import BlockNode, Node
from liquid.builtin.content import ContentNode
from liquid.builtin.tags.capture_tag import CaptureNode
from liquid.builtin.tags.case_tag import CaseNode
from liquid.builtin.tags.for_tag import ForNode
from liquid.builtin.tags.if_tag import IfNode
from liquid.builtin.tags.include_tag import IncludeNode
from liquid.builtin.tags.render_tag import RenderNode
from liquid.builtin.tags.unless_tag import UnlessNode

from tailorbird.content.escaping import ADDRESS, COMMENT, CSS, HTML, PATH, QUERY, Escape
from tailorbird.content.markup import DATA, Place, feed
from tailorbird.content.syntax import Value
from tailorbird.errors import Mistake, Span

__all__ = ["place_values"]

_LINKS: Final = frozenset(
    [
        "href",
        "src",
        "action",
        "formaction",
        "cite",
        "background",
        "poster",
        "longdesc",
        "xlink:href",
        "data",
        "srcset",
        "icon",
        "manifest",
        "ping",
        "codebase",
        "dynsrc",
        "lowsrc",
    ]
)
_REFUSED: Final = re.compile(r"on.*|srcdoc|http-equiv\Z", re.IGNORECASE)


def place_values(nodes: Sequence[Node]) -> list[Mistake]:
    """Give every value of a parsed HTML text the escaping of its place; return what stands where nothing may."""
    walk = _Walk()
    end = walk.through(nodes, DATA)
    if end.state != "data" and not walk.mistakes:
        walk.mistakes.append(Mistake("open_markup", f"the HTML ends inside {end.told()}", "Close the tag."))
    return walk.mistakes


@dataclass
class _Walk:
    mistakes: list[Mistake]

    def __init__(self) -> None:
        self.mistakes = []

    def through(self, nodes: Sequence[Node], place: Place) -> Place:
        for node in nodes:
            place = self.over(node, place)
        return place

    def over(self, node: Node, place: Place) -> Place:
        """Return where the markup stands after a node that began at ``place``."""
        if isinstance(node, ContentNode):
            return feed(place, node.text)
        if isinstance(node, Value):
            return self.value(node, place)
        if isinstance(node, CaptureNode):
            self.through(node.block.nodes, DATA)
            return place
        if isinstance(node, IncludeNode | RenderNode):
            if place.state != "data":
                self.refuse(node, f"another template cannot stand in {place.told()}", "Put it between elements.")
            return place
        ends = list(self.branches(node, place))
        if not ends:
            return place
        known = ends[0]
        for other in ends[1:]:
            if other.merged(known) is None:
                self.refuse(
                    node, f"the branches end in different places of the HTML: in {known.told()} and in {other.told()}",
                    "Let each branch close what it opens.",
                )  # fmt: skip
                return known
            known = other.merged(known) or known
        return known

    def branches(self, node: Node, place: Place) -> Iterator[Place]:
        """Yield where each branch of a node ends, also the one that is not written."""
        blocks = [_block(child) for child in node.children(None, include_partials=False)]  # type: ignore[arg-type]
        for block in blocks:
            yield self.through(block.nodes if isinstance(block, BlockNode) else [], place)
        whole = isinstance(node, IfNode | UnlessNode | CaseNode) and getattr(node, "default", None) is not None
        if isinstance(node, ForNode) or (blocks and not whole):
            yield place

    def value(self, node: Value, place: Place) -> Place:
        escape, wrong, hint = _escape(place, encoded=node.encoded)
        if wrong:
            self.refuse(node, wrong, hint)
        node.escape = escape
        return replace(place, begun=True) if place.state == "value" else place

    def refuse(self, node: Node, message: str, hint: str) -> None:
        start = max(0, node.token.start_index)
        self.mistakes.append(Mistake("unsafe_place", message, hint, Span(start, start + max(2, len(node.token.value)))))


def _block(node: Any) -> Any:
    return node if isinstance(node, BlockNode) else getattr(node, "block", node)


def _escape(place: Place, *, encoded: bool) -> tuple[Escape, str, str]:
    """Return how a value is escaped in a place, or why none may stand there and what to do instead."""
    match place.state:
        case "data":
            return HTML, "", ""
        case "comment":
            return COMMENT, "", ""
        case "raw" if place.tag == "style":
            return CSS, "", ""
        case "raw" if place.tag in ("title", "textarea"):
            return HTML, "", ""
        case "raw":
            return HTML, f"a value cannot stand inside <{place.tag}>", "Mail programs run no scripts; leave it out."
        case "value" if place.quote:
            return _in_attribute(place, encoded=encoded)
        case "value" | "before":
            return HTML, f"the value of {place.attribute} has no quotes", f'Write {place.attribute}="…".'
    return HTML, f"a value cannot stand in {place.told()}", "Values may stand in text and in quoted attributes."


def _in_attribute(place: Place, *, encoded: bool) -> tuple[Escape, str, str]:
    name = place.attribute
    if _REFUSED.match(name) or (name == "content" and place.tag == "meta"):
        return HTML, f"a value cannot stand in the attribute {name}", "What stands there is executed, or redirects; write it out."
    if name == "style":
        return CSS, "", ""
    if name not in _LINKS:
        return HTML, "", ""
    if not place.begun:
        return ADDRESS, "", ""
    if encoded:
        return HTML, "", ""
    return (QUERY if place.query else PATH), "", ""
