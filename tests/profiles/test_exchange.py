"""The contact file: what is wrong with one is told, and what is written is read the same."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tailorbird.engine import Engine
from tailorbird.errors import InvalidInput, NotFound
from tailorbird.profiles.engagements import ENGAGEMENTS
from tailorbird.profiles.exchange import read_entries

FILE: dict[str, Any] = {
    "ann@example.org": {
        "email": "ann@example.org",
        "domain": "example.org",
        "status": "engaged",
        "first_name": "Ann",
        "last_name": "Smith",
        "company": "Acme",
        "title": "Buyer",
        "enrichment": {
            "company_name": "Acme Inc.", "job_title": "Senior Buyer", "linkedin_url": "https://www.linkedin.com/in/ann",
            "phone": "+33612345678", "industry": "retail", "seniority_level": "senior", "company_size": "51-200",
            "email_verified": True, "verification_timestamp": "2026-01-05T10:00:00", "enriched_at": "2026-01-04T09:30:00.123456",
            "enrichment_source": "apollo",
        },
        "engagements": [
            {"engagement_type": "email_sent", "timestamp": "2026-01-06T08:00:00.000Z", "metadata": {}},
            {"engagement_type": "email_opened", "timestamp": "2026-01-06T08:05:00.000Z", "metadata": {"c": "x", "n": [1, {"a": None}]}},
            {"engagement_type": "webinar.attended", "timestamp": "2026-01-06T08:05:00.000Z", "metadata": {}},
        ],
        "created_at": "2026-01-01T00:00:00",
        "updated_at": "2026-01-06T08:05:00",
        "imported_from_campaign": "Expo",
        "tags": ["vip", "a"],
        "custom_fields": {"favourite": "tea", "nothing": None, "status": "odd", "tree": {"leaf": [1, 2.5, True]}},
        "score_v2": {"any": ["thing", None]},
    },
    "bob@example.org": {
        "email": "bob@example.org", "domain": "bobs.shop", "status": "new", "first_name": None, "last_name": None, "company": None,
        "title": None, "enrichment": None, "engagements": [], "created_at": "2026-01-02T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z",
        "imported_from_campaign": None, "tags": [], "custom_fields": {},
    },
}  # fmt: skip


def around(document: Any, folder: Path) -> Any:
    """Take a file in, write it, take that into another empty database, write again; both written files must be equal."""
    (folder / "in.json").write_text(json.dumps(document), encoding="utf-8")
    with Engine.open(":memory:") as one, Engine.open(":memory:") as two:
        one.directory.read_contacts(folder / "in.json")
        one.directory.write_contacts(folder / "one.json")
        two.directory.read_contacts(folder / "one.json")
        two.directory.write_contacts(folder / "two.json")
    assert (folder / "one.json").read_bytes() == (folder / "two.json").read_bytes()
    return json.loads((folder / "one.json").read_text(encoding="utf-8"))


def test_a_file_comes_out_as_it_went_in(tmp_path: Path) -> None:
    assert around(FILE, tmp_path) == FILE


def test_what_is_read_is_a_person_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text(json.dumps(FILE), encoding="utf-8-sig")
    with Engine.open(":memory:") as engine:
        done = engine.directory.read_contacts(tmp_path / "in.json")
        assert (done.contacts, done.engagements, done.created, done.unchanged) == (2, 3, 2, 0)
        ann = engine.profile("email:ann@example.org")
        assert ann.attributes["seniority_level"] == "senior"
        assert ann.attributes["campaign"] == "Expo"
        assert ann.attributes["status"] == "engaged"
        assert ann.tags == ("vip", "a")
        assert engine.evaluate("count(email.opened)", profile=ann.id).value == 1
        assert engine.directory.statistics()[2:] == (1, 1, 1, 2)
        again = engine.directory.read_contacts(tmp_path / "in.json")
        assert (again.created, again.unchanged) == (0, 2)
        assert engine.evaluate("count(email.opened)", profile=ann.id).value == 1


def test_dates_of_the_file_stand_until_something_changes(tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text(json.dumps(FILE))
    with Engine.open(":memory:") as engine:
        engine.directory.read_contacts(tmp_path / "in.json")
        engine.identify(identifiers={"email": "ann@example.org"}, attributes={"title": "CEO"}, at=engine.now() + 5)
        engine.directory.write_contacts(tmp_path / "out.json")
    out = json.loads((tmp_path / "out.json").read_text())
    assert out["ann@example.org"]["title"] == "CEO"
    assert out["ann@example.org"]["created_at"] == "2026-01-01T00:00:00"
    assert out["ann@example.org"]["updated_at"] > "2026-01-07"
    assert out["bob@example.org"] == FILE["bob@example.org"]


def test_a_file_has_the_last_word_when_it_is_taken_in_again(tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text(json.dumps(FILE))
    with Engine.open(":memory:") as engine:
        engine.directory.read_contacts(tmp_path / "in.json")
        engine.identify(identifiers={"email": "ann@example.org"}, attributes={"title": "CEO", "company": "Other"})
        engine.untag("email:ann@example.org", "vip")
        before = engine.store.last_seq()
        assert engine.directory.read_contacts(tmp_path / "in.json").unchanged == 1
        assert engine.store.last_seq() == before + 2  # an attribute, and the tag
        found = engine.profile("email:ann@example.org")
        assert (found.attributes["title"], set(found.tags)) == ("Buyer", {"a", "vip"})
        assert engine.directory.read_contacts(tmp_path / "in.json").unchanged == 2
        assert engine.store.last_seq() == before + 2
        assert (found.attributes["title"], found.attributes["company"], set(found.tags)) == ("Buyer", "Acme", {"a", "vip"})


def test_a_file_that_is_taken_in_again_leads_nobody_back_in_the_life_cycle(tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text(json.dumps(FILE))
    with Engine.open(":memory:") as engine:
        engine.directory.read_contacts(tmp_path / "in.json")
        engine.identify(identifiers={"email": "ann@example.org"}, attributes={"status": "converted"})
        engine.directory.read_contacts(tmp_path / "in.json")
        assert engine.profile("email:ann@example.org").attributes["status"] == "converted"


words = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**50), 2**50) | st.floats(-1e12, 1e12) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
times = st.datetimes(
    min_value=__import__("datetime").datetime(2000, 1, 1), max_value=__import__("datetime").datetime(2025, 1, 1)
).map(lambda moment: moment.isoformat())
maybe = st.none() | words
enrichments = st.fixed_dictionaries(
    {},
    optional={
        "company_name": maybe, "job_title": maybe, "linkedin_url": maybe, "phone": maybe, "industry": maybe, "seniority_level": maybe,
        "company_size": st.none() | words | st.integers(0, 9999), "email_verified": st.none() | st.booleans(),
        "verification_timestamp": st.none() | times, "enriched_at": st.none() | times, "enrichment_source": maybe, "confidence": values,
    },
)  # fmt: skip
engagements = st.fixed_dictionaries(
    {"engagement_type": st.sampled_from([*ENGAGEMENTS, "webinar.attended", "Odd One"]), "timestamp": times},
    optional={"metadata": st.none() | st.dictionaries(words, values, max_size=3)},
)
contacts = st.fixed_dictionaries(
    {},
    optional={
        "domain": maybe, "status": st.none() | st.sampled_from(["new", "NEW", "verified", "odd"]), "first_name": maybe,
        "last_name": maybe, "company": maybe, "title": maybe, "enrichment": st.none() | enrichments,
        "engagements": st.none() | st.lists(engagements, max_size=4), "created_at": st.none() | times, "updated_at": st.none() | times,
        "imported_from_campaign": maybe, "tags": st.none() | st.lists(st.sampled_from(["vip", "a b", "é"]), max_size=3),
        "custom_fields": st.none() | st.dictionaries(words, values, max_size=4), "extra": values, "": values,
    },
)  # fmt: skip
files = st.dictionaries(st.sampled_from(["a@b.org", "Zoë@b.org", "x.y+z@c.example", "O'Neil@d.io"]), contacts, max_size=3)


@given(files)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_file_that_is_written_is_read_the_same(document: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = around(document, Path(folder))
    assert set(out) == {key.lower() for key in document}
    for key, entry in document.items():
        written = out[key.lower()]
        for name in ("first_name", "last_name", "company", "title", "imported_from_campaign"):
            assert written[name] == entry.get(name)
        for name in ("created_at", "updated_at"):
            assert entry.get(name) in (None, written[name])
        assert written["tags"] == list(dict.fromkeys(entry.get("tags") or []))
        assert written["custom_fields"] == (entry.get("custom_fields") or {})
        assert len(written["engagements"]) == len(entry.get("engagements") or [])
        for name in ("extra", ""):
            assert (name in entry) <= (written.get(name) == entry.get(name))
        for name, value in (entry.get("enrichment") or {}).items():
            assert written["enrichment"][name] == value


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ([], "not an object keyed by e-mail"),
        ({"nobody": {}}, "not an e-mail address"),
        ({"a@b.org": []}, "is list"),
        ({"a@b.org": {"email": "b@b.org"}}, "one address"),
        ({"a@b.org": {}, "A@B.org": {}}, "the same address"),
        ({"a@b.org": {"first_name": 5}}, "a@b.org.first_name"),
        ({"a@b.org": {"status": ["new"]}}, "a@b.org.status"),
        ({"a@b.org": {"tags": "vip"}}, "list of texts"),
        ({"a@b.org": {"tags": [""]}}, "list of texts"),
        ({"a@b.org": {"engagements": {}}}, "where a list is needed"),
        ({"a@b.org": {"engagements": [{}]}}, "no engagement_type"),
        ({"a@b.org": {"engagements": [{"engagement_type": "email_sent", "timestamp": "soon"}]}}, "not a time"),
        ({"a@b.org": {"engagements": [{"engagement_type": "tag.added", "timestamp": "2026-01-01"}]}}, "Tailorbird's own"),
        ({"a@b.org": {"engagements": [{"engagement_type": "x", "timestamp": "2026-01-01", "metadata": 1}]}}, "metadata"),
        ({"a@b.org": {"engagements": [{"engagement_type": "x", "timestamp": "2999-01-01"}]}}, "days ahead"),
        ({"a@b.org": {"engagements": [{"engagement_type": "x", "timestamp": "2026-01-01", "what": 1}]}}, "no place"),
        ({"a@b.org": {"enrichment": {"email_verified": "yes"}}}, "true, false or null"),
        ({"a@b.org": {"created_at": "yesterday"}}, "not a time"),
        ({"a@b.org": {"custom_fields": []}}, "where an object is needed"),
        ({"a@b.org": {"custom_fields": {"x": "y" * 40_000}}}, "limit"),
        ({"a@b.org": {"first_name": "nul\x00"}}, "NUL"),
        ({"a@b.org": {"more": 2**70}}, "64 bits"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_and_leaves_everything_untouched(tmp_path: Path, change: Any, told: str) -> None:
    good = {"good@b.org": {"first_name": "Good"}}
    document = {**good, **change} if isinstance(change, dict) else change
    (tmp_path / "in.json").write_text(json.dumps(document))
    with Engine.open(":memory:") as engine:
        engine.track("page.viewed", profile="ann")
        before = engine.store.last_seq(), engine.store.count_profiles()
        with pytest.raises(InvalidInput) as refused:
            engine.directory.read_contacts(tmp_path / "in.json")
        assert told in str(refused.value)
        assert (engine.store.last_seq(), engine.store.count_profiles()) == before


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe{}",
        b'{"a@b.org": NaN}',
        b'{"a@b.org": {}, "a@b.org": {}}',
        b"[" * 100_000,
        b'{"a@b.org": {"tags": ["\xe9"]}}',
    ],
)
def test_what_is_no_json_is_refused(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "in.json").write_bytes(body)
    with Engine.open(":memory:") as engine, pytest.raises(InvalidInput):
        engine.directory.read_contacts(tmp_path / "in.json")


def test_every_mistake_is_told_at_once() -> None:
    _, mistakes = read_entries({f"a{n}@b.org": {"first_name": n} for n in range(7)} | {"x": {}})
    assert len(mistakes) == 8


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "contacts.json"
    place.write_text("old")
    with Engine.open(":memory:") as engine:
        engine.identify(identifiers={"email": "a@b.org"})
        engine.track("page.viewed", profile="nobody-with-an-address")

        def stop(done: int, total: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            engine.directory.write_contacts(place, progress=stop)
        assert place.read_text() == "old"
        assert [path.name for path in tmp_path.iterdir()] == ["contacts.json"]
        done = engine.directory.write_contacts(place)
        assert (done.contacts, done.left_out) == (1, 1)
        assert list(json.loads(place.read_text())) == ["a@b.org"]
        with pytest.raises(NotFound):
            engine.directory.write_contacts(tmp_path / "no" / "x.json")
        with pytest.raises(NotFound):
            engine.directory.read_contacts(tmp_path / "no.json")
