"""Where in HTML a value stands, and so how it is escaped; where no escaping is safe, a value may not stand at all.

A contextual escaper after Samuel, Saxena and Song, "Context-sensitive auto-sanitization in web templating languages using
type qualifiers" (CCS 2011): the markup is followed through the template, every branch has to end where the others do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import unescape
from typing import Any, Final, NamedTuple

from liquid.ast import BlockNode, Node
from liquid.builtin.content import ContentNode
from liquid.builtin.tags.capture_tag import CaptureNode
from liquid.builtin.tags.case_tag import CaseNode
from liquid.builtin.tags.for_tag import ForNode
from liquid.builtin.tags.if_tag import IfNode
from liquid.builtin.tags.include_tag import IncludeNode
from liquid.builtin.tags.render_tag import RenderNode
from liquid.builtin.tags.unless_tag import UnlessNode

from tailorbird.content.escaping import ADDRESS, ATTRIBUTE, COMMENT, CSS, HTML, PATH, QUERY, Escape, addresses, allowed, scheme_of
from tailorbird.content.markup import DATA, Place, feed
from tailorbird.content.syntax import Value
from tailorbird.errors import Mistake, Span

__all__ = ["Placed", "place_values", "placed"]

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
_ANIMATED: Final = frozenset({"animate", "animatecolor", "animatemotion", "animatetransform", "set"})
_ANIMATION: Final = frozenset({"values", "to", "from", "by", "attributename"})
_SETTLES: Final = "/?#"


class Placed(NamedTuple):
    """What stands where nothing may, whether an address is ``unsettled`` (only the finished one tells its
    scheme), and the ``addresses`` that the template wrote as a whole."""

    mistakes: list[Mistake]
    unsettled: bool
    addresses: frozenset[str]


def place_values(nodes: Sequence[Node]) -> list[Mistake]:
    """Give every value of a parsed HTML text the escaping of its place; return what stands where nothing may."""
    return placed(nodes).mistakes


def placed(nodes: Sequence[Node]) -> Placed:
    """Do the same, and say whether the finished addresses have to be looked at."""
    walk = _Walk()
    end = walk.through(nodes, DATA)
    if end.state != "data" and not walk.mistakes:
        walk.mistakes.append(Mistake("open_markup", f"the HTML ends inside {end.told()}", "Close the tag."))
    return Placed(walk.mistakes, walk.unsettled, frozenset(walk.addresses))


@dataclass
class _Walk:
    mistakes: list[Mistake]
    unsettled: bool
    addresses: set[str]

    def __init__(self) -> None:
        self.addresses = set()
        self.mistakes = []
        self.unsettled = False

    def through(self, nodes: Sequence[Node], place: Place) -> Place:
        for at, node in enumerate(nodes):
            after = nodes[at + 1] if at + 1 < len(nodes) else None
            place = self.value(node, place, after) if isinstance(node, Value) else self.over(node, place)
        return place

    def over(self, node: Node, place: Place) -> Place:
        """Return where the markup stands after a node that began at ``place``."""
        if isinstance(node, ContentNode):
            self.addresses |= addresses(node.text)
            return feed(place, node.text)
        if isinstance(node, CaptureNode):
            end = self.through(node.block.nodes, DATA)
            if end.state != "data":
                self.refuse(node, f"what is captured ends inside {end.told()}", "Close the tag before the capture ends.")
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

    def value(self, node: Value, place: Place, after: Node | None) -> Place:
        escape, wrong, hint = _escape(place, encoded=node.encoded)
        if wrong:
            self.refuse(node, wrong, hint)
        node.escape = escape
        if place.state != "value":
            return place
        return replace(place, begun=True, head=None, settled=self.settled(place, after))

    def settled(self, place: Place, after: Node | None) -> bool:
        """Say whether an address keeps its scheme whatever follows the value that stands here."""
        if place.attribute not in _LINKS or place.settled:
            return place.settled
        if place.head and (scheme_of(place.head) is not None or any(sign in unescape(place.head) for sign in _SETTLES)):
            return True  # with a scheme that may not be there it is refused
        follows = after.text[:1] if isinstance(after, ContentNode) else ""
        if place.head == "" and follows and follows in _SETTLES + place.quote:
            return True  # the value is looked at as a whole, and its address ends there or gets a path
        self.unsettled = True
        return False

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
            return ATTRIBUTE, "", ""
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
    if place.tag in _ANIMATED and name in _ANIMATION:
        return (
            HTML,
            f"a value cannot stand in the attribute {name} of <{place.tag}>",
            "An animation can change addresses; write it out.",
        )
    if name not in _LINKS:
        return ATTRIBUTE, "", ""
    if place.head and not allowed(place.head):
        hint = "Addresses with values in them begin with http, https, mailto, tel or sms, or have no scheme."
        return HTML, f"a value cannot stand in an address that begins with {scheme_of(place.head)}:", hint
    if not place.begun:
        return ADDRESS, "", ""
    if encoded:
        return ATTRIBUTE, "", ""
    return (QUERY if place.query else PATH), "", ""
