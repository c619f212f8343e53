"""A template as it is defined: its texts by language and style, and what it asks of its values. No Liquid is read here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple, cast, get_args

import msgspec

from tailorbird.content.markup import LIQUID
from tailorbird.content.names import ATTRIBUTES, PERSON, RESERVED
from tailorbird.content.style import Style
from tailorbird.core.event import Json
from tailorbird.errors import Mistake

__all__ = [
    "NETWORKS", "PARTS", "STYLES", "Missing", "Template", "Text", "Type", "check_template", "mentions", "texts_of",
]  # fmt: skip

Type = Literal["email", "sms", "social", "plain"]
Missing = Literal["default", "skip", "fail"]

STYLES: Final = get_args(Style)
PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "email": ("subject", "preheader", "html", "mjml", "text"),
    "sms": ("body",),
    "social": ("body",),
    "plain": ("body", "html", "mjml"),
}
"""The texts that each type of template has."""

NETWORKS: Final[Mapping[str, int]] = {
    "x": 280, "bluesky": 300, "mastodon": 500, "threads": 500, "instagram": 2200, "linkedin": 3000, "facebook": 63206,
}  # fmt: skip
"""How many characters a post may have on each network, as their help pages say."""

_ALL_PARTS: Final = ("subject", "preheader", "html", "mjml", "text", "body")
_TAG: Final = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8}){0,4}\Z")
_PIECE: Final = re.compile(r"\{%-?\s*(?:render|include)\s+(?:\"([^\"]*)\"|'([^']*)')")
_FEATURE: Final = re.compile(r"\bfeatures\.([a-z][a-z0-9_-]*)")
_ATTRIBUTE: Final = re.compile(rf"\b(?:{'|'.join(sorted(ATTRIBUTES))})\.([A-Za-z_][\w.-]*)")


class Text(NamedTuple):
    """One text of a template: where it stands in the definition (``variants.fr.subject``), and what it says."""

    field: str
    part: str
    source: str


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """A template: ``texts`` by part for its own ``language``; ``variants`` by ``fr``, ``formal`` or ``fr/formal``.

    ``fallback`` is the chain of languages for people whose language there is not; ``missing`` what a missing value does.
    """

    name: str
    version: int
    type: Type
    language: str = "en"
    texts: dict[str, str] = {}
    variants: dict[str, dict[str, str]] = {}
    fallback: tuple[str, ...] = ()
    missing: Missing = "default"
    defaults: dict[str, Json] = {}
    variables: dict[str, dict[str, Json]] = {}
    network: str | None = None
    max_segments: int | None = None
    restyle: bool = True

    @classmethod
    def read(cls, name: str, version: int, spec: Mapping[str, Any]) -> Template:
        """Return the template of a definition's spec, which has been checked."""
        declared = {key: dict(value or {}) for key, value in (spec.get("variables") or {}).items()}
        defaults = {key: value["default"] for key, value in declared.items() if value.get("default") is not None}
        language = spec.get("language") or "en"
        return cls(
            name=name, version=version, type=spec["type"], language=language,
            texts={part: spec[part] for part in _ALL_PARTS if part in spec},
            variants=spec.get("variants") or {}, fallback=tuple(spec.get("fallback") or (language,)),
            missing=spec.get("missing") or "default", defaults={**defaults, **(spec.get("defaults") or {})}, variables=declared,
            network=spec.get("network"), max_segments=spec.get("max_segments"), restyle=spec.get("restyle") is not False,
        )  # fmt: skip

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages there are, its own first."""
        found = {self.language: None}
        for key in self.variants:
            language, _ = _variant(key)
            if language:
                found[language] = None
        return tuple(found)

    def written(self, language: str, style: str | None) -> dict[str, tuple[Text, bool]]:
        """Return the texts for a language and style by part, and whether each was written in that style by a person."""
        own = language == self.language
        layers = [("", self.texts)] if own else []
        layers += [(key, self.variants[key]) for key in self.variants if _variant(key) == (language, None)]
        found = {part: (Text(_field(key, part), part, source), False) for key, texts in layers for part, source in texts.items()}
        styled = [key for key in self.variants if style and _variant(key) in ((language, style), *([("", style)] if own else []))]
        for key in styled:
            for part, source in self.variants[key].items():
                if part == "mjml":
                    found.pop("html", None)
                elif part == "html":
                    found.pop("mjml", None)
                found[part] = Text(_field(key, part), part, source), True
        return found

    def piece(self, part: str, language: str) -> str | None:
        """Return the text that another template's part gets where it renders this one by name."""
        texts = {name: text.source for name, (text, _) in self.written(language, None).items()}
        if not texts:
            texts = self.texts
        wanted = (part,) if part in ("html", "mjml") else ("body", "text")
        return next((texts[name] for name in wanted if name in texts), None)


