"""Translating and rewriting through a language model: what is protected stays, and numbers stay what they are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from typing import Final, Literal

import msgspec

from tailorbird.content.language import is_tag, normalise
from tailorbird.content.masking import BLOCK, INLINE, Masked, mask
from tailorbird.content.style import Style, restyle
from tailorbird.errors import InvalidInput
from tailorbird.ports import LanguageModel, NoAnswer

__all__ = ["Rewritten", "rewrite", "translate"]

_KEEP: Final = re.compile(r"\[KEEP_\d+\]")
_DIGITS: Final = re.compile(r"\d+")
_GROWTH: Final = 4


class Rewritten(msgspec.Struct, frozen=True, kw_only=True):
    """A text, its language, who wrote it, and what the reader should know about that (empty: nothing)."""

    text: str
    language: str
    author: Literal["rules", "model"]
    note: str = ""


class Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a model answers with."""

    text: str


def translate(
    model: LanguageModel, text: str, to: str, *, source: str | None = None, html: bool = False, names: Collection[str] = ()
) -> Rewritten:
    """Return the text in another language.

    Addresses, code, markup, template code and names are not shown to the model and stay as they are; every number has to be
    there again. Raises ``NoAnswer``, because there is no translating by rules, and ``InvalidInput`` for what is no language.
    """
    language = _tag(to)
    given = f" from {_tag(source)}" if source else ""
    task = (
        f"Translate the text{given} to the language {language} (BCP 47), as a native writer of customer mail would put it. "
        "Keep its tone and line breaks."
    )
    return Rewritten(text=_asked(model, task, text, html=html, names=names), language=language, author="model")


def rewrite(
    model: LanguageModel | None, text: str, style: Style, language: str, *, html: bool = False, names: Collection[str] = (),
    advice: str = "",
) -> Rewritten:  # fmt: skip
    """Return the text in a style, in its own language; ``advice`` (as of ``tone.distance``) is passed on to the model.

    Where there is no model, or it fails, the word lists restyle the text, and the note says so.
    """
    tag = _tag(language)
    why = "no language model is set up"
    if model is not None:
        task = (
            f"Rewrite the text in a {style} style, in its own language ({tag}). "
            "Keep its meaning, its facts and its line breaks; add nothing."
        )
        try:
            text = _asked(model, f"{task} {advice}".strip(), text, html=html, names=names)
            return Rewritten(text=text, language=tag, author="model")
        except NoAnswer as problem:
            why = str(problem)
    found = restyle(text, style, tag, html=html, names=names).text
    return Rewritten(text=found, language=tag, author="rules", note=f"Restyled by word lists, because {why}.")


def _asked(model: LanguageModel, task: str, text: str, *, html: bool, names: Collection[str]) -> str:
    if not text.strip():
        return text
    masked = mask(text, html=html, names=names, quotations=False)
    shown = _shown(masked)
    said = model.ask(task, shown, Said, hidden=dict.fromkeys(names, "NAME")).text
    kept, back = _KEEP.findall(shown), _KEEP.findall(said)
    if (kept != back) if html else (Counter(kept) != Counter(back)):
        raise NoAnswer("invalid", "the language model lost or changed what must stay as it is")
    if Counter(_DIGITS.findall(_KEEP.sub("", said))) != Counter(_DIGITS.findall(_KEEP.sub("", shown))):
        raise NoAnswer("invalid", "the language model changed a number")
    if html and ("<" in said or ">" in said):
        raise NoAnswer("invalid", "the language model wrote markup of its own")
    if len(said) > _GROWTH * len(shown) + 200 or (BLOCK in said or INLINE in said):
        raise NoAnswer("invalid", "the language model's text is not a version of what was given")
    return _revealed(masked, said)


def _shown(masked: Masked) -> str:
    """Return the prose with a numbered placeholder for every protected stretch."""
    count = 0

    def place(_: re.Match[str]) -> str:
        nonlocal count
        count += 1
        return f"[KEEP_{count}]"

    return re.sub(f"[{BLOCK}{INLINE}]", place, masked.text)


def _revealed(masked: Masked, said: str) -> str:
    """Return what was said with the protected stretches in the places of their placeholders."""
    parts = masked.stretches()
    return _KEEP.sub(lambda match: parts[int(match[0][6:-1]) - 1], said)


def _tag(text: str) -> str:
    found = normalise(text)
    if not is_tag(found):
        raise InvalidInput(f"{text!r:.40} is not a language tag.", hint="Write it as en, fr-CA or zh-Hant.")
    return found
