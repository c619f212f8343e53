"""Content: templates rendered for a person, previewed over a segment, compared between versions, and checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from difflib import unified_diff
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tailorbird.content import check as checking
from tailorbird.content import language as languages
from tailorbird.content.names import RESERVED, Known
from tailorbird.content.rendered import Rendered
from tailorbird.content.spec import STYLES, Template
from tailorbird.content.values import Facts
from tailorbird.core.definition import Definition, Kind
from tailorbird.core.event import PROFILE_UPDATED, Json
from tailorbird.core.profile import Profile
from tailorbird.definitions.catalog import Catalog
from tailorbird.engine.asking import condition_of
from tailorbird.engine.parts import Parts
from tailorbird.engine.reader import Reader
from tailorbird.engine.refs import find_profile, read_instant
from tailorbird.errors import InvalidInput, NotFound, RenderFailed
from tailorbird.features.values import choose, values_as_of, wire
from tailorbird.profiles.fold import refold
from tailorbird.profiles.normalise import rank
from tailorbird.segments.preview import current_members

if TYPE_CHECKING:
    from tailorbird.content.compiled import Compiled

__all__ = ["Content", "Failure", "PartChange", "TemplatePreview", "VersionDiff"]

Progress = Callable[[int, int], None]
"""Called with how many are done and how many there are."""

_CHUNK: Final = 10_000
_EXAMPLES: Final = 10


class Failure(msgspec.Struct, frozen=True):
    """Somebody for whom a template cannot be rendered, and why."""

    profile: str
    message: str


class TemplatePreview(msgspec.Struct, frozen=True, kw_only=True):
    """A template rendered for people of a segment. ``people`` were looked at, of ``size`` members.

    ``languages`` and ``styles`` say how many get which, ``reasons`` why that language; ``missing`` how often a variable is not
    known; ``segments`` how many text messages take how many segments. ``samples`` are messages of a few, ``failures`` of a few.
    """

    template: str
    version: int
    segment: str
    size: int
    people: int
    rendered: int
    skipped: int
    failed: int
    languages: dict[str, int]
    reasons: dict[str, int]
    styles: dict[str, int]
    missing: dict[str, int]
    segments: dict[str, int]
    samples: tuple[Rendered, ...]
    failures: tuple[Failure, ...]
    instant: int


class PartChange(msgspec.Struct, frozen=True):
    """How a part differs: a unified diff of its lines."""

    part: str
    diff: str


class VersionDiff(msgspec.Struct, frozen=True, kw_only=True):
    """How two versions of a template differ: ``rendered`` for the same person, and in their ``source``; alike parts are left out."""

    template: str
    version_a: int
    version_b: int
    profile: str | None
    rendered: tuple[PartChange, ...]
    source: tuple[PartChange, ...]


class _Live:
    """The templates of one state of the definitions, and those of them that were compiled."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.templates = {name: Template.read(name, item.version, item.spec) for name, item in catalog.templates.items()}
        self.versions = {name: item.version for (kind, name), item in catalog.definitions.items() if kind == Kind.FEATURE}
        self.compiled: dict[tuple[str, str, str | None], Compiled] = {}

    def template(self, name: str) -> Template:
        """Return an active template."""
        found = self.templates.get(name)
        if found is None:
            hint = "List what there is with: tailorbird definitions --kind template"
            raise NotFound(f"There is no active template called {name}.", hint=hint)
        return found

    def features(self, name: str) -> list[str]:
        """Return the features that a template needs in any language and style, also through the templates it renders."""
        found: dict[tuple[str, str], None] = {}
        waiting = [(str(Kind.TEMPLATE), name)]
        while waiting:
            fresh = [key for key in self.catalog.needs.get(waiting.pop(), ()) if key not in found]
            found |= dict.fromkeys(fresh)
            waiting += [key for key in fresh if key[0] == Kind.TEMPLATE]
        return [other for kind, other in found if kind == Kind.FEATURE and other in self.catalog.features]

    def make(self, template: Template, language: str, style: str | None) -> Compiled:
        """Compile a template for a language and style."""
        made: Compiled = checking.load().compile_template(
            template, language, style, pieces=self.templates, versions=self.versions
        )
        return made

    def choose(
        self, template: Template, person: Profile | None, language: str | None, style: str | None, *, keep: bool = True
    ) -> tuple[Compiled, str, str]:
        """Return a template in the language and style of a person, and why these."""
        preferred = language or (person.attributes.get("language") if person is not None else None)
        wanted = [preferred] if isinstance(preferred, str) and preferred else []
        choice = languages.choose(wanted, template.languages, template.fallback)
        tongue = choice.language or template.language
        reason = f"as asked: {choice.reason}" if language else choice.reason
        chosen, how = _style(style, person)
        if not keep:
            return self.make(template, tongue, chosen), reason, how
        key = (template.name, tongue, chosen)
        found = self.compiled.get(key)
        if found is None:
            found = self.compiled[key] = self.make(template, tongue, chosen)
        return found, reason, how


