"""A template's HTML made ready once, before any value is in it: MJML to HTML, styles into elements, and a text alternative.

Liquid is hidden behind marks that these tools leave alone, and put back afterwards; so nothing of this is done per person,
and no value ever passes through a parser of markup.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Final

from tailorbird.content.markup import DATA, LIQUID, Place, feed
from tailorbird.errors import Mistake, NotInstalled, Span

__all__ = ["PreparedHtml", "from_mjml", "inlined", "prepared", "text_of_html", "text_template"]

_BLOCKS: Final = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "center",
        "dd",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figure",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hr",
        "li",
        "main",
        "nav",
        "ol",
        "p",
        "pre",
        "section",
        "table",
        "tr",
        "ul",
    ]
)
_PARAGRAPHS: Final = frozenset(["p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "blockquote"])
_HIDDEN: Final = frozenset(["head", "style", "script", "title", "template", "noscript"])
_EMPTY: Final = frozenset(["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"])
_NOWHERE: Final = re.compile(r"display\s*:\s*none|mso-hide\s*:\s*all", re.IGNORECASE)
_BINDING: Final = re.compile(r"\{%-?\s*(?:assign|capture|raw)\b")


@dataclass(frozen=True, slots=True)
class PreparedHtml:
    """HTML whose styles are in its elements; with ``each`` that has to be done for every message, since Liquid decides on them."""

    source: str
    each: bool = False


class _Hidden:
    """A source in which every piece of Liquid is a mark, and how to get it back."""

    def __init__(self, source: str, *, comments: bool) -> None:
        self.pieces: list[str] = []
        self.places: list[Place] = []
        self.key = "lqz"
        while self.key in source:
            self.key += "z"
        self._back = re.compile(rf"<!--{self.key}(\d+)q-->|{self.key}(\d+)q")
        out: list[str] = []
        place, at = DATA, 0
        for match in LIQUID.finditer(source):
            static = source[at : match.start()]
            place = feed(place, static)
            mark = f"{self.key}{len(self.pieces)}q"
            out += (static, f"<!--{mark}-->" if comments and place.state == "data" else mark)
            self.pieces.append(match[0])
            self.places.append(place)
            at = match.end()
        out.append(source[at:])
        self.text = "".join(out)

    def shown(self, text: str) -> str:
        return self._back.sub(lambda m: self.pieces[int(m[1] or m[2])], text)

    def lost(self, text: str) -> str | None:
        """Return a piece whose mark is not in a text any more."""
        there = {int(one or other) for one, other in self._back.findall(text)}
        return next((piece for number, piece in enumerate(self.pieces) if number not in there), None)

    def split(self, text: str) -> Iterator[tuple[str, str | None]]:
        """Yield stretches of text, each with the piece of Liquid that follows it (None at the end)."""
        at = 0
        for match in self._back.finditer(text):
            yield text[at : match.start()], self.pieces[int(match[1] or match[2])]
            at = match.end()
        yield text[at:], None


def _missing(package: str) -> NotInstalled:
    return NotInstalled(f"{package} is not installed; templates need it.", hint="pip install 'tailorbird[content]'")


def inlined(html: str) -> str:
    """Return HTML with the rules of its ``style`` elements in its elements; nothing is fetched, media queries stay."""
    try:
        import css_inline
    except ImportError:
        raise _missing("css-inline") from None
    inliner = css_inline.CSSInliner(load_remote_stylesheets=False, keep_link_tags=True, keep_at_rules=True)
    return inliner.inline(html)


def prepared(source: str) -> PreparedHtml:
    """Return a template's HTML with its styles in its elements, Liquid untouched; without ``style`` it stays as it is."""
    if "<style" not in source.lower():
        return PreparedHtml(source)
    hidden = _Hidden(source, comments=True)
    for piece, place in zip(hidden.pieces, hidden.places, strict=True):
        in_tag = place.state not in ("data", "value", "raw", "comment")
        if in_tag or (place.state == "raw" and piece.startswith("{%")) or (place.attribute in ("class", "id") and piece):
            return PreparedHtml(source, each=True)
    try:
        done = inlined(hidden.text)
    except ValueError:
        return PreparedHtml(source)
    # where a parser completes a table, what it adds may end up inside a loop
    completed = done.lower().count("<tbody") > source.lower().count("<tbody") and any(p.startswith("{%") for p in hidden.pieces)
    return PreparedHtml(source, each=True) if completed or hidden.lost(done) is not None else PreparedHtml(hidden.shown(done))


