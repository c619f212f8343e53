"""What all tests share: where real input is, and the databases."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import postgres


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """An empty PostgreSQL database; where no server can be had the test is skipped, and under CI it fails."""
    try:
        url = postgres.fresh_database()
    except postgres.NoServer as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
    yield url
    postgres.drop_database(url)


@pytest.fixture(params=["sqlite", "journal", pytest.param("postgres", marks=pytest.mark.postgres)])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind in turn; ``journal`` is SQLite with every unit taken in by way of its journal."""
    if request.param == "sqlite":
        return str(tmp_path / "tailorbird.db")
    if request.param == "journal":
        return f"sqlite:///{tmp_path / 'tailorbird.db'}?journal=0"
    url: str = request.getfixturevalue("postgres_url")
    return url
