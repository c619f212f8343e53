"""The verbs that every caller uses, whichever CRM a connection speaks to: query, find, search, create, update."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Literal

import msgspec

from tailorbird.connectors.rest.errors import RemoteConflict, RemoteError, RemoteNotFound
from tailorbird.core.event import Json
from tailorbird.core.ids import digest
from tailorbird.crm.mapping import CrmMapping, write_field
from tailorbird.crm.model import Record, Row, Written
from tailorbird.crm.port import CrmConnector, Filters
from tailorbird.engine.parts import Parts
from tailorbird.engine.refs import read_instant
from tailorbird.engine.syncing import Syncing
from tailorbird.errors import InvalidInput

__all__ = ["Crm"]

_LOG: Final = logging.getLogger("tailorbird.crm")
_PAGE: Final = 100
_SEASONS: Final = "signed_seasons"
_SERVED: Final = "last_service_date"


class Crm:
    """The CRM's people as they are there right now. ``connection`` may be left out where there is only one.

    Attributes are named as ours are, and brought to the CRM's fields by the connection's mapping. All verbs raise ``RemoteError`` when
    the CRM refuses or does not answer, and ``NotFound`` where there is no such connection.
    """

    def __init__(self, parts: Parts, syncing: Syncing) -> None:
        self._parts = parts
        self._syncing = syncing

    def query(
        self, *, status: str | None = None, services: str | Sequence[str] | None = None,
        not_signed_for_season: str | int | None = None, last_service_before: Any = None, city: str | None = None,
        changed_since: Any = None, attributes: Mapping[str, Json] | None = None, connection: str | None = None, limit: int = 100,
    ) -> list[Record]:  # fmt: skip
        """Return the records for which everything given holds, at most ``limit``.

        ``services`` and lists in ``attributes`` have to be among the record's own. ``not_signed_for_season`` leaves out whoever has the
        season in the attribute ``signed_seasons``; ``last_service_before`` takes those whose ``last_service_date`` is before an
        instant, or empty.
        """
        if limit < 1:
            raise InvalidInput(f"limit {limit} is less than 1.")
        name, connector = self._connector(connection)
        mapping = self._syncing.mapping(name)
        wanted = {"status": status, "city": city, "services": services, **(attributes or {})}
        filters = _filters(mapping, wanted)
        before = {} if last_service_before is None else {
            _field(mapping, _SERVED): read_instant(last_service_before, "last_service_before")
        }  # fmt: skip
        since = None if changed_since is None else read_instant(changed_since, "changed_since")
        filters = msgspec.structs.replace(filters, before=before, changed_since=since)
        season = None if not_signed_for_season is None else str(not_signed_for_season)
        seasons = _field(mapping, _SEASONS)
        found: list[Record] = []
        with self._noting(name):
            for record in _pages(connector, filters, limit):
                if season is None or season not in _list(record.value(seasons)):
                    found.append(record)
                    if len(found) == limit:
                        break
        return found

    def find(self, id: str, *, connection: str | None = None) -> Record | None:
        """Return a record by the CRM's id; None, and a warning in the log, where there is none."""
        name, connector = self._connector(connection)
        with self._noting(name):
            found = connector.get(id)
        if found is None:
            _LOG.warning("There is no record of that id at the CRM connection %s.", name)
        return found

    def search(self, text: str, *, connection: str | None = None, limit: int = 50) -> list[Record]:
        """Return records in which the CRM's own search finds a text."""
        name, connector = self._connector(connection)
        with self._noting(name):
            return connector.search(text, limit=limit)

    def create(self, attributes: Mapping[str, Json], *, connection: str | None = None, key: str | None = None) -> Written:
        """Make a record; where one exists already, what is given is written onto it.

        ``key`` makes a retry harmless where the CRM can tell.
        """
        name, connector = self._connector(connection)
        mapping = self._syncing.mapping(name)
        values = _values(mapping, attributes)
        match = {n: str(v) for n in ("email", "phone") if (v := values.get(n))}
        row = Row(key=key or _key("create", name, values), values=values, match=match, object=mapping.object)
        with self._noting(name):
            try:
                return connector.create(row)
            except RemoteConflict as error:
                if error.existing is None:
                    raise
                return connector.update(msgspec.structs.replace(row, id=error.existing), lists=_lists(connector))

    def update(
        self, id: str, attributes: Mapping[str, Json], *, connection: str | None = None,
        lists: Literal["merge", "replace"] = "replace", key: str | None = None,
    ) -> Written | None:  # fmt: skip
        """Change a record; None, and a warning in the log, where there is none. The answer names the fields that the CRM dropped."""
        name, connector = self._connector(connection)
        mapping = self._syncing.mapping(name)
        values = _values(mapping, attributes)
        row = Row(key=key or _key("update", name, {"id": id, **values}), values=values, id=id, object=mapping.object)
        with self._noting(name):
            try:
                return connector.update(row, lists=lists)
            except RemoteNotFound:
                _LOG.warning("There is no record of that id at the CRM connection %s; nothing was changed.", name)
                return None

    def only(self, connection: str | None = None) -> str:
        """Return the name of a connection: the one given, or the only one there is."""
        if connection is not None:
            return connection
        names = [item.name for item in self._parts.connections.list()]
        if len(names) == 1:
            return names[0]
        if not names:
            raise InvalidInput("No CRM credentials found for user", hint="Run `tailorbird connect hubspot`, say.")
        raise InvalidInput(f"there are several connections: {', '.join(names)}.", hint="Say which one.")

    def _connector(self, connection: str | None) -> tuple[str, CrmConnector]:
        name = self.only(connection)
        return name, self._parts.connections.open(name)

    @contextmanager
    def _noting(self, name: str) -> Iterator[None]:
        try:
            yield
        except RemoteError as error:
            self._parts.connections.note(name, error)
            raise


