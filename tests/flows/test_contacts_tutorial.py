"""The tutorial on contacts, walked through word for word: real simulators, a real server, real clients. Only ports and ids differ."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import pytest

from flows.walkthrough import ROOT, blocks, steps

PAGE = ROOT / "docs" / "tutorial" / "contacts.md"
LONG = ("tailorbird simulate", "tailorbird serve")
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


class Walk:
    """A folder with what the page supposes, the variables that were exported, and what every command said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        plain = {name: value for name, value in os.environ.items() if not name.startswith("TAILORBIRD_")}
        self.environ = {**plain, "PATH": PATH, "PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1"}
        self.ports: dict[str, str] = {}
        self.said: dict[str, str] = {}

    def own(self, text: str) -> str:
        """Return what the page says with the ports that were given here."""
        for shown, given in self.ports.items():
            text = text.replace(f":{shown}", f":{given}")
        return text

    def run(self, command: str) -> str:
        """Run a command before a terminal, so that bars are drawn; return what was printed there."""
        out, inside = pty.openpty()
        with subprocess.Popen(
            ["bash", "-c", self.own(command)], cwd=self.folder, env=self.environ, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=inside, text=True, encoding="utf-8",
        ) as process:  # fmt: skip
            os.close(inside)
            drawn = ThreadPoolExecutor(1).submit(_drawn, out)
            said, _ = process.communicate(timeout=240)
        shown = drawn.result(30)
        assert process.returncode == 0, (command, said, shown)
        return said + shown

    @contextmanager
    def running(self, command: str, shown: tuple[str, ...]) -> Iterator[None]:
        """Start what does not end by itself on a free port, and wait until it has said what the page shows."""
        with subprocess.Popen(
            ["bash", "-c", f"exec {command} --port 0"], cwd=self.folder, env=self.environ, stdout=subprocess.PIPE, text=True,
            encoding="utf-8",
        ) as process:  # fmt: skip
            try:
                assert process.stdout is not None
                for line in (line for line in shown if line):
                    while not (told := process.stdout.readline().rstrip("\n")):
                        assert process.poll() is None, command
                    shape = r":(\d{4,5})\b"
                    assert re.sub(shape, "", told) == re.sub(shape, "", line)
                    for ours, given in zip(re.findall(shape, line), re.findall(shape, told), strict=True):
                        self.ports[ours] = given
                yield
            finally:
                process.terminate()
                process.wait(30)


def _drawn(terminal: int) -> str:
    """Return everything that is written to a terminal until its other end is closed."""
    found = b""
    while True:
        try:
            chunk = os.read(terminal, 65_536)
        except OSError:  # nobody has it open any more
            chunk = b""
        if not chunk:
            os.close(terminal)
            return found.decode(errors="replace")
        found += chunk


def squeezed(text: str) -> str:
    return " ".join(text.split())


def step(walk: Walk, stack: ExitStack, command: str, shown: tuple[str, ...]) -> None:
    """Do one step of the page and see that it says what the page shows."""
    if found := re.fullmatch(r"export (\w+)=(\S+)", walk.own(command)):
        walk.environ[found[1]] = found[2]
    elif command.startswith(LONG):
        stack.enter_context(walk.running(command, shown))
    else:
        if "campaign undo" in command:  # the page shows an id; ours is another
            (one,) = json.loads(walk.run("tailorbird --json campaign list"))
            command = re.sub(r"c_\w+", one["id"], command)
        said = walk.run(command)
        assert squeezed("\n".join(shown)) in squeezed(said), (command, said)
        walk.said[f"{len(walk.said):02}: {command}"] = said


def answers(walk: Walk, part: str) -> list[str]:
    return [said for command, said in walk.said.items() if part in command]


@pytest.mark.slow
def test_the_tutorial_works_word_for_word(tmp_path: Path) -> None:
    pytest.importorskip("mcp")
    walk = Walk(tmp_path)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    with ExitStack() as stack:
        for block in blocks(PAGE):
            if block.language == "python":
                (tmp_path / "agent.py").write_text(walk.own(block.text), encoding="utf-8")
                walk.said["the agent"] = walk.run(f"{sys.executable} agent.py")
                continue
            for one in steps(block.text):
                step(walk, stack, *one)
            if block.heading.startswith("3."):
                _settled(walk)
    first, again = answers(walk, "enrich campaign")
    assert "11/11" in first and "enriching" in first, "the bar is drawn to its end"
    assert "enriching" not in again
    assert len((tmp_path / "var" / "rejected.jsonl").read_text().splitlines()) == 1
    assert "Data Engineer" in answers(walk, "tailorbird profile")[0]
    whole = json.loads(answers(walk, "/invoke")[0])
    assert (whole["segmentation"]["segment"], whole["crm_context"]["contact"]["company"]) == ("nurture", "Acme")
    assert whole["segmentation"]["personalization"]["recommended_content"][0] in whole["narrative"]
    assert json.loads(answers(walk, "/mcp/crm/segment")[0])["segmentation"]["segment"] == "do-not-contact"
    assert "Ann, the forecasts you asked about" in walk.said["the agent"]
    (told,) = re.findall(r"^data: (\{.+\})$", answers(walk, "tools/call")[0], re.MULTILINE)
    assert json.loads(told)["result"]["structuredContent"]["segmentation"]["segment"] == "nurture"
    left = answers(walk, "directory find")[-1]
    assert "ann.lee@acme.example" in left and "ben.oz@globex.example" in left and "campaign:" not in left
    assert len(re.findall(r"\bp_\w{16}\b", left)) == 2


def _settled(walk: Walk) -> None:
    """See that the server has nothing under way either."""
    url = walk.own("http://127.0.0.1:8321/api/v1/enrichment/statistics")
    for _ in range(200):
        if httpx2.get(url).json()["waiting"] == 0:
            return
        time.sleep(0.1)
    raise AssertionError("enrichment does not end")
