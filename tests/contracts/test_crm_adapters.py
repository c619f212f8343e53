"""What every CRM adapter does: our own, and the one that the documentation shows, which is taken out of its page."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tailorbird.core.crm import Contact, CrmContext
from tailorbird.engine import Engine
from tailorbird.engine.service import UnknownContact
from tailorbird.ports import CrmAdapter

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "write-an-adapter.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The adapter of the documentation as a module beside an empty folder of contacts."""
    (tmp_path / "filecrm.py").write_text(BLOCKS[0], encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("filecrm", None)


@pytest.fixture(params=["native", "filecrm"])
def adapter(request: pytest.FixtureRequest, shown: Path) -> Iterator[CrmAdapter]:
    """Each adapter, over nothing."""
    (shown / "contacts.json").write_text("{}", encoding="utf-8")
    with Engine.open(":memory:") as engine:
        if request.param == "native":
            yield engine.service.adapters["native"]
        else:
            from filecrm import FileCrm  # type: ignore[import-not-found]

            yield FileCrm()


def test_a_contact_is_created_found_changed_and_deleted(adapter: CrmAdapter) -> None:
    adapter.connect()
    assert adapter.fetch("c-7", interaction_limit=5) is None
    id_ = adapter.upsert(Contact(id="c-7", name="Ann Lee", email="ann@example.com"))
    found = adapter.fetch(id_, interaction_limit=5)
    assert isinstance(found, CrmContext)
    assert (found.contact.id, found.contact.name, found.contact.email, found.interactions) == (
        id_,
        "Ann Lee",
        "ann@example.com",
        (),
    )
    assert adapter.upsert(Contact(id=id_, company="Acme")) == id_
    changed = adapter.fetch(id_, interaction_limit=5)
    assert changed is not None and changed.account is not None
    assert (changed.contact.name, changed.contact.company, changed.account.name) == ("Ann Lee", "Acme", "Acme")
    assert adapter.delete(id_) is True
    assert adapter.delete(id_) is False
    assert adapter.fetch(id_, interaction_limit=5) is None


@pytest.fixture
def filled(adapter: CrmAdapter, shown: Path) -> Callable[[], CrmContext | None]:
    """Ask for at most two interactions of a contact who was called three times."""
    id_ = adapter.upsert(Contact(id="c-7", name="Ann Lee"))
    if adapter.name == "filecrm":
        rows: dict[str, Any] = json.loads((shown / "contacts.json").read_text(encoding="utf-8"))
        rows[id_]["calls"] = [1_000, 3_000, 2_000]
        (shown / "contacts.json").write_text(json.dumps(rows), encoding="utf-8")
    else:
        from tailorbird.runtime.ingest import Incoming

        adapter._take([Incoming(type="call.completed", profile=id_, at=at) for at in (1_000, 3_000, 2_000)])  # type: ignore[attr-defined]
    return lambda: adapter.fetch(id_, interaction_limit=2)


def test_the_latest_interactions_come_newest_first_and_all_are_counted(filled: Callable[[], CrmContext | None]) -> None:
    found = filled()
    assert found is not None
    assert [(item.type, item.at) for item in found.interactions] == [("call.completed", 3_000), ("call.completed", 2_000)]
    assert found.total == 3


def test_the_page_works_as_it_stands(shown: Path) -> None:
    names: dict[str, Any] = {"Path": Path}
    exec(compile(BLOCKS[1], str(PAGE), "exec"), names)


def test_an_adapter_that_fails_is_named_and_another_one_answers(shown: Path) -> None:
    from filecrm import FileCrm

    with Engine.open(":memory:", adapters=[FileCrm(str(shown / "nowhere.json"))]) as engine:
        engine.apply(
            {"kind": "personalization", "name": "ours", "labels": [{"label": "all"}], "adapters": ["filecrm", "native", "gone"]}
        )
        engine.identify("ann")
        found = engine.service.invoke("ann")
        assert found.data_gaps[-1] == "CRM filecrm (does not answer)"
        assert engine.service.states() == {"native": "connected", "filecrm": "failing"}


def test_the_setting_names_adapters_and_says_what_cannot_be_loaded(shown: Path) -> None:
    from tailorbird.connectors.adapters import load_adapters
    from tailorbird.errors import InvalidInput

    assert [adapter.name for adapter in load_adapters("filecrm:FileCrm")] == ["filecrm"]
    for name, told in (
        ("filecrm", "is not package.module:Name"),
        ("nowhere:X", "cannot be loaded"),
        ("pathlib:Path", "lacks connect"),
    ):
        with pytest.raises(InvalidInput, match=told):
            load_adapters(name)


def test_an_installed_package_offers_an_adapter_by_an_entry_point(shown: Path) -> None:
    from tailorbird.connectors.adapters import load_adapters

    about = shown / "filecrm-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: filecrm\nVersion: 1\n", encoding="utf-8")
    (about / "entry_points.txt").write_text("[tailorbird.crm_adapters]\nfilecrm = filecrm:FileCrm\n", encoding="utf-8")
    assert [adapter.name for adapter in load_adapters()] == ["filecrm"]


def test_two_adapters_of_one_name_are_refused(shown: Path) -> None:
    from filecrm import FileCrm

    from tailorbird.errors import InvalidInput

    with (
        Engine.open(":memory:", adapters=[FileCrm(), FileCrm()]) as engine,
        pytest.raises(InvalidInput, match="two CRM adapters"),
    ):
        engine.service.states()


def test_an_adapter_that_failed_is_connected_again_after_a_while(shown: Path) -> None:
    from filecrm import FileCrm

    from tailorbird.core.context import ManualClock

    clock = ManualClock(1_700_000_000_000)
    with Engine.open(":memory:", clock=clock, adapters=[FileCrm(str(shown / "late.json"))]) as engine:
        with pytest.raises(UnknownContact) as caught:
            engine.service.invoke("c-7")
        assert caught.value.gaps == ("CRM filecrm (does not answer)",)
        (shown / "late.json").write_text('{"c-7": {"name": "Ann"}}', encoding="utf-8")
        with pytest.raises(UnknownContact):
            engine.service.invoke("c-7")
        clock.move_to(clock.now() + 5_000)
        assert engine.service.invoke("c-7").crm_context.contact.name == "Ann"
        assert engine.service.states()["filecrm"] == "connected"
