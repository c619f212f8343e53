"""What a change of definitions would do, as plain data: nothing here writes anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from tailorbird.core.definition import Definition, Kind, Status
from tailorbird.core.event import Json
from tailorbird.definitions.catalog import Catalog, Key
from tailorbird.definitions.files import Document, What, invalid, read
from tailorbird.definitions.source import Report
from tailorbird.errors import Conflict, NotFound
from tailorbird.ports import Store

__all__ = ["Plan", "current", "plan", "plan_activate", "plan_archive", "plan_roll_back", "plan_versions"]

OPEN = frozenset({Status.DRAFT, Status.CHECKED, Status.PREVIEWED, Status.FAILED})
"""What a version may be before it was ever active; such a version may still be replaced in place."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What changes, before it changes.

    ``save`` are new versions to be stored, ``activate`` the versions that will be active, ``archive`` those that cease to
    be, ``unchanged`` what already is as asked. ``backfill`` names the segments whose condition is new or changed, be it
    through what they refer to, in the order of what they need; ``retire`` those that end. ``catalog`` is what will be active.
    """

    save: tuple[Definition, ...]
    activate: tuple[Definition, ...]
    archive: tuple[Definition, ...]
    unchanged: tuple[Key, ...]
    backfill: tuple[str, ...]
    retire: tuple[str, ...]
    before: Catalog
    catalog: Catalog

    def __bool__(self) -> bool:
        return bool(self.save or self.activate or self.archive or self.backfill or self.retire)


def current(store: Store) -> dict[Key, Definition]:
    """Return the active version of every definition."""
    return {(item.kind, item.name): item for item in store.definitions(status=Status.ACTIVE)}


def plan(store: Store, what: What | Iterable[Document], now: int, *, activate: bool = True) -> Plan:
    """Return what applying these definitions would do.

    Raises ``InvalidDefinition`` with every mistake of every document at once (syntax, fields, names, types, cycles), and
    ``Conflict`` when a change would break an active definition that is not among the documents, naming it.
    """
    report = Report()
    documents = _documents(what, report)
    active = current(store)
    wanted, unchanged = _versions(store, documents, active, now)
    _judge(documents, active, wanted, report)
    going = {} if not activate else {(d.kind, d.name): wanted[d.kind, d.name] for d in documents if not d.draft}
    going = {key: item for key, item in going.items() if key not in unchanged}
    if report.mistakes:
        raise invalid(report)
    saved = tuple(item for key, item in wanted.items() if key not in unchanged)
    return _assemble(active, going, frozenset(), save=saved, unchanged=tuple(unchanged))


def plan_activate(store: Store, kind: str, name: str, version: int | None = None) -> Plan:
    """Return what activating a stored version (the newest that is not archived, when left out) would do."""
    versions = _stored(store, kind, name)
    if version is None:
        chosen = next((item for item in reversed(versions) if item.status != Status.ARCHIVED), versions[-1])
    else:
        found = [item for item in versions if item.version == version]
        if not found:
            raise NotFound(f"{kind} {name} has no version {version}; it has {', '.join(str(i.version) for i in versions)}.")
        chosen = found[0]
    active = current(store)
    if chosen.status == Status.ACTIVE:
        return _assemble(active, {}, frozenset(), unchanged=((kind, name),))
    return _assemble(active, {(kind, name): chosen}, frozenset())


def plan_roll_back(store: Store, kind: str, name: str) -> Plan:
    """Return what going back to the version that was active before would do; raises ``Conflict`` when there is none."""
    versions = _stored(store, kind, name)
    active = current(store)
    now_active = active.get((kind, name))
    limit = now_active.version if now_active else versions[-1].version + 1
    earlier = [item for item in versions if item.version < limit and item.activated_at is not None]
    if not earlier:
        raise Conflict(f"{kind} {name} has no earlier version to go back to.")
    return _assemble(active, {(kind, name): earlier[-1]}, frozenset())


def plan_archive(store: Store, kind: str, name: str) -> Plan:
    """Return what archiving a definition would do; raises ``Conflict`` naming what needs it."""
    versions = _stored(store, kind, name)
    active = current(store)
    key = (kind, name)
    if key not in active:
        open_ones = tuple(item for item in versions if item.status in OPEN)
        if not open_ones:
            return _assemble(active, {}, frozenset(), unchanged=(key,))
        return replace(_assemble(active, {}, frozenset()), archive=open_ones)
    needed = Catalog.build(active.values(), lenient=True).dependents(kind, name)
    if needed:
        raise Conflict(
            f"{kind} {name} cannot be archived: {_names(needed)} need{'s' if len(needed) == 1 else ''} it.",
            hint="Change or archive what needs it first.",
        )
    return _assemble(active, {}, frozenset({key}))


def plan_versions(store: Store, active: Iterable[Definition], ended: Iterable[Key]) -> Plan:
    """Return what making exactly these stored versions active, and ending those names, would do; what replay asks for."""
    going = {(item.kind, item.name): item for item in active}
    return _assemble(current(store), going, frozenset(ended))


def _documents(what: What | Iterable[Document], report: Report) -> Sequence[Document]:
    if isinstance(what, list | tuple) and what and all(isinstance(item, Document) for item in what):
        return what
    return read(what, report)  # type: ignore[arg-type]


def _versions(
    store: Store, documents: Sequence[Document], active: Mapping[Key, Definition], now: int
) -> tuple[dict[Key, Definition], list[Key]]:
    stored: dict[Key, list[Definition]] = {}
    for item in store.definitions():
        stored.setdefault((item.kind, item.name), []).append(item)
    wanted: dict[Key, Definition] = {}
    unchanged: list[Key] = []
    for document in documents:
        key = (str(document.kind), document.name)
        found = sorted(stored.get(key, ()), key=lambda item: item.version)
        wanted[key] = _version(document, found, now)
        last = found[-1] if found else None
        if (key in active and wanted[key].version == active[key].version) or (document.draft and wanted[key] is last):
            unchanged.append(key)
    return wanted, unchanged


def _version(document: Document, found: Sequence[Definition], now: int) -> Definition:
    """Return the stored version that says the same, or a new one; one that was never active is replaced in place."""
    digest = "" if document.broken else document.digest
    for item in reversed(found):
        if item.digest == digest and (item.status == Status.ACTIVE or item.status in OPEN):
            return item
    last = found[-1] if found else None
    reuse = last is not None and last.activated_at is None and last.status in OPEN
    version = 1 if last is None else last.version if reuse else last.version + 1
    status = Status.DRAFT if document.draft else Status.CHECKED
    return Definition(
        kind=str(document.kind), name=document.name, version=version, status=status,
        spec=document.spec, digest=digest, created_at=now,
    )  # fmt: skip


def _judge(
    documents: Sequence[Document], active: Mapping[Key, Definition], wanted: Mapping[Key, Definition], report: Report
) -> None:
    """Note what is wrong with the documents among what is active; raise ``Conflict`` when only others would break."""
    broken = frozenset((str(item.kind), item.name) for item in documents if item.broken)
    places = {(str(item.kind), item.name): item.places for item in documents}
    drafts = {(str(item.kind), item.name) for item in documents if item.draft}
    # what was faulty before and is not touched now is nobody's mistake today
    known = frozenset(fault.key for fault in Catalog.build(active.values(), lenient=True).faults) - set(wanted)
    probe = Catalog.probe({**active, **wanted}, broken, wanted)
    told = probe.report(places, known=known)
    faulty = {fault.key for fault in probe.faults} - known
    if faulty and not faulty & set(wanted) and not report.mistakes:
        _conflict(probe, faulty, known)
    report.add_all(told)
    if drafts and not report.mistakes:
        live = {**active, **{key: item for key, item in wanted.items() if key not in drafts}}
        report.add_all(Catalog.probe(live, frozenset(), wanted).report(places, known=known))


def _conflict(catalog: Catalog, keys: Iterable[Key], known: frozenset[Key]) -> None:
    told = tuple(catalog.report(known=known).mistakes)
    raise Conflict(
        f"This change would break {_names(sorted(keys))}.", mistakes=told,
        hint="Change what needs it in the same step.",
    )  # fmt: skip


def _stored(store: Store, kind: str, name: str) -> list[Definition]:
    versions = sorted(store.definitions(kind=kind, name=name), key=lambda item: item.version)
    if not versions:
        raise NotFound(f"There is no {kind} called {name}.", hint="List what there is with: tailorbird definitions")
    return versions


def _names(keys: Iterable[Key]) -> str:
    return ", ".join(f"{kind} {name}" for kind, name in keys)


def _assemble(
    active: Mapping[Key, Definition], going: Mapping[Key, Definition], leaving: frozenset[Key], *,
    save: tuple[Definition, ...] = (), unchanged: tuple[Key, ...] = (),
) -> Plan:  # fmt: skip
    after = {key: item for key, item in {**active, **going}.items() if key not in leaving}
    before = Catalog.build(active.values(), lenient=True)
    catalog = Catalog.build(after.values(), lenient=True)
    known = frozenset(fault.key for fault in before.faults)
    fresh = {fault.key for fault in catalog.faults} - known
    if fresh:
        _conflict(catalog, fresh, known)
    backfill = [
        name for kind, name in catalog.order
        if kind == Kind.SEGMENT and name in catalog.conditions and (
            before.conditions.get(name) != catalog.conditions[name] or catalog.definitions[kind, name].error is not None
        )
    ]  # fmt: skip
    ended = sorted(set(before.conditions) - set(catalog.conditions))
    replaced = tuple(active[key] for key in sorted({*going, *leaving}) if key in active)
    return Plan(save, tuple(going.values()), replaced, unchanged, tuple(backfill), tuple(ended), before, catalog)


def stamped(definition: Definition, status: Status, now: int, **changes: Json) -> Definition:
    """Return a definition in another status, with the instants that go with it."""
    if status == Status.ACTIVE:
        changes = {"activated_at": now, "archived_at": None, "error": None, **changes}
    elif status == Status.ARCHIVED:
        changes = {"archived_at": now, **changes}
    return msgspec.structs.replace(definition, status=status, **changes)