def from_mjml(source: str) -> PreparedHtml | Mistake:
    """Return MJML as HTML, Liquid untouched, or why it is none. Other files are never included."""
    try:
        from mjml import mjml2html
    except ImportError:
        raise _missing("mjml-python") from None
    hidden = _Hidden(source, comments=False)

    def refuse(path: str) -> str:
        raise ValueError(f"mj-include is not read here: {path}")

    try:
        html = mjml2html(hidden.text, include_loader=refuse)
    except ValueError as error:
        position = re.search(r"at position (\d+):", str(error))
        start = min(int(position[1]), len(source)) if position and not hidden.pieces else 0
        return Mistake("invalid_mjml", f"this is not MJML: {hidden.shown(str(error))}", span=Span(start, start + 1))
    lost = hidden.lost(html)
    if lost is not None:
        start = source.find(lost)
        hint = "Between MJML elements Liquid stands inside <mj-raw>."
        return Mistake("invalid_mjml", "MJML drops what stands here", hint, Span(start, start + len(lost)))
    return PreparedHtml(hidden.shown(html))


def text_of_html(html: str) -> str:
    """Return HTML as text a person would read: paragraphs, list marks, links with their addresses.

    >>> text_of_html('<h1>Hi</h1><p>See <a href="https://x.example/a">this</a> &amp; that<br>now</p>')
    'Hi\\n\\nSee this (https://x.example/a) & that\\nnow'
    """
    return _Reader(lambda url: url).read(html)


def text_template(source: str) -> str | None:
    """Return a template for the text that goes with a template's HTML; None where it can only be made from each message."""
    hidden = _Hidden(source, comments=True)
    if any(_BINDING.match(piece) for piece in hidden.pieces):
        return None
    text = _Reader(lambda url: _link(url, hidden)).read(hidden.text, keep=hidden.key)
    pieces: list[str] = []
    depth = 0
    for static, piece in hidden.split(text):
        if ("{{" in static or "{%" in static) and _LINK not in static:
            return None
        pieces += (static, piece or "")
        if piece and piece.startswith("{%"):
            depth += 1
    made = "".join(pieces)
    opened = sum(1 for piece in hidden.pieces if piece.startswith("{%"))
    # what stood in attributes and styles is left out: a block is kept or left out as a whole
    return made if depth == opened or _balanced(made) else None


_LINK: Final = "| link_"


def _link(url: str, hidden: _Hidden) -> str:
    """Return an address with the values in it encoded as its place asks."""
    out, place = "", Place("value", "a", "href", '"')
    for static, piece in hidden.split(url):
        place = feed(place, static)
        out += static
        if piece is None:
            continue
        if piece.startswith("{{"):
            name = "address" if not out else "query" if place.query else "path"
            body = piece[2:-2].strip("-").strip()
            out += piece if body.endswith("url_encode") else f"{{{{ {body} {_LINK}{name} }}}}"
        else:
            out += piece
        place = Place("value", "a", "href", '"', begun=True, query=place.query)
    return out


def _balanced(text: str) -> bool:
    open_: list[str] = []
    for name in re.findall(r"\{%-?\s*(\w+)", text):
        if name in ("if", "unless", "for", "case", "comment"):
            open_.append(name)
        elif name.startswith("end") and (not open_ or open_.pop() != name[3:]):
            return False
    return not open_


class _Reader(HTMLParser):
    """Reads HTML as text."""

    def __init__(self, link: Callable[[str], str]) -> None:
        super().__init__(convert_charrefs=True)
        self.link = link
        self.out: list[str] = []
        self.hidden: list[str] = []
        self.links: list[tuple[str, int]] = []
        self.keep = ""

    def read(self, html: str, *, keep: str = "") -> str:
        self.keep = keep
        self.feed(html)
        self.close()
        text = "".join(self.out)
        text = re.sub(r"[ \t]*\n[ \t]*", "\n", re.sub(r"[ \t]+", " ", text))
        return re.sub(r"\n{3,}", "\n\n", text).strip()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if self.hidden or tag in _HIDDEN or _NOWHERE.search(given.get("style", "")):
            if tag not in _EMPTY:
                self.hidden.append(tag)
            return
        if tag == "br":
            self.out.append("\n")
        elif tag == "img" and given.get("alt"):
            self.out.append(given["alt"])
        elif tag == "hr":
            self.out.append("\n\n---\n\n")
        elif tag == "li":
            self.out.append("\n- ")
        elif tag in ("td", "th"):
            self.out.append(" ")
        elif tag in _BLOCKS:
            self.out.append("\n\n" if tag in _PARAGRAPHS else "\n")
        elif tag == "a":
            self.links.append((given.get("href", ""), len(self.out)))

    def handle_endtag(self, tag: str) -> None:
        if self.hidden:
            if tag in self.hidden:
                while self.hidden.pop() != tag:
                    pass
            return
        if tag == "a" and self.links:
            url, start = self.links.pop()
            said = "".join(self.out[start:]).strip()
            if url and not url.startswith("#") and url.removeprefix("mailto:").removeprefix("tel:") != said:
                shown = self.link(url)
                self.out.append(f" ({shown})" if said else shown)
        elif tag in _BLOCKS:
            self.out.append("\n\n" if tag in _PARAGRAPHS else "\n")

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.out.append(re.sub(r"\s+", " ", data))

    def handle_comment(self, data: str) -> None:
        if self.keep and data.startswith(self.keep) and not self.hidden:
            self.out.append(data)