def texts_of(spec: Mapping[str, Any]) -> Iterator[Text]:
    """Yield every text of a spec."""
    for part in _ALL_PARTS:
        if isinstance(spec.get(part), str):
            yield Text(part, part, spec[part])
    for key, texts in (spec.get("variants") or {}).items():
        for part in _ALL_PARTS:
            if isinstance(texts, Mapping) and isinstance(texts.get(part), str):
                yield Text(f"variants.{key}.{part}", part, texts[part])


def mentions(spec: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """Return the features, attributes and templates that a spec's texts mention; read from the text, so it may be too many."""
    code = " ".join(tag for text in texts_of(spec) for tag in LIQUID.findall(text.source))
    pieces = {one or other for one, other in _PIECE.findall(code)}
    return frozenset(_FEATURE.findall(code)), frozenset(_ATTRIBUTE.findall(code)), frozenset(pieces)


def check_template(spec: Mapping[str, Any]) -> list[Mistake]:
    """Return what is wrong with the fields of a template taken together; ``where`` names the field."""
    type_ = spec.get("type")
    if type_ not in PARTS:
        return []
    return [*_check_parts(spec, cast(Type, type_)), *_check_variants(spec, cast(Type, type_)), *_check_names(spec)]


def _check_parts(spec: Mapping[str, Any], type_: Type) -> Iterator[Mistake]:
    for part in _ALL_PARTS:
        if part in spec and part not in PARTS[type_]:
            yield Mistake(
                "unknown_field", f"a template of type {type_} has no {part}", f"It has {_listed(PARTS[type_])}.", where=part
            )
    if "html" in spec and "mjml" in spec:
        yield Mistake("conflict", "there are both html and mjml", "MJML becomes HTML; keep one of them.", where="mjml")
    if type_ == "email":
        if not spec.get("subject"):
            yield Mistake("missing_field", "an e-mail needs a subject", where="subject")
        if not any(spec.get(part) for part in ("html", "mjml", "text")):
            yield Mistake("missing_field", "an e-mail needs html, mjml or text", where="html")
    elif not any(spec.get(part) for part in PARTS[type_]):
        yield Mistake("missing_field", f"a template of type {type_} needs {_listed(PARTS[type_], 'or')}", where="body")
    if "network" in spec and type_ != "social":
        yield Mistake("unknown_field", "network belongs to templates of type social", where="network")
    if "max_segments" in spec and type_ != "sms":
        yield Mistake("unknown_field", "max_segments belongs to templates of type sms", where="max_segments")


def _check_variants(spec: Mapping[str, Any], type_: Type) -> Iterator[Mistake]:
    language = spec.get("language") or "en"
    own = {part for part in PARTS[type_] if part in spec}
    there = {language} | {_variant(key)[0] for key in spec.get("variants") or {}}
    for key, texts in (spec.get("variants") or {}).items():
        where = f"variants.{key}"
        tongue, style = _variant(key)
        if tongue is None or (tongue and not _TAG.match(tongue)):
            yield Mistake("invalid_variant", f"{key!r} names no variant", "Write fr, formal, or fr/formal.", where=where)
            continue
        if tongue == language and not style:
            yield Mistake("conflict", f"{key} is the template's own language", "Its texts stand at the top.", where=where)
        for part in texts or {}:
            if part not in PARTS[type_]:
                yield Mistake("unknown_field", f"a template of type {type_} has no {part}", where=f"{where}.{part}")
        lacking = [] if style else sorted(_same(own) - _same(set(texts or {})) - {"text", "preheader"})
        if lacking:
            yield Mistake(
                "missing_field", f"the variant {key} has no {_listed(lacking)}", "A language has all the texts.", where=where
            )
    for tag in spec.get("fallback") or ():
        if tag not in there:
            yield Mistake(
                "unknown_name", f"there is no variant in {tag}", f"There are {_listed(sorted(there))}.", where="fallback"
            )


def _check_names(spec: Mapping[str, Any]) -> Iterator[Mistake]:
    for name in spec.get("variables") or {}:
        if name in RESERVED:
            yield Mistake("reserved_name", f"{name} is a name of ours", "Choose another.", where=f"variables.{name}")
    known = {*(spec.get("variables") or {}), *PERSON}
    for name in spec.get("defaults") or {}:
        root = name.partition(".")[0]
        if name not in known and root not in (*ATTRIBUTES, "features", "offer") and root not in (spec.get("variables") or {}):
            yield Mistake(
                "unknown_name", f"there is no variable called {name}", "Write it as in the texts.", where=f"defaults.{name}"
            )


def _variant(key: str) -> tuple[str | None, str | None]:
    """Return the language (empty: the template's own) and the style of a variant's key; (None, None) when it is none."""
    language, slash, style = key.partition("/")
    if language in STYLES and not slash:
        return "", language
    if slash and style not in STYLES:
        return None, None
    return language or None, style or None


def _field(key: str, part: str) -> str:
    return f"variants.{key}.{part}" if key else part


def _same(parts: set[str]) -> set[str]:
    return {"html" if part == "mjml" else part for part in parts}


def _listed(names: Any, word: str = "and") -> str:
    *some, last = names
    return f"{', '.join(some)} {word} {last}" if some else str(last)
