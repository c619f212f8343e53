"""``engine.directory``: finding people, changing many at once, campaigns, moving in and out, duplicates."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tailorbird.core.event import PROFILE_UPDATED, TAG_ADDED, TAG_REMOVED, Json
from tailorbird.core.profile import Profile
from tailorbird.engine.asking import condition_of
from tailorbird.engine.campaigns import Campaign, CampaignReport, Undone, import_campaign, listing, undo
from tailorbird.engine.duplicates import Suggestion, merge_by_rule, merge_suggestion, suggest, suggest_by_model
from tailorbird.engine.exchange import Moved, read_file, write_atomically, write_file
from tailorbird.engine.people import accepted
from tailorbird.engine.refs import find_profile
from tailorbird.errors import InvalidInput
from tailorbird.ports import Clause, Criteria, Merge, Numbers, People
from tailorbird.profiles.engagements import ENGAGEMENTS
from tailorbird.runtime.ingest import Incoming
from tailorbird.segments.preview import name_of
from tailorbird.storage import open_finder

if TYPE_CHECKING:
    from tailorbird.engine.facade import Engine

__all__ = ["BulkChange", "Directory", "Found", "PersonView", "plain_cell", "read_clause"]

_CHUNK: Final = 1_000
_MOST_VALUES: Final = 200  # values that tests of attributes may name in one question: a database takes no deeper expression
_LONE: Final = re.compile("[\ud800-\udfff]")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
Told = Callable[[int, int], None]


class PersonView(msgspec.Struct, frozen=True, kw_only=True):
    """A person as found: public id, what people call them, address, status, facts; ``score`` 0 to 1 where words were searched."""

    id: str
    name: str
    email: str | None = None
    status: str = "new"
    tags: tuple[str, ...] = ()
    attributes: dict[str, Json] = {}
    created_at: int = 0
    updated_at: int = 0
    score: float | None = None


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Some people; ``next`` is the cursor of those after, None at the end; ``search`` says how texts are searched here."""

    people: tuple[PersonView, ...]
    next: str | None = None
    search: str = "trigram"


class BulkChange(msgspec.Struct, frozen=True):
    """How many people were meant, and for how many it made a difference."""

    matched: int
    changed: int