class Content:
    """Templates over an engine. Compiled ones are kept as long as the definitions stay as they are."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._reader = Reader(parts)
        self._state: _Live | None = None

    # ---- verbs

    def render(
        self, template: str, profile: str | None, *, variables: Mapping[str, Json] | None = None, offer: Mapping[str, Json] | None = None,
        language: str | None = None, style: str | None = None, as_of: Any = None,
    ) -> Rendered:  # fmt: skip
        """Return a template's message for one person, now or as of an instant.

        ``variables`` are the caller's, ``offer`` that of a decision. ``language`` and ``style`` outweigh what the person prefers.
        With ``profile=None`` only what the caller gives is known. Raises ``NotFound``, ``RenderFailed``, ``InvalidInput``.
        """
        live = self._live()
        found = live.template(template)
        instant = self._parts.now() if as_of is None else read_instant(as_of, "as_of")
        person = None if profile is None else self._person(profile, None if as_of is None else instant)
        facts = self._facts(person, variables, offer, instant)
        compiled, why, how = live.choose(found, person, language, style)
        if person is not None and compiled.features:
            facts.features = self._features(person, compiled.features, None if as_of is None else instant)
        return compiled.render(facts, language_reason=why, style_reason=how)

    def render_text(
        self, text: str, profile: str | None, *, type: str = "plain", variables: Mapping[str, Json] | None = None,
        offer: Mapping[str, Json] | None = None, language: str | None = None, style: str | None = None, as_of: Any = None,
    ) -> Rendered:  # fmt: skip
        """Return text given directly, rendered for one person; it is checked first. Type ``html`` takes it as HTML.

        Raises ``InvalidTemplate`` with every mistake.
        """
        part = "html" if type == "html" else "body"
        if type not in ("html", "plain", "sms", "social"):
            raise InvalidInput(
                f"type {type!r:.40} is not one of html, plain, sms, social.", hint="An e-mail has parts: define a template."
            )
        self.check(text, part=part, variables=variables or ())
        made = Template(
            name="text", version=0, type="plain" if type == "html" else type, texts={part: text},  # type: ignore[arg-type]
            language=language or "en", fallback=(language or "en",),
        )  # fmt: skip
        instant = self._parts.now() if as_of is None else read_instant(as_of, "as_of")
        person = None if profile is None else self._person(profile, None if as_of is None else instant)
        facts = self._facts(person, variables, offer, instant)
        style, how = _style(style, person)
        compiled = self._live().make(made, made.language, style)
        if person is not None and compiled.features:
            facts.features = self._features(person, compiled.features, None if as_of is None else instant)
        return compiled.render(facts, language_reason="as asked" if language else "not said", style_reason=how)

    def check(self, text: str, *, part: str = "body", variables: Iterable[str] = ()) -> None:
        """Raise ``InvalidTemplate`` with everything that is wrong with a text; ``variables`` are what the caller would give."""
        known = self._parts.catalog.known()
        checking.check_source(text, Known(known.attributes, known.features, frozenset(variables), known.pieces), part)

    def preview(
        self, template: str, segment: str, *, sample: int | None = 100, variables: Mapping[str, Json] | None = None,
        offer: Mapping[str, Json] | None = None, language: str | None = None, style: str | None = None,
        progress: Progress | None = None, keep: int = _EXAMPLES,
    ) -> TemplatePreview:  # fmt: skip
        """Render a template for a sample spread over a segment, or for all of it (``sample=None``), and count what comes of it."""
        condition_of(self._parts, segment)
        live = self._live()
        found = live.template(template)
        keys = list(current_members(self._parts.store, segment))
        size = len(keys)
        if sample is not None and size > sample:
            keys = [keys[index * size // sample] for index in range(sample)]
        tally = _Tally(keep)
        now = self._parts.now()
        done = 0
        for start in range(0, len(keys), _CHUNK):
            chunk = keys[start : start + _CHUNK]
            for person, answer in self._messages(live, found, chunk, variables, offer, language, style, now, keep - done):
                tally.add(person, answer)
                done += 1
                if progress is not None and done % 100 == 0:
                    progress(done, len(keys))
        if progress is not None:
            progress(len(keys), len(keys))
        return tally.answer(found, segment, size, now)

    def diff(
        self, template: str, version_a: int, version_b: int, profile: str | None = None, *,
        variables: Mapping[str, Json] | None = None, language: str | None = None, style: str | None = None,
    ) -> VersionDiff:  # fmt: skip
        """Return how two versions of a template differ, in their texts and (with a profile) in what that person gets."""
        live = self._live()
        one, other = self._version(template, version_a), self._version(template, version_b)
        person = None if profile is None else self._person(profile, None)
        shown: list[dict[str, str]] = []
        for item in (one, other):
            made = Template.read(item.name, item.version, item.spec)
            compiled, _, _ = live.choose(made, person, language, style, keep=False)
            facts = self._facts(person, variables, None, self._parts.now())
            if person is not None and compiled.features:
                facts.features = self._features(person, compiled.features, None)
            shown.append(compiled.render(facts).content if profile is not None else {})
        labels = (f"{template} v{version_a}", f"{template} v{version_b}")
        return VersionDiff(
            template=template, version_a=version_a, version_b=version_b, profile=person.id if person is not None else None,
            rendered=_changes(shown[0], shown[1], labels), source=_changes(_flat(one.spec), _flat(other.spec), labels),
        )  # fmt: skip

    # ---- inside

    def _live(self) -> _Live:
        """Return the templates as the definitions are now; what was compiled before they changed is forgotten."""
        catalog, state = self._parts.catalog, self._state
        if state is None or state.catalog is not catalog:
            state = self._state = _Live(catalog)
        return state

    def _version(self, name: str, version: int) -> Definition:
        found = self._parts.store.definitions(kind=Kind.TEMPLATE, name=name)
        for item in found:
            if item.version == version:
                return item
        if not found:
            raise NotFound(f"There is no template called {name}.")
        there = ", ".join(str(item.version) for item in found)
        raise NotFound(f"template {name} has no version {version}; it has {there}.")

    def _person(self, ref: str, instant: int | None) -> Profile:
        profile = find_profile(self._parts.store, ref, region=self._parts.region)
        if instant is None:
            return profile
        then = copy(profile)
        events = self._parts.store.history([profile.key], [PROFILE_UPDATED]).get(profile.key, ())
        refold(then, [event for event in events if event.at <= instant], _types(self._parts.catalog))
        return then

    def _facts(
        self, person: Profile | None, variables: Mapping[str, Json] | None, offer: Mapping[str, Json] | None, instant: int
    ) -> Facts:
        given = _plain(variables or {}, "variables")
        taken = sorted(RESERVED & set(given))
        if taken:
            raise InvalidInput(f"{', '.join(taken)} cannot be given as a variable.", hint="These names are ours; choose others.")
        key = person.key if person is not None else 0
        return Facts(
            person, lambda: self._identifiers(key), {}, given, None if offer is None else _plain(offer, "offer"), instant
        )

    def _identifiers(self, key: int) -> list[tuple[str, str]]:
        rows = sorted(self._parts.store.identifiers(key), key=lambda row: (rank(row.kind), row.at))
        return [(row.kind, row.value) for row in rows]

    def _features(self, person: Profile, names: tuple[str, ...], instant: int | None) -> Mapping[str, Any]:
        live = tuple(name for name in names if name in self._parts.catalog.features)
        if instant is None:
            return self._reader.read(person.id, live)
        chosen = choose(self._parts.catalog.features, {}, live)
        values = values_as_of(self._parts.store.batch(), chosen, [person.key], instant).get(person.key, {})
        return {name: wire(values.get(name), kind) for name, (_, kind) in chosen.items()}

    def _messages(
        self, live: _Live, template: Template, keys: Sequence[int], variables: Mapping[str, Json] | None, offer: Mapping[str, Json] | None,
        language: str | None, style: str | None, now: int, traced: int,
    ) -> Iterator[tuple[Profile, Rendered | RenderFailed]]:  # fmt: skip
        """Yield a message, or why there is none, for each of these people, the first ``traced`` of them with their sources.

        What they share is read once for all.
        """
        people = self._parts.store.profiles(keys)
        features: dict[int, dict[str, Any]] | None = None
        shared = self._facts(None, variables, offer, now)
        chosen: dict[tuple[Any, Any], tuple[Compiled, str, str]] = {}
        for place, key in enumerate(keys):
            person = people.get(key)
            if person is None:
                continue
            wish = (str(person.attributes.get("language")), str(person.attributes.get("style")))
            if (made := chosen.get(wish)) is None:
                made = chosen[wish] = live.choose(template, person, language, style)
            compiled, why, how = made
            facts = Facts(person, lambda key=key: self._identifiers(key), {}, shared.caller, shared.offer, now)  # type: ignore[misc]
            if compiled.features:
                if features is None:
                    features = self._all_features(live, keys, template, now)
                facts.features = features.get(key, {})
            try:
                yield person, compiled.render(facts, language_reason=why, style_reason=how, sources=place < traced)
            except RenderFailed as error:
                yield person, error

    def _all_features(self, live: _Live, keys: Sequence[int], template: Template, now: int) -> dict[int, dict[str, Any]]:
        chosen = choose(live.catalog.features, {}, live.features(template.name))
        values = values_as_of(self._parts.store.batch(), chosen, keys, now)
        return {key: {name: wire(found.get(name), kind) for name, (_, kind) in chosen.items()} for key, found in values.items()}


class _Tally:
    """Counts what comes of a template for one person after the other."""

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self.people = self.rendered = self.skipped = self.failed = 0
        self.languages: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.styles: Counter[str] = Counter()
        self.missing: Counter[str] = Counter()
        self.segments: Counter[str] = Counter()
        self.samples: list[Rendered] = []
        self.failures: list[Failure] = []

    def add(self, person: Profile, answer: Rendered | RenderFailed) -> None:
        self.people += 1
        if isinstance(answer, RenderFailed):
            self.failed += 1
            if len(self.failures) < self.keep:
                self.failures.append(Failure(person.id, answer.message))
            return
        if answer.skipped is not None:
            self.skipped += 1
        else:
            self.rendered += 1
        self.languages[answer.language or "none"] += 1
        self.reasons[answer.language_reason] += 1
        self.styles[answer.style or "as written"] += 1
        self.missing.update(answer.missing)
        if answer.type == "sms" and answer.skipped is None:
            self.segments[str(answer.facts.get("segments"))] += 1
        if len(self.samples) < self.keep:
            self.samples.append(answer)

    def answer(self, template: Template, segment: str, size: int, instant: int) -> TemplatePreview:
        return TemplatePreview(
            template=template.name, version=template.version, segment=segment, size=size, people=self.people, rendered=self.rendered,
            skipped=self.skipped, failed=self.failed, languages=dict(self.languages.most_common()),
            reasons=dict(self.reasons.most_common(50)), styles=dict(self.styles.most_common()), missing=dict(self.missing.most_common()),
            segments=dict(sorted(self.segments.items())), samples=tuple(self.samples), failures=tuple(self.failures), instant=instant,
        )  # fmt: skip


def _style(style: str | None, person: Profile | None) -> tuple[str | None, str]:
    """Return the style that is asked for, else the one the person prefers, and why."""
    if style is not None:
        if style not in STYLES:
            raise InvalidInput(f"style {style!r:.40} is not one of {', '.join(STYLES)}.")
        return style, "as asked"
    preferred = person.attributes.get("style") if person is not None else None
    if isinstance(preferred, str) and preferred.lower() in STYLES:
        return preferred.lower(), f"prefers {preferred.lower()}"
    return None, "no preference is known; as it is written"


def _types(catalog: Catalog) -> dict[str, str]:
    return {name: str(kind) for name, kind in catalog.schema.attributes.items()}


def _plain(values: Mapping[str, Json], what: str) -> dict[str, Json]:
    """Return what a caller gave as plain JSON values: nothing that could pass for markup or carry behaviour."""
    try:
        found = msgspec.json.decode(msgspec.json.encode(values))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidInput(f"{what} are not JSON values: {error}") from None
    if not isinstance(found, dict):
        raise InvalidInput(f"{what} are not a mapping of names to values.")
    return found


def _flat(spec: Mapping[str, Json], path: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in spec.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{path}{key}.")
        else:
            found[f"{path}{key}"] = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return found


def _changes(one: Mapping[str, str], other: Mapping[str, str], labels: tuple[str, str]) -> tuple[PartChange, ...]:
    found = []
    for part in dict.fromkeys([*one, *other]):
        before, after = one.get(part, ""), other.get(part, "")
        if before != after:
            lines = unified_diff(before.splitlines(), after.splitlines(), *labels, lineterm="", n=2)
            found.append(PartChange(part, "\n".join(lines)))
    return tuple(found)