def _pages(connector: CrmConnector, filters: Filters, limit: int) -> Iterator[Record]:
    cursor: str | None = None
    while True:
        page = connector.query(filters, cursor=cursor, limit=min(limit, _PAGE))
        yield from page.records
        if not page.more or page.cursor is None:
            return
        cursor = page.cursor


def _filters(mapping: CrmMapping, wanted: Mapping[str, Json]) -> Filters:
    equals: dict[str, Json] = {}
    contains: dict[str, tuple[str, ...]] = {}
    for name, value in wanted.items():
        if value is None:
            continue
        if isinstance(value, list | tuple):
            contains[_field(mapping, name)] = tuple(str(item) for item in value)
        elif name in ("services", "tags"):
            contains[_field(mapping, name)] = (str(value),)
        else:
            equals[_field(mapping, name)] = _written(mapping, name, value)
    return Filters(equals=equals, contains=contains)


def _field(mapping: CrmMapping, attribute: str) -> str:
    """Return the CRM's field of an attribute; one that is not mapped stands for itself."""
    return next((item.field for item in mapping.fields if item.attribute == attribute), attribute)


def _written(mapping: CrmMapping, attribute: str, value: Json) -> Json:
    item = next((item for item in mapping.fields if item.attribute == attribute), None)
    return value if item is None else write_field(item, value)


def _values(mapping: CrmMapping, attributes: Mapping[str, Json]) -> dict[str, Json]:
    if not attributes:
        raise InvalidInput("there is nothing to write.", hint="Give attributes, such as email.")
    return {_field(mapping, name): _written(mapping, name, value) for name, value in attributes.items()}


def _lists(connector: CrmConnector) -> Literal["merge", "replace"]:
    return "merge" if connector.capabilities.lists else "replace"


def _key(verb: str, connection: str, values: Mapping[str, Json]) -> str:
    return digest("crm", verb, connection, msgspec.json.encode(values, order="deterministic").decode())


def _list(value: Json) -> list[str]:
    if isinstance(value, str):
        return [part.strip() for part in value.replace(";", ",").split(",")]
    return [str(item) for item in value] if isinstance(value, list | tuple) else [] if value is None else [str(value)]
