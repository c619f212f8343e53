"""Which stretches of a text are not ours to change: addresses, code, markup, quotations, names."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Final

__all__ = ["BLOCK", "INLINE", "MASKS", "QUOTED", "Masked", "mask", "spans"]

BLOCK: Final = "\ue000"
"""Stands for markup that begins or ends a paragraph, a line or a cell."""
INLINE: Final = "\ue001"
"""Stands for any other protected stretch."""
QUOTED: Final = "\ue002"
"""Stands for a quotation."""
MASKS: Final = BLOCK + INLINE + QUOTED

_BLOCKS: Final = frozenset(
    (
        "address", "article", "aside", "blockquote", "body", "br", "center", "dd", "div", "dl", "dt", "fieldset",
        "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "head", "header", "hr", "html", "li", "main",
        "nav", "ol", "option", "p", "pre", "section", "table", "tbody", "td", "textarea", "tfoot", "th", "thead",
        "title", "tr", "ul",
    )
)  # fmt: skip
_UNTOUCHED: Final = frozenset(
    ("code", "pre", "script", "style", "kbd", "samp", "var", "tt", "textarea", "blockquote", "q", "cite", "title", "svg", "math")
)
_TAG_NAME: Final = re.compile(r"</?([A-Za-z][A-Za-z0-9:-]*)")
_LIQUID: Final = r"\{\{(?:[^\n{]|\{(?![{%])){0,2000}?\}\}|\{%(?:[^\n{]|\{(?![{%])){0,2000}?%\}"
_ADDRESSES: Final = (
    r"(?<![\w.+'-])[\w.+'-]+@[\w-]+(?:\.[\w-]+)+"
    r"|\b(?:[a-z][a-z0-9+.-]{1,15}://|mailto:|tel:|sms:|www\.)[^\s<>\"”»\ue000-\ue002]+"
    r"|(?<![\w@.-])(?:[\w-]+\.)+[A-Za-z]{2,24}(?:[/?#:][^\s<>\"”»\ue000-\ue002]*)?(?!\w)"
    r"|(?<![\w&])[@#]\w+"
)
_PLAIN: Final = re.compile(
    r"[\ue000-\ue002]|```[\s\S]*?(?:```|\Z)|`[^`\n]{1,2000}`|^[ \t]*>.*$|" + _LIQUID + "|" + _ADDRESSES,
    re.MULTILINE | re.IGNORECASE,
)
_INSIDE: Final = re.compile(r"[\ue000-\ue002]|`[^`\n]{1,2000}`|" + _LIQUID + "|" + _ADDRESSES, re.IGNORECASE)
_QUOTES: Final = re.compile(
    r"\"[^\"\n\ue000]{1,2000}\"|&quot;[^\n\ue000]{1,2000}?&quot;|&ldquo;[^\n\ue000]{1,2000}?&rdquo;|&laquo;[^\n\ue000]{1,2000}?&raquo;"
    r"|“[^“”\n\ue000]{1,2000}”|„[^“”\"\n\ue000]{1,2000}[“”\"]|«[^«»\n\ue000]{1,2000}»|»[^«»\n\ue000]{1,2000}«|‹[^‹›\n\ue000]{1,2000}›"
    r"|‘(?=\S)(?:[^‘’\n\ue000]|(?<=\w)’(?=\w)){1,500}’(?!\w)|‚(?=\S)[^‘’\n\ue000]{1,500}[‘’](?!\w)"
    r"|(?<![\w&#;])'(?=\S)(?:[^'\n\ue000]|(?<=\w)'(?=\w)){1,500}'(?!\w)"
)


class Masked:
    """A text in which every protected stretch is one character, and how to get the whole text back."""

    __slots__ = ("_hidden", "_quotes", "text")

    def __init__(self, text: str, hidden: list[str], quotes: list[str]) -> None:
        self.text = text
        self._hidden = hidden
        self._quotes = quotes

    def stretches(self) -> list[str]:
        """Return the protected stretches other than quotations, in their order."""
        return list(self._hidden)

    def reveal(self, text: str) -> str:
        """Return a text that was made from ``self.text`` with its protected stretches put back, byte for byte."""
        quotes = iter(self._quotes)
        whole = re.sub(QUOTED, lambda _: next(quotes), text) if self._quotes else text
        hidden = iter(self._hidden)
        return re.sub(f"[{BLOCK}{INLINE}]", lambda _: next(hidden), whole) if self._hidden else whole


def mask(text: str, *, html: bool = False, names: Collection[str] = (), quotations: bool = True) -> Masked:
    """Return the text with its protected stretches hidden; without ``quotations`` what stands in quotation marks is prose too.

    Protected are addresses (web, e-mail, handles), code (backticks, ``<code>``, ``<pre>`` …), tags with their attributes,
    template code (``{{ }}``, ``{% %}``), quotations in any kind of marks, quoted lines of a mail, and the names given.
    """
    hidden: list[str] = []
    pieces: list[str] = []
    end = 0
    for start, stop, sign in _stretches(text, html=html, names=names):
        pieces += (text[end:start], sign)
        hidden.append(text[start:stop])
        end = stop
    pieces.append(text[end:])
    if not quotations:
        return Masked("".join(pieces), hidden, [])
    quotes: list[str] = []

    def hide(match: re.Match[str]) -> str:
        quotes.append(match[0])
        return QUOTED

    return Masked(_QUOTES.sub(hide, "".join(pieces)), hidden, quotes)


def spans(text: str, *, html: bool = False, names: Collection[str] = ()) -> list[str]:
    """Return the protected stretches of a text in their order, quotations with what is in them.

    >>> spans('Write to ann@example.com or "do not".')
    ['ann@example.com', '"do not"']
    """
    masked = mask(text, html=html, names=names)
    found = re.findall(f"[{MASKS}]", masked.text)
    whole = Masked("", masked._hidden, masked._quotes)
    revealed = whole.reveal("\x00".join(found))
    return revealed.split("\x00") if found else []


def _stretches(text: str, *, html: bool, names: Collection[str]) -> Iterator[tuple[int, int, str]]:
    """Yield (start, end, sign) of what is protected before quotations are looked for, in order, not overlapping."""
    pattern = _with_names(_INSIDE if html else _PLAIN, names)
    if not html:
        yield from ((m.start(), m.end(), INLINE) for m in pattern.finditer(text))
        return
    place = 0
    for start, stop, sign in _markup(text):
        yield from ((m.start(), m.end(), INLINE) for m in pattern.finditer(text, place, start))
        yield start, stop, sign
        place = stop
    yield from ((m.start(), m.end(), INLINE) for m in pattern.finditer(text, place))


def _with_names(pattern: re.Pattern[str], names: Collection[str]) -> re.Pattern[str]:
    known = sorted({name.strip() for name in names if name.strip()}, key=lambda name: (-len(name), name))
    if not known:
        return pattern
    either = "|".join(re.escape(name) for name in known)
    return re.compile(rf"(?<!\w)(?-i:{either})(?!\w)|{pattern.pattern}", pattern.flags)


def _markup(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield (start, end, sign) of tags, comments, and elements whose inside is not prose; in one pass over the text."""
    low = text.lower()
    place = 0
    while (start := text.find("<", place)) >= 0:
        if text.startswith("<!--", start):
            close = text.find("-->", start + 4)
            stop = len(text) if close < 0 else close + 3
            yield start, stop, INLINE
        elif (named := _TAG_NAME.match(text, start)) is not None:
            stop = _tag_end(text, named.end())
            name = named[1].lower()
            sign = BLOCK if name in _BLOCKS else INLINE
            if name in _UNTOUCHED and text[start + 1] != "/" and not text.endswith("/>", start, stop):
                stop = _element_end(low, name, stop)
            yield start, stop, sign
        elif text.startswith(("<!", "<?"), start):
            close = text.find(">", start)
            stop = len(text) if close < 0 else close + 1
            yield start, stop, INLINE
        else:
            stop = start + 1
        place = stop


def _tag_end(text: str, place: int) -> int:
    """Return where a tag ends: after its ``>``, one in a quoted attribute not counted; the end of the text when there is none."""
    quote = ""
    for position in range(place, len(text)):
        letter = text[position]
        if quote:
            if letter == quote:
                quote = ""
        elif letter in "\"'" and text[position - 1] in "= \t\n":
            quote = letter
        elif letter == ">":
            return position + 1
    return len(text)


def _element_end(low: str, name: str, place: int) -> int:
    """Return where an element ends, elements of the same name inside it counted; the end of the text when it is not closed."""
    depth = 1
    for found in re.compile(rf"<(/?){name}(?![a-z0-9:-])").finditer(low, place):
        depth += -1 if found[1] else 1
        if depth == 0:
            return _tag_end(low, found.end())
    return len(low)
