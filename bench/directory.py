"""How fast people are found: first pages over a million contacts by status, domain, tag and more, and what catching up costs."""

from __future__ import annotations

import argparse
import random
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from _report import report
from tailorbird.core.ids import bucket_seed, profile_id
from tailorbird.ports import Clause, Criteria
from tailorbird.storage import open_finder, open_store
from tailorbird.storage.sql.store import SqlStore

NOW = 1_763_700_000_000
FIRST = (
    "Ann",
    "Ben",
    "Chloé",
    "David",
    "Eva",
    "Farid",
    "Greta",
    "Hugo",
    "Inès",
    "Jonas",
    "Katja",
    "Liam",
    "Maria",
    "Noor",
    "Olaf",
)
LAST = ("Smith", "Müller", "Rossi", "Dubois", "García", "Novak", "Kowalski", "Jensen", "Silva", "Okafor", "Tanaka", "Moreau")
STAGES = (("enriched", 0.3), ("verified", 0.15), ("engaged", 0.1), ("converted", 0.02), ("disqualified", 0.01))
CITIES = ("Paris", "Rome", "Berlin", "Madrid", "Wien", "Oslo", "Porto", "Gent")


def fill(store: SqlStore, people: int) -> None:
    """Write people as an import would have left them: attributes, tags, an e-mail address each."""
    chance = random.Random(42)
    with store.database.writing_raw() as raw:
        for start in range(1, people + 1, 50_000):
            profiles, identifiers = [], []
            for key in range(start, min(start + 50_000, people + 1)):
                first, last = chance.choice(FIRST), f"{chance.choice(LAST)}{chance.randrange(people // 20 + 1):x}"
                domain = f"company{int(chance.random() ** 2 * people / 20)}.example"
                address = f"u{key}@{domain}"
                said = {"first_name": first, "last_name": last, "company": domain.split(".", maxsplit=1)[0], "city": chance.choice(CITIES),
                        "title": "Head of Sales", "score": chance.randrange(100)}  # fmt: skip
                roll = chance.random()
                for name, share in STAGES:
                    roll -= share
                    if roll < 0:
                        said["status"] = name
                        break
                at = NOW - chance.randrange(10**10)
                since = {name: {"type": "text", "source": "import", "at": at, "seq": key} for name in said}
                tags = [f"campaign:{key * 20 // people}"] + (["vip"] if chance.random() < 0.01 else [])
                public = profile_id("email", address)
                texts = [msgspec.json.encode(value).decode() for value in (said, since, tags)]
                profiles.append((key, public, "person", bucket_seed(public), at, *texts, "{}"))
                identifiers.append(("email", address, key, key, at))
            raw.executemany(
                "INSERT INTO profile (key, id, kind, bucket, created_at, attributes, provenance, tags, consents) "
                "VALUES (?,?,?,?,?,?,?,?,?)",
                profiles,
            )
            raw.executemany("INSERT INTO identifier (kind, value, profile, origin, at) VALUES (?,?,?,?,?)", sorted(identifiers))
        raw.executemany(
            "INSERT INTO membership (segment, profile, entered_at, version) VALUES (?,?,?,?)",
            [("third", key, NOW, 1) for key in range(3, people + 1, 3)],
        )


def measure(ask: Callable[[], object], times: int = 15) -> tuple[float, float]:
    """Return the median and the longest time in ms; the first call is not counted."""
    ask()
    spent = []
    for _ in range(times):
        started = time.perf_counter()
        ask()
        spent.append(1000 * (time.perf_counter() - started))
    return statistics.median(spent), max(spent)


def questions(people: int) -> dict[str, tuple[Criteria, str, bool]]:
    """Return what is asked: criteria, order, descending."""
    address = "company7.example"
    return {
        "status, common": (Criteria(status="new"), "created_at", False),
        "status, common, newest first": (Criteria(status="new"), "created_at", True),
        "status, common, by name": (Criteria(status="new"), "name", False),
        "status, common, last updated": (Criteria(status="new"), "updated_at", True),
        "status, rare": (Criteria(status="disqualified"), "created_at", False),
        "status, rare, by name": (Criteria(status="disqualified"), "name", False),
        "domain": (Criteria(domain=address), "created_at", False),
        "domain, by name": (Criteria(domain=address), "name", False),
        "tag, 1 %": (Criteria(tag="vip"), "created_at", False),
        "tag, 1 %, by name": (Criteria(tag="vip"), "name", False),
        "tag of one campaign, 5 % in a row": (Criteria(tag="campaign:19"), "created_at", False),
        "tag of one campaign, by name": (Criteria(tag="campaign:19"), "name", False),
        "segment": (Criteria(segment="third"), "created_at", False),
        "status and tag": (Criteria(status="converted", tag="vip"), "created_at", False),
        "status, tag and segment, by name": (Criteria(status="new", tag="vip", segment="third"), "name", False),
        "tag and attribute": (Criteria(tag="vip", attributes=(Clause("city", "eq", "Paris"),)), "created_at", False),
        "everybody, by name": (Criteria(), "name", False),
        "text, one word": (Criteria(text="company7.example"), "relevance", True),
        "text, two words": (Criteria(text="greta tanaka1f"), "relevance", True),
        "name, misspelt": (Criteria(name="greta tanka1f"), "relevance", True),
    }


def main() -> None:
    """Fill a database, let the read model catch up, and ask."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=1_000_000)
    parser.add_argument("--small", action="store_true", help="30,000 people")
    options = parser.parse_args()
    people = 30_000 if options.small else options.people
    folder = Path(tempfile.mkdtemp(prefix="tailorbird-bench-"))
    rows: list[list[object]] = []
    try:
        store = open_store(str(folder / "people.db"))
        fill(store, people)
        finder = open_finder(store)
        started = time.perf_counter()
        finder.follow()
        rows.append(["catching up with everybody, once", people, 1000 * (time.perf_counter() - started), ""])
        started = time.perf_counter()
        finder.page(Criteria(text="paris"), sort="name", descending=False, after=None, limit=1)
        rows.append(["their texts, once", people, 1000 * (time.perf_counter() - started), ""])
        for name, (criteria, sort, descending) in questions(people).items():
            found = finder.page(criteria, sort=sort, descending=descending, after=None, limit=50)

            def ask(criteria: Criteria = criteria, sort: str = sort, descending: bool = descending) -> object:
                hits = finder.page(criteria, sort=sort, descending=descending, after=None, limit=50)
                return store.profiles(hits.keys)

            rows.append([name, len(found.keys), *measure(ask)])
        rows.append(["statistics", people, *measure(lambda: finder.numbers(("email.sent",)), 3)])
        size = sum(path.stat().st_size for path in folder.glob("people.db.search*")) // 2**20
        record = (folder / "people.db").stat().st_size // 2**20
        finder.close()
        store.close()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        columns = ["first page of 50, profiles read", "found", "median ms", "longest ms"]
        report("directory", columns, rows, people=people, record_mb=record, index_mb=size, peak_mb=peak)
        print(f"record {record} MB, index {size} MB, peak memory {peak} MB")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
