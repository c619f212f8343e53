"""HTML as text with holes: where its tags are, without python-liquid and without building a tree."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final, Literal

__all__ = ["DATA", "LIQUID", "Place", "State", "feed"]

State = Literal["data", "open", "name", "tag", "attribute", "before", "value", "comment", "raw", "close"]
"""Between tags · after ``<`` · in its name · between attributes · in an attribute's name · before its value · in it · …"""

LIQUID: Final = re.compile(
    r"\{%-?\s*raw\s*-?%\}.*?\{%-?\s*endraw\s*-?%\}|\{%-?\s*comment\s*-?%\}.*?\{%-?\s*endcomment\s*-?%\}"
    r"|\{\{.*?\}\}|\{%.*?%\}",
    re.DOTALL,
)
"""What is Liquid in a template's source."""

_RAW: Final = frozenset({"script", "style", "title", "textarea", "xmp", "iframe", "noembed", "noframes", "noscript", "plaintext"})
_SPACE: Final = frozenset(" \t\r\n\f")
_NAME: Final = re.compile(r"[A-Za-z0-9:_.-]*")
_ATTRIBUTE: Final = re.compile(r"[^\s=>/\"']*")
_STATES: Final = {
    "data": "text", "open": "the beginning of a tag", "name": "the name of a tag", "tag": "a tag", "attribute": "the name of an attribute",
    "before": "a tag", "value": "an attribute", "comment": "a comment", "raw": "an element", "close": "a closing tag",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """A place in HTML. ``begun``: something stands in the attribute's value already; ``query``: a ``?`` does.

    ``head`` is what the template wrote at the beginning of the attribute (None: a value stands there, or branches differ);
    ``settled``: whatever follows, the address cannot get another scheme.
    """

    state: State = "data"
    tag: str = ""
    attribute: str = ""
    quote: str = ""
    begun: bool = False
    query: bool = False
    head: str | None = ""
    settled: bool = False

    def told(self) -> str:
        """Return the place for people."""
        match self.state:
            case "value":
                return f"the attribute {self.attribute}"
            case "raw" | "close":
                return f"<{self.tag}>"
        return _STATES[self.state]

    def merged(self, other: Place) -> Place | None:
        """Return the place of two branches that end alike, None when they do not."""
        if replace(self, begun=other.begun, query=other.query, head=other.head, settled=other.settled) != other:
            return None
        return replace(
            self, begun=self.begun and other.begun, query=self.query or other.query,
            head=self.head if self.head == other.head else None, settled=self.settled and other.settled,
        )  # fmt: skip


DATA: Final = Place()


def feed(place: Place, text: str) -> Place:  # noqa: PLR0915
    """Return the place after some markup.

    >>> feed(DATA, '<p>Hi <a class="b" href="https://x/?q=')
    Place(state='value', tag='a', attribute='href', quote='"', begun=True, query=True, head='https://x/?q=', settled=False)
    """
    at, end = 0, len(text)
    while at < end:
        match place.state:
            case "data":
                at = text.find("<", at)
                if at < 0:
                    return place
                at += 1
                if text.startswith("!--", at):
                    place, at = Place("comment"), at + 3
                elif at < end and not (text[at].isalpha() or text[at] in "/!?"):
                    pass  # a lone < is text
                else:
                    place = Place("open")
            case "open":
                closing = text[at] in "/!?"
                at += closing
                name = _NAME.match(text, at)
                assert name is not None
                at = name.end()
                place = Place("close" if closing else "name", name[0].lower())
            case "name":
                more = _NAME.match(text, at)
                if more is not None and more[0]:
                    place, at = replace(place, tag=place.tag + more[0].lower()), more.end()
                else:
                    place = replace(place, state="tag")
            case "close":
                at = text.find(">", at) + 1
                if not at:
                    return place
                place = DATA
            case "tag":
                if text[at] == ">":
                    place = Place("raw", place.tag) if place.tag in _RAW else DATA
                    at += 1
                elif text[at] in _SPACE or text[at] in "/\"'=":
                    at += 1
                else:
                    place = replace(place, state="attribute", attribute="")
            case "attribute":
                name = _ATTRIBUTE.match(text, at)
                assert name is not None
                place, at = replace(place, attribute=place.attribute + name[0].lower()), name.end()
                if at < end:
                    place, at = _after_name(place, text, at)
            case "before":
                if text[at] in _SPACE:
                    at += 1
                elif text[at] == ">":
                    place = replace(place, state="tag", attribute="")
                else:
                    quote = text[at] if text[at] in "\"'" else ""
                    place = replace(place, state="value", quote=quote, begun=False, query=False, head="", settled=False)
                    at += bool(quote)
            case "value":
                place, at = _in_value(place, text, at)
            case "comment":
                at = text.find("-->", at)
                if at < 0:
                    return place
                place, at = DATA, at + 3
            case "raw":
                found = re.compile(rf"</{place.tag}(?=[\s/>]|\Z)", re.IGNORECASE).search(text, at)
                if found is None:
                    return place
                place, at = Place("close", place.tag), found.end()
    return place


def _after_name(place: Place, text: str, at: int) -> tuple[Place, int]:
    rest = text[at:].lstrip(" \t\r\n\f")
    if rest.startswith("="):
        return replace(place, state="before"), end_of(text, at) + 1
    return replace(place, state="tag", attribute=""), at


def end_of(text: str, at: int) -> int:
    """Return where the white space that begins at a place ends."""
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def _in_value(place: Place, text: str, at: int) -> tuple[Place, int]:
    if place.quote:
        end = text.find(place.quote, at)
        stop, skip = (len(text), 0) if end < 0 else (end, 1)
    else:
        stop, skip, end = at, 0, -1
        while stop < len(text) and text[stop] not in _SPACE and text[stop] != ">":
            stop += 1
        end = stop if stop < len(text) else -1
    inside = text[at:stop]
    if end >= 0:
        return Place("tag", place.tag), stop + skip
    begun = place.begun or bool(inside.strip())
    head = None if place.head is None else place.head + inside
    return replace(place, begun=begun, query=place.query or "?" in inside, head=head), stop
