"""How a value becomes text, by the place where it stands: nothing a person wrote becomes markup, a header, or an address."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from html import unescape
from typing import Any, Final
from urllib.parse import quote

from markupsafe import escape

__all__ = [
    "ADDRESS", "AS_IS", "ATTRIBUTE", "COMMENT", "CSS", "HEADER", "HTML", "PATH", "QUERY", "Escape", "Written", "addresses", "allowed",
    "bare", "one_line", "safe_addresses", "scheme_of", "text_of",
]  # fmt: skip

Escape = Callable[[Any], str]
"""Takes a value that is not missing and returns the text that stands for it."""


class Written(str):
    """HTML whose values are escaped and that ends between elements. Whatever is made of it (a part, a sum) is a text again."""

    __slots__ = ()


_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f]")
_MARKED: Final = re.compile("[&<>\"'\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f]")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.~-]*\Z")
_BREAKS: Final = re.compile("[\x00-\x20\x7f-\x9f\u2028\u2029]+")
_SCHEME: Final = re.compile(r"([^/?#:]*):")
_SCHEMES: Final = frozenset({"http", "https", "mailto", "tel", "sms"})
_CSS: Final = re.compile(r"[^A-Za-z0-9 #%.,_+-]")
_ANYWHERE: Final = "/:@!$&'()*+,;=~-._?#[]%"
_IN_PATH: Final = "/:@!$'()*+,;=~-._%"
_WHOLE: Final = 1e15


def text_of(value: Any) -> str:
    """Return a value as Liquid prints it; numbers that are whole are printed without a fraction.

    >>> text_of(3.0), text_of(True), text_of(None), text_of(["a", 1])
    ('3', 'true', '', 'a1')
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < _WHOLE:
        return str(int(value))
    if isinstance(value, list | tuple):
        return "".join(text_of(item) for item in value)
    if isinstance(value, range):
        return f"{value.start}..{value.stop - 1}"
    return str(value)


def one_line(text: str) -> str:
    """Return text without line breaks and control characters: what a header may hold.

    >>> one_line("Hi Ann\\r\\nBcc: all@example.com ")
    'Hi Ann Bcc: all@example.com'
    """
    return _BREAKS.sub(" ", text).strip()


def AS_IS(value: Any) -> str:  # noqa: N802
    """A value in plain text: control characters other than tab and line feed are left out."""
    text = value if type(value) is str else str(text_of(value))
    return text if text.isprintable() else _CONTROL.sub("", text.replace("\r\n", "\n"))


def HEADER(value: Any) -> str:  # noqa: N802
    """A value in a header: one line, whatever it holds."""
    text = value if type(value) is str else str(text_of(value))
    return text if text.isprintable() else _BREAKS.sub(" ", text)


def HTML(value: Any) -> str:  # noqa: N802
    """A value in HTML text or in between elements; what a template wrote and captured stays markup."""
    if type(value) is str:
        return value if _MARKED.search(value) is None else escape(_CONTROL.sub("", value))
    if type(value) is Written:
        return value
    if isinstance(value, list | tuple):
        return "".join(HTML(item) for item in value)
    text = str(text_of(value))
    return text if _MARKED.search(text) is None else escape(_CONTROL.sub("", text))


def ATTRIBUTE(value: Any) -> str:  # noqa: N802
    """A value in a quoted attribute or in an element of text: no markup at all, also where it was captured as such."""
    return HTML(bare(value))


def COMMENT(value: Any) -> str:  # noqa: N802
    """A value in a comment, which some mail programs read as HTML."""
    return escape(bare(value).replace("--", "- -"))


def CSS(value: Any) -> str:  # noqa: N802
    """A value in a style: letters, digits and the signs of colours and sizes; nothing that calls or imports."""
    return _CSS.sub("", bare(value))


def ADDRESS(value: Any) -> str:  # noqa: N802
    """A value that is a whole address: http, https, mailto, tel, sms or relative; anything else becomes ``#``."""
    text = _BREAKS.sub("", bare(value))
    scheme = _SCHEME.match(text)
    if scheme is not None and scheme[1].lower() not in _SCHEMES:
        return "#"
    return escape(quote(text, safe=_ANYWHERE))


def PATH(value: Any) -> str:  # noqa: N802
    """A value inside the path of an address: what would begin a query is encoded."""
    text = bare(value)
    return text if _PLAIN.match(text) else escape(quote(_BREAKS.sub(" ", text), safe=_IN_PATH))


def QUERY(value: Any) -> str:  # noqa: N802
    """A value inside the query of an address: encoded as a whole."""
    text = bare(value)
    return text if _PLAIN.match(text) else quote(text if text.isprintable() else _BREAKS.sub(" ", text), safe="")


def bare(value: Any) -> str:
    """Return a value as text without any escaping."""
    if isinstance(value, list | tuple):
        return "".join(bare(item) for item in value)
    return str(unescape(value)) if isinstance(value, Written) else text_of(value)


_LINK: Final = re.compile(
    r"""(?<=[\s"'/])((?:href|src|action|formaction|cite|background|poster|longdesc|xlink:href|data|srcset|icon|manifest|ping|codebase"""
    r"""|dynsrc|lowsrc)\s*=\s*)("[^"]*"|'[^']*')""",
    re.IGNORECASE,
)
_WRITTEN_SCHEME: Final = re.compile(r"cid:|data:image/(?:png|gif|jpeg|webp)[;,]", re.IGNORECASE)


def scheme_of(address: str) -> str | None:
    """Return what a browser takes for the scheme of an address as it stands in HTML; None when it has none.

    >>> scheme_of("java&#9;script&colon;x"), scheme_of("/a:b")
    ('javascript', None)
    """
    found = _SCHEME.match(_BREAKS.sub("", unescape(address)))
    return None if found is None else found[1].lower()


def allowed(address: str) -> bool:
    """Say whether an address as it stands in HTML leads nowhere but to pages, mail, telephones and what the message holds."""
    scheme = scheme_of(address)
    return scheme is None or scheme in _SCHEMES or _WRITTEN_SCHEME.match(address.strip()) is not None


def addresses(html: str) -> frozenset[str]:
    """Return the addresses in the quoted attributes of HTML, as they stand there."""
    return frozenset(found[2][1:-1] for found in _LINK.finditer(html))


def safe_addresses(html: str, own: Collection[str]) -> str:
    """Return HTML in which every address with another scheme became ``#``; ``own`` are those that the template wrote as a whole."""

    def safe(found: re.Match[str]) -> str:
        address = found[2][1:-1]
        return found[0] if address in own or allowed(address) else f"{found[1]}{found[2][0]}#{found[2][0]}"

    return _LINK.sub(safe, html)