class Directory:
    """People found by what is known of them; see ``docs/how-to/find-contacts.md``. May be used from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._parts = engine.parts
        self.people: People = open_finder(engine.store)  # type: ignore[arg-type]

    def close(self) -> None:
        """Let go of the read model."""
        self.people.close()

    # ---- finding

    def criteria(
        self, *, status: str | None = None, domain: str | None = None, tag: str | None = None, segment: str | None = None,
        where: Iterable[str | Clause] = (), text: str | None = None, name: str | None = None, refs: Iterable[str] | None = None,
    ) -> Criteria:  # fmt: skip
        """Return criteria that all have to hold. ``where`` are tests of attributes: ``city=Paris``, ``plan in pro,team``,
        ``title~sales`` (contains); ``text`` words that occur anywhere; ``name`` a name that may be misspelt; ``refs`` people."""
        if segment is not None:
            condition_of(self._parts, segment)
        for what, said in (("status", status), ("domain", domain), ("tag", tag), ("text", text), ("name", name)):
            if said is not None and (not isinstance(said, str) or _LONE.search(said)):
                raise InvalidInput(f"{what} {said!r:.60} is not text.", hint="Give text that is whole Unicode characters.")
        keys = None if refs is None else tuple(self._key(ref) for ref in refs)
        clauses = tuple(read_clause(one) if isinstance(one, str) else one for one in where)
        if sum(len(one.value) if isinstance(one.value, list) else 1 for one in clauses) > _MOST_VALUES:
            raise InvalidInput(
                f"where tests for more than {_MOST_VALUES} values.", hint="Ask in parts, or make a segment of the condition."
            )
        return Criteria(
            status=status, domain=domain, tag=tag, segment=segment, attributes=clauses, text=text, name=name, profiles=keys
        )

    def find(
        self, criteria: Criteria | None = None, *, sort: str | None = None, descending: bool | None = None, after: str | None = None,
        limit: int = 50, **asked: Any,
    ) -> Found:  # fmt: skip
        """Return some of the people whom the criteria hold for, given whole or in words as ``criteria`` takes them.

        Sorted by ``name``, ``created_at`` (default), ``updated_at``, ``status`` or ``relevance`` (default for ``text``, ``name``).
        """
        chosen = self.criteria(**asked) if criteria is None else criteria
        if type(limit) is not int or not 1 <= limit <= 1_000:
            raise InvalidInput(f"limit {limit!r:.40} is not between 1 and 1000.")
        order = sort or ("relevance" if chosen.text or chosen.name else "created_at")
        way = order in ("relevance", "updated_at") if descending is None else descending
        hits = self.people.page(chosen, sort=order, descending=way, after=after, limit=limit)
        views = tuple(self._views(hits.keys, hits.scores))
        return Found(people=views, next=hits.next, search=self.people.search)

    def count(self, criteria: Criteria | None = None, **asked: Any) -> int:
        """Return for how many people the criteria hold."""
        return self.people.count(self.criteria(**asked) if criteria is None else criteria)

    def statistics(self) -> Numbers:
        """Return totals: people, by status, enriched, verified, with engagement, and engagements."""
        return self.people.numbers(tuple(ENGAGEMENTS.values()))

    def write_csv(self, path: str | Path | None, criteria: Criteria, fields: Sequence[str] = ()) -> str | int:
        """Write people as CSV (to a file, which appears when whole; or return the text); ``fields`` are further attributes.

        A cell that a spreadsheet would run as a formula gets an apostrophe in front. Return how many rows, with a path.
        """
        keys = self.people.keys(criteria)
        if path is None:
            return "".join(self._csv(keys, fields))
        write_atomically(Path(path), self._csv(keys, fields))
        return len(keys)

    def _csv(self, keys: Sequence[int], fields: Sequence[str]) -> Iterator[str]:
        yield _line(["id", "email", "name", "status", "tags", *fields])
        for start in range(0, len(keys), _CHUNK):
            for view in self._views(keys[start : start + _CHUNK], {}):
                more = [view.attributes.get(field) for field in fields]
                yield _line([view.id, view.email, view.name, view.status, ", ".join(view.tags), *more])

    def _views(self, keys: Sequence[int], scores: Mapping[int, float]) -> Iterator[PersonView]:
        store = self._parts.store
        profiles = store.profiles(keys)
        for key in keys:
            profile = profiles.get(key)
            if profile is None or profile.merged_into is not None:
                continue  # erased or merged this very moment
            emails = [row.value for row in store.identifiers(key) if row.kind == "email"]
            yield _view(profile, emails[0] if emails else None, scores.get(key))

    def _key(self, ref: str) -> int:
        return find_profile(self._parts.store, ref, region=self._parts.region).key

    # ---- changing many

    def tag(self, criteria: Criteria, *tags: str, source: str = "directory", progress: Told | None = None) -> BulkChange:
        """Give tags to everybody whom the criteria hold for."""
        return self._bulk(
            criteria, lambda profile: [(TAG_ADDED, {"tag": t}) for t in tags if t not in profile.tags], source, progress
        )

    def untag(self, criteria: Criteria, *tags: str, source: str = "directory", progress: Told | None = None) -> BulkChange:
        """Take tags from everybody whom the criteria hold for."""
        return self._bulk(
            criteria, lambda profile: [(TAG_REMOVED, {"tag": t}) for t in tags if t in profile.tags], source, progress
        )

    def update(
        self, criteria: Criteria, attributes: Mapping[str, Json], *, source: str = "directory", progress: Told | None = None
    ) -> BulkChange:
        """Set attributes of everybody whom the criteria hold for; ``None`` removes one."""
        said = dict(attributes)

        def news(profile: Profile) -> list[tuple[str, dict[str, Json]]]:
            differs = {
                k: v for k, v in said.items() if profile.attributes.get(k) != v or type(profile.attributes.get(k)) is not type(v)
            }
            return [(PROFILE_UPDATED, {"attributes": differs})] if differs else []

        return self._bulk(criteria, news, source, progress)

    def _bulk(
        self, criteria: Criteria, news: Callable[[Profile], list[tuple[str, dict[str, Json]]]], source: str, progress: Told | None
    ) -> BulkChange:
        """Send events for those whom they change, some at a time: who is done shows it, so doing it again goes on from there."""
        keys, changed = self.people.keys(criteria), 0
        for start in range(0, len(keys), _CHUNK):
            profiles = self._parts.store.profiles(keys[start : start + _CHUNK])
            batch = [
                Incoming(type=type_, data=data, profile=profile.id, source=source)
                for profile in profiles.values()
                for type_, data in news(profile)
            ]
            accepted(self._parts.loop.take(batch, self._parts.now()))
            changed += len({event.profile for event in batch})
            if progress is not None:
                progress(min(start + _CHUNK, len(keys)), len(keys))
        return BulkChange(len(keys), changed)

    # ---- campaigns

    def import_campaign(self, name: str, people: str | Path | Sequence[str], **options: Any) -> CampaignReport:
        """Import a list of addresses or a CSV file as a campaign; options as ``engine.campaigns.import_campaign``."""
        return import_campaign(self._engine, name, people, **options)

    def import_table(self, name: str, text: str, **options: Any) -> CampaignReport:
        """Import a table given as CSV text as a campaign; options as ``engine.campaigns.import_campaign``."""
        with TemporaryDirectory(prefix="tailorbird-campaign-") as scratch:
            path = Path(scratch) / "table.csv"
            path.write_text(text, encoding="utf-8", errors="surrogatepass", newline="")
            report = import_campaign(self._engine, name, path, **options)
        return msgspec.structs.replace(report, rejected_path=None)

    def campaigns(self) -> list[Campaign]:
        """Return the campaigns that were imported, the newest first."""
        return listing(self._parts.store)

    def undo_import(self, import_id: str, **options: Any) -> Undone:
        """Take an import back; what others built on stays, and is told. Options as ``engine.campaigns.undo``."""
        return undo(self._engine, import_id, **options)

    # ---- moving in and out

    def read_contacts(self, path: str | Path, *, progress: Told | None = None) -> Moved:
        """Take in a JSON contact file keyed by e-mail; a bad file leaves everything as it was."""
        return read_file(self._parts, path, progress=progress)

    def write_contacts(self, path: str | Path, criteria: Criteria | None = None, *, progress: Told | None = None) -> Moved:
        """Write everybody with an address (or whom the criteria hold for) into a JSON contact file, whole or not at all."""
        return write_file(self._parts, path, self.people.keys, criteria or Criteria(), progress=progress)

    # ---- duplicates

    def duplicates(self, *, limit: int = 100, min_score: float = 0.6, model: bool = False) -> list[Suggestion]:
        """Return pairs of people who may be one, the likeliest first; nothing is merged.

        By a simple rule, or with ``model`` by a statistical model (the extra ``duplicates``), whose score is a probability.
        """
        if model:
            return suggest_by_model(self._parts, self.people, limit=limit, min_score=min_score)
        return suggest(self._parts, self.people, limit=limit, min_score=min_score)

    def merge_suggestion(self, suggestion: str, *, by: str = "") -> Merge:
        """Merge the two people of a suggestion (its id) because a person said so; undone by ``engine.unmerge``."""
        return merge_suggestion(self._engine, suggestion, by=by)

    def merge_by_rule(self, min_score: float, *, limit: int = 100) -> list[Merge]:
        """Merge all pairs that score at least so much: an explicit rule; 0.9 or more."""
        return merge_by_rule(self._engine, self.people, min_score, limit=limit)


def read_clause(text: str) -> Clause:
    """Return the test of an attribute that a text says; values that are JSON are read as such.

    >>> read_clause("city=Paris"), read_clause("score in 5,7").value, read_clause("title ~ sales").op
    (Clause(name='city', op='eq', value='Paris'), [5, 7], 'contains')
    """
    for mark, op in (("~", "contains"), ("=", "eq")):
        name, found, value = text.partition(mark)
        if found and name.strip() and " in " not in name:
            return Clause(name.strip(), op, _value(value.strip()))  # type: ignore[arg-type]
    name, found, value = text.partition(" in ")
    if found and name.strip():
        return Clause(name.strip(), "in", [_value(part.strip()) for part in value.split(",")])
    raise InvalidInput(f"{text!r:.80} is not a test of an attribute.", hint="Write city=Paris, plan in pro,team or title~sales.")


def _value(text: str) -> Json:
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return text
    return text if isinstance(found, dict | list) else found


def plain_cell(value: Json) -> str:
    """Return a value as a CSV cell that no spreadsheet runs.

    >>> plain_cell("=1+1"), plain_cell(-5), plain_cell(None)
    ("'=1+1", '-5', '')
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        return msgspec.json.encode(value).decode()
    return f"'{value}" if value.lstrip(" ").startswith(_FORMULA) else value


def _line(cells: Sequence[Json]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow([plain_cell(cell) for cell in cells])
    return out.getvalue()


def _view(profile: Profile, email: str | None, score: float | None) -> PersonView:
    status = profile.attributes.get("status")
    name = name_of(profile)
    return PersonView(
        id=profile.id,
        name=email if name == profile.id and email else name,
        email=email,
        status=status if isinstance(status, str) else "new",
        tags=profile.tags,
        attributes=profile.attributes,
        created_at=profile.created_at,
        updated_at=max((one.at for one in profile.provenance.values()), default=profile.created_at),
        score=score,
    )
