"""What a channel counts: segments of a text message, characters of a post."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from tailorbird.content.spec import NETWORKS

__all__ = ["Sms", "post_length", "sms"]

_BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ ÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED: Final = frozenset("\f^{}\\[~]|€")
_URL: Final = re.compile(r"https?://\S+", re.IGNORECASE)
_LIGHT: Final = ((0, 4351), (8192, 8205), (8208, 8223), (8242, 8247))
_SHORT_LINK: Final = 23


class Sms(NamedTuple):
    """How a text message travels: its alphabet, its length in that alphabet's units, and in how many segments."""

    encoding: str
    length: int
    segments: int


def sms(text: str) -> Sms:
    """Return how a text travels as SMS (3GPP TS 23.038): GSM-7 in 160 or segments of 153, else UCS-2 in 70 or segments of 67.

    What counts two (``€`` in GSM-7, an emoji in UCS-2) is never divided between segments.

    >>> sms("Hi Ann"), sms("Ça va €5 {x}"), sms("Привет 👋")
    (Sms(encoding='GSM-7', length=6, segments=1), Sms(encoding='GSM-7', length=15, segments=1), Sms(encoding='UCS-2', length=9, segments=1))
    """
    if all(char in _BASIC or char in _EXTENDED for char in text):
        return _packed("GSM-7", [2 if char in _EXTENDED else 1 for char in text], 160, 153)
    return _packed("UCS-2", [2 if ord(char) > 0xFFFF else 1 for char in text], 70, 67)


def _packed(encoding: str, units: list[int], single: int, part: int) -> Sms:
    length = sum(units)
    if length <= single:
        return Sms(encoding, length, 1 if length else 0)
    segments, room = 1, part
    for unit in units:
        if unit > room:
            segments, room = segments + 1, part
        room -= unit
    return Sms(encoding, length, segments)


def post_length(text: str, network: str | None) -> tuple[int, int | None]:
    """Return how long a post is as its network counts, and its limit there (None: no network is said).

    X counts every link as 23 characters and most letters beyond Latin, Greek, Cyrillic, Arabic and Hebrew as two
    (developer documentation, "Counting characters"); Mastodon counts every link as 23.

    >>> post_length("See https://shop.example/a/very/long/path/indeed", "x"), post_length("日本", "x"), post_length("日本", "bluesky")
    ((27, 280), (4, 280), (2, 300))
    """
    limit = NETWORKS.get(network) if network else None
    if network not in ("x", "mastodon"):
        return len(text), limit
    rest, links = _URL.subn("", text)
    weight = sum(1 if network == "mastodon" or any(a <= ord(c) <= b for a, b in _LIGHT) else 2 for c in rest)
    return weight + links * _SHORT_LINK, limit
