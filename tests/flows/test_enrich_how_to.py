"""The page on enriching contacts, walked through against the simulators that it tells to start."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.walkthrough import ROOT, blocks, shell, steps
from tailorbird.definitions.files import read

PAGE = ROOT / "docs" / "how-to" / "enrich-contacts.md"


@contextmanager
def simulating(vendor: str) -> Iterator[list[str]]:
    """Run ``tailorbird simulate`` on a free port until the block ends; yield the settings that it prints."""
    command = [sys.executable, "-m", "tailorbird.cli.main", "simulate", vendor, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}) as process:
        try:
            assert process.stdout is not None
            yield [process.stdout.readline().strip() for _ in range(2)]
        finally:
            process.terminate()
            process.wait(20)


@pytest.mark.slow
def test_the_page_works_as_it_says(tmp_path: Path) -> None:
    page = blocks(PAGE)
    with simulating("apollo") as one, simulating("dropcontact") as other:
        shown = next(block.text for block in page if "simulate apollo" in block.text)
        assert [line.split("=")[0] for line in one + other] == [
            line.split("=")[0] for line in shown.splitlines() if line.startswith("export")
        ]
        prefix = "; ".join([*one, *other, "export TAILORBIRD_DROPCONTACT_POLL=2"])
        said = {}
        for step in steps(next(block.text for block in page if block.heading.startswith("2."))):
            done = shell(f"{prefix}; {step.command}", tmp_path)
            assert done.returncode == 0, (step.command, done.stderr)
            said[step.command] = done.stdout + done.stderr
    assert "4 credits at most" in said["tailorbird enrich cost ann ben"]
    assert "2 begun" in said["tailorbird enrich campaign spring --yes"]
    assert "industry" in said["tailorbird profile ann"]
    done = shell("tailorbird --json profile ben", tmp_path)
    assert '"Founder"' in done.stdout


def test_the_chain_of_the_page_is_one() -> None:
    (chain,) = [block.text for block in blocks(PAGE) if block.language == "yaml"]
    assert read(chain)[0].spec["if_unverified"] == "unknown"
