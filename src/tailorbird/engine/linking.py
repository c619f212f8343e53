"""Duplicates by a statistical model (Fellegi and Sunter, as the library splink does it on DuckDB); needs the extra ``duplicates``."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from tailorbird.errors import InvalidInput

__all__ = ["Linked", "link"]

_FEWEST: Final = 10
_SEED: Final = 1
_PAIRS: Final = 1e6
_COLUMNS: Final = ("name", "mailbox", "domain", "company", "phone")
_SHARE: Final = 0.1
"""How many duplicates a person has beforehand, on average; evidence moves a pair from there."""

_REASONS: Final[Mapping[str, Mapping[int, str]]] = {
    "name": {2: "the same name", 1: "nearly the same name"},
    "mailbox": {2: "the same mailbox but for dots, digits or a tag", 1: "similar mailboxes"},
    "domain": {1: "the same domain"},
    "company": {1: "the same company"},
    "phone": {1: "the same phone"},
}


class Linked(NamedTuple):
    """Two people, the probability that they are one, and what they share."""

    one: int
    other: int
    probability: float
    reasons: tuple[str, ...]


def link(people: Iterable[Mapping[str, Any]], *, least: float) -> list[Linked]:
    """Return pairs with at least this probability, the likeliest first.

    ``people`` hold ``key``, and as text or None ``name``, ``mailbox``, ``domain``, ``company``, ``phone``; the more there are
    who are no duplicates, the better is known what strangers have in common. Raises ``InvalidInput`` without the library.
    """
    rows = [(one["key"], *(one.get(column) or None for column in _COLUMNS)) for one in people]
    if len(rows) < _FEWEST:
        return []
    try:
        import splink
        from splink import comparison_library as compare
    except ModuleNotFoundError:
        raise InvalidInput(
            "The model needs the library splink.", hint="Install it with: pip install 'tailorbird[duplicates]'"
        ) from None
    import duckdb

    con = duckdb.connect(config={"memory_limit": "1GB", "threads": 2, "autoinstall_known_extensions": False})
    try:
        con.execute(f"CREATE TABLE people (unique_id BIGINT, {', '.join(f'{c} VARCHAR' for c in _COLUMNS)})")
        con.executemany("INSERT INTO people VALUES (?, ?, ?, ?, ?, ?)", rows)
        settings = splink.SettingsCreator(
            link_type="dedupe_only",
            comparisons=[
                compare.JaroWinklerAtThresholds("name", [0.9]), compare.JaroWinklerAtThresholds("mailbox", [0.9]),
                *(compare.ExactMatch(column) for column in _COLUMNS[2:]),
            ],
            blocking_rules_to_generate_predictions=[splink.block_on(column) for column in ("name", "mailbox", "phone")],
            probability_two_random_records_match=min(0.5, _SHARE / len(rows)),
        )  # fmt: skip
        linker = splink.Linker(splink.DuckDBAPI(connection=con).register("people"), settings, log_level=logging.ERROR)
        linker.training.estimate_u_using_random_sampling(max_pairs=_PAIRS, seed=_SEED)
        found = linker.inference.predict(threshold_match_probability=max(least, 0.001))
        return sorted(_read(found.as_record_list()), key=lambda pair: (-pair.probability, pair.one, pair.other))
    finally:
        con.close()


def _read(records: Sequence[Mapping[str, Any]]) -> Iterator[Linked]:
    for row in records:
        reasons = tuple(said[row[f"gamma_{column}"]] for column, said in _REASONS.items() if row[f"gamma_{column}"] in said)
        one, other = sorted((row["unique_id_l"], row["unique_id_r"]))
        yield Linked(one, other, round(row["match_probability"], 3), reasons)
