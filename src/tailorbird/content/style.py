"""Making a text formal or casual: greeting, thanks, contractions and sign-off, by the word lists of its language.

What is protected (see ``masking``) stays as it is, byte for byte; so do case and punctuation. Restyling what was
restyled changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import cache
from typing import Final, Literal, NamedTuple

import msgspec

from tailorbird.content.masking import BLOCK, INLINE, MASKS, QUOTED, mask
from tailorbird.content.wordlists import Pair, Words, languages, words_of

__all__ = ["Change", "Restyled", "Style", "languages", "restyle"]

Style = Literal["formal", "casual"]
_Kind = Literal["greeting", "thanks", "contraction", "signoff"]

_MOST_ROUNDS: Final = 12
_APOSTROPHE: Final = "(?:'|’|&#39;|&#x27;|&apos;|&rsquo;|&#8217;|&#x2019;)"
_SPACE: Final = r"[ \t\u00a0]"
_LAST: Final = re.compile(rf"(\w+){_SPACE}*\Z")
_FIRST: Final = re.compile(r"(?<![\w'’@#&-])\w+")
_NEXT_WORD: Final = re.compile(r"\s+([^\W\d_]+)")
_NEXT_LINE: Final = re.compile(rf"{_SPACE}*[,.!;:–—-]?(?:\s|[{BLOCK}{INLINE}])*([^\n,.!;:{MASKS}]{{1,60}})")
_NEXT_MASK: Final = re.compile(rf"{_SPACE}+[{MASKS}]")
_LINE_END: Final = re.compile(rf"{_SPACE}*[,.!;:–—-]?(?:{_SPACE}|{INLINE})*(?:$|{BLOCK})", re.MULTILINE)
_SIGNED: Final = re.compile(
    rf"{_SPACE}*[,.!–—-]{_SPACE}*(?:[^\W\d_a-z][\w.'’-]*|{INLINE})(?:{_SPACE}+[\w.'’{INLINE}-]+){{0,3}}{_SPACE}*(?:$|{BLOCK})",
    re.MULTILINE,
)
_ADDRESSEE: Final = re.compile(
    rf"{_SPACE}+{INLINE}*(?:[^\W\d_a-zß-öø-ÿ][\w.'’-]*|[{INLINE}{QUOTED}]){INLINE}*(?:{_SPACE}+{INLINE}*(?:\w[\w.'’-]*|&|[{INLINE}{QUOTED}]){INLINE}*){{0,5}}"
    rf"{_SPACE}*(?:[,!:;.–—-]|$|{BLOCK})",
    re.MULTILINE,
)
_LINE_START: Final = re.compile(rf"(?:\A|\n|{BLOCK})[\s{INLINE}]*\Z")
_SENTENCE_START: Final = re.compile(rf"(?:\A|\n|{BLOCK}|[.!?…:][)\]]?\s)[\s{INLINE}]*\Z")
_LOOK_BACK: Final = 200
_NEAR: Final = 30


class Change(msgspec.Struct, frozen=True):
    """One thing that was said otherwise: of which kind, what stood there, what stands there now."""

    kind: _Kind
    before: str
    after: str


class Restyled(msgspec.Struct, frozen=True):
    """A text in the style that was asked for, and what was changed to get there (empty: it was so already)."""

    text: str
    changes: tuple[Change, ...] = ()


class _Rule(NamedTuple):
    kind: _Kind
    target: str
    next: str | None = None
    before: frozenset[str] = frozenset()
    not_before: frozenset[str] = frozenset()
    not_after: frozenset[str] = frozenset()
    addressed: bool | None = None


class _Rules(NamedTuple):
    by_first: dict[str, re.Pattern[str]]
    by_source: dict[str, tuple[_Rule, ...]]
    participles: frozenset[str]
    endings: tuple[str, ...]
    closings: frozenset[str]


def restyle(text: str, style: Style, language: str, *, html: bool = False, names: Collection[str] = ()) -> Restyled:
    """Return the text in a style; a language without word lists leaves it as it is.

    ``names`` are what must not be touched besides (people, products). With ``html`` the text is markup, and only its
    prose is restyled.

    >>> restyle("Dear Ann,\\n\\nThank you for your order. It is on its way, and we will write again.", "casual", "en").text
    "Hi Ann,\\n\\nThanks for your order. It's on its way, and we'll write again."
    >>> restyle("Hi Ann, don't miss it: https://shop.example/dont-miss", "formal", "en").text
    'Dear Ann, do not miss it: https://shop.example/dont-miss'
    """
    words = words_of(language)
    if words is None or not text:
        return Restyled(text)
    rules = _rules(words.language, style)
    masked = mask(text, html=html, names=names)
    prose, changes = masked.text, []
    curly = "’" in prose and "'" not in prose
    for _ in range(_MOST_ROUNDS):  # what was said otherwise may stand beside something that now can be
        prose, made = _once(prose, rules, curly=curly)
        changes += made
        if not made:
            break
    return Restyled(masked.reveal(prose), tuple(changes)) if changes else Restyled(text)


def _once(prose: str, rules: _Rules, *, curly: bool) -> tuple[str, list[Change]]:
    pieces: list[str] = []
    changes: list[Change] = []
    end = 0
    known = rules.by_first
    for start, pattern in [(m.start(), known[low]) for m in _FIRST.finditer(prose) if (low := m[0].lower()) in known]:
        match = pattern.match(prose, start) if start >= end else None
        if match is None:
            continue
        said = match[0]
        source = _canonical(said)
        after = None
        for rule in rules.by_source.get(source.lower(), ()):
            if _fits(prose, match, rule, rules) and not _said_already(prose, match, source, rule.target):
                after = _cased(source, rule.target)
                break
        if after is None or after == said:
            continue
        after = after.replace("'", "’") if curly else after
        pieces += (prose[end : match.start()], after)
        changes.append(Change(rule.kind, said, after))
        end = match.end()
    pieces.append(prose[end:])
    return "".join(pieces), changes


def _fits(prose: str, match: re.Match[str], rule: _Rule, rules: _Rules) -> bool:
    """Return whether a rule holds where its words stand."""
    head = prose[max(0, match.start() - _LOOK_BACK) : match.start()]
    if match.start() > _LOOK_BACK:
        head = "\x00" + head  # not the beginning of the text
    if rule.not_after and (last := _LAST.search(head[-_NEAR:])) is not None and last[1].lower() in rule.not_after:
        return False
    following = _NEXT_WORD.match(prose, match.end())
    word = following[1].lower() if following else ""
    if word in rule.not_before or (rule.before and word not in rule.before):
        return False
    if rule.addressed is not None and rule.addressed != (_ADDRESSEE.match(prose, match.end()) is not None):
        return False
    match rule.kind:
        case "greeting":
            return _LINE_START.search(head) is not None
        case "thanks":
            return _SENTENCE_START.search(head) is not None
        case "signoff":
            ends = _LINE_END.match(prose, match.end()) or _SIGNED.match(prose, match.end())
            return _LINE_START.search(head) is not None and ends is not None and not _signed_below(prose, match.end(), rules)
        case _:
            return _continued(word, prose, match.end(), rule.next, rules)


def _signed_below(prose: str, end: int, rules: _Rules) -> bool:
    """Return whether the next line is a sign-off itself (``Talk soon!`` above ``Best,``): one is enough."""
    following = _NEXT_LINE.match(prose, end)
    return following is not None and _canonical(following[1]).strip().lower() in rules.closings


def _said_already(prose: str, match: re.Match[str], source: str, target: str) -> bool:
    """Return whether the source is but a part of the target, and the whole target stands there (``y a`` in ``il y a``)."""
    before, part, after = target.lower().partition(source.lower())
    if not part:
        return False
    around = len(target) + _LOOK_BACK
    head = _canonical(prose[max(0, match.start() - around) : match.start()]).lower()
    return head.endswith(before) and _canonical(prose[match.end() : match.end() + around]).lower().startswith(after)


def _continued(word: str, prose: str, end: int, wanted: str | None, rules: _Rules) -> bool:
    """Return whether what has to follow a contraction does."""
    match wanted:
        case "word":
            return bool(word) or _NEXT_MASK.match(prose, end) is not None
        case "participle":
            return word in rules.participles or (len(word) > 4 and word.endswith(rules.endings) if rules.endings else False)
        case _:
            return True


@cache
def _rules(language: str, style: Style) -> _Rules:
    """Return the rules that lead to a style, by the words (small letters) that they change."""
    words = words_of(language)
    assert words is not None
    found: dict[str, list[_Rule]] = {}
    for source, rule in _each(words, style):
        found.setdefault(source.lower(), []).append(rule)
    by_first: dict[str, list[str]] = {}
    for source in sorted(found, key=lambda source: (-len(source), source)):
        first = _FIRST.match(source)
        assert first is not None, source
        by_first.setdefault(first[0], []).append(_pattern(source))
    patterns = {
        first: re.compile(rf"(?:{'|'.join(sources)})(?![\w@]|-\w|['’]\w|&#\w)", re.IGNORECASE)
        for first, sources in by_first.items()
    }
    closings = {
        text.lower().rstrip(",")
        for pair in words.signoff
        for text in (pair.formal, pair.casual, *pair.also_formal, *pair.also_casual)
    }
    return _Rules(
        patterns,
        {k: tuple(v) for k, v in found.items()},
        frozenset(words.participles),
        words.participle_endings,
        frozenset(closings),
    )


def _each(words: Words, style: Style) -> Iterator[tuple[str, _Rule]]:
    parts: tuple[tuple[_Kind, tuple[Pair, ...]], ...] = (
        ("greeting", words.greeting), ("thanks", words.thanks), ("signoff", words.signoff),
    )  # fmt: skip
    for kind, pairs in parts:
        for pair in pairs:
            if pair.one_way not in (None, style):
                continue
            target = pair.casual if style == "casual" else pair.formal
            sources = (pair.formal, *pair.also_formal) if style == "casual" else (pair.casual, *pair.also_casual)
            rule = _Rule(
                kind, target, not_before=frozenset(pair.not_before), not_after=frozenset(pair.not_after), addressed=pair.addressed
            )
            yield from ((source, rule) for source in (*sources, *pair.neutral) if source != target)
    for family in words.contractions:
        if family.one_way not in (None, style):
            continue
        for full, short in family.words.items():
            if style == "casual":
                yield full, _Rule(
                    "contraction", short, family.next, frozenset(family.before), frozenset(family.not_before),
                    frozenset(family.not_after),
                )  # fmt: skip
            else:
                yield (
                    short,
                    _Rule("contraction", full, before=frozenset(family.before), not_before=frozenset(family.not_before)),
                )


def _pattern(source: str) -> str:
    return re.escape(source.lower()).replace(r"\ ", f"{_SPACE}+").replace("'", _APOSTROPHE)


def _canonical(said: str) -> str:
    """Return what was said with single spaces and straight apostrophes."""
    return re.sub(rf"{_SPACE}+", " ", re.sub(_APOSTROPHE, "'", said))


def _cased(said: str, target: str) -> str | None:
    """Return the target written as what it replaces is: in capitals, with a capital, or as it is; None for emphasis (do NOT)."""
    letters = [c for c in said if c.isalpha()]
    if len(letters) > 1 and all(c.isupper() for c in letters):
        return target.upper() if len(letters) > 2 or " " in said else target
    parts = said.split(" ")
    if any(len(part) > 1 and part[1:] != part[1:].lower() for part in parts):
        return None
    return target[0].upper() + target[1:] if said[0].isupper() else target[0].lower() + target[1:] if _lowers(target) else target


def _lowers(target: str) -> bool:
    """Return whether the first word may be written small: ``I`` may not."""
    return not re.match(r"I\b", target)
