"""keys, replay, demo and serve on the command line."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from cli.terminal import Terminal, run

SCRIPT = Path(sys.executable).with_name("tailorbird")


@contextmanager
def served(database: str, *arguments: str) -> Iterator[tuple[str, list[str]]]:
    """Serve a database as a process of its own; give the address and the lines said before it was told, and stop it at the end."""
    command = [str(SCRIPT), "-d", database, *arguments, "--port", "0"]  # the line that is said names the port
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )
    said: list[str] = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line.rstrip("\n"))
            if found := re.search(r"Open (http://\S+?)/? ", line):
                yield found[1], said
                break
        else:
            pytest.fail("it did not start:\n" + "\n".join(said))
        process.send_signal(signal.SIGINT)
        said += process.communicate(timeout=60)[0].splitlines()
        assert "Traceback" not in "\n".join(said)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait(timeout=60)
        if process.stdout is not None:
            process.stdout.close()


def post(url: str, body: object) -> object:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def test_a_key_is_shown_once_and_its_hash_never(cli: Terminal) -> None:
    made = run("-d", cli.database, "keys", "create", "shop", "--scope", "ingest", "--scope", "read", "--expires-in", "90d")
    token = made.out.strip()
    assert re.fullmatch(r"tb_[0-9a-f]{12}_[\w-]{43}", token)
    assert "cannot be shown again" in made.err
    identity, secret = token.split("_", 2)[1:]
    said = cli("keys", "list") + json.dumps(cli.json("keys", "list"))
    assert identity in said
    assert "ingest, read" in said
    assert secret not in said
    assert "hash" not in said
    assert secret.encode() not in b"".join(path.read_bytes() for path in Path(cli.database).parent.glob("shop.db*"))


def test_a_key_is_rotated_and_revoked(cli: Terminal) -> None:
    first = cli.json("keys", "create", "shop", "--scope", "ingest")["key"]
    identity = first.split("_")[1]
    second = cli("keys", "rotate", identity, "--grace", "1d").strip()
    assert second.split("_")[1] != identity
    assert cli("keys", "revoke", second.split("_")[1]) == "revoked\n"
    rows = {row["id"]: row for row in cli.json("keys", "list")}
    assert rows[identity]["expires_at"]
    assert rows[second.split("_")[1]]["revoked_at"]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("create", "shop", "--scope", "everything"), 1, "scopes are ingest"),
        (("create", "shop", "--scope", "read", "--expires-in", "soon"), 1, "not a duration"),
        (("create", "shop"), 2, "scope"),
        (("rotate", "nothing"), 1, "no API key 'nothing'"),
        (("revoke", "nothing"), 1, "no API key 'nothing'"),
        (("rotate", "nothing", "--grace", "x"), 1, "not a duration"),
    ],
)
def test_what_is_wrong_with_a_key_is_said(cli: Terminal, arguments: tuple[str, ...], code: int, told: str) -> None:
    assert told in cli.fails("keys", *arguments, code=code)


def test_the_log_is_replayed_into_an_empty_database(shop: Terminal, tmp_path: Path) -> None:
    copy = Terminal(str(tmp_path / "copy.db"))
    assert shop.json("replay", copy.database) == {"database": copy.database, "profiles": 2}
    assert copy.json("profile", "ann") == shop.json("profile", "ann")
    assert "empty" in shop.fails("replay", copy.database)


def test_a_server_and_commands_share_a_database(shop: Terminal) -> None:
    with served(shop.database, "serve") as (url, _):
        event = {"type": "page.viewed", "identifiers": {"external_id": "ben"}, "data": {"url": "/pricing"}}
        for number in range(3):
            post(f"{url}/api/v1/events", {**event, "id": f"e-{number}"})
            shop("track", "page.viewed", "--profile", "ben", "url=/pricing", "--id", f"c-{number}")
        shop("identify", "--profile", "ben", "country=FR")
        receipt = post(f"{url}/api/v1/events", {**event, "id": "e-last"})
        assert "hot_lead" in json.dumps(receipt), "the server must see what the commands wrote"
        assert shop("evaluate", "count(page.viewed)", "--profile", "ben") == "8\n"
        shop("forget", "ann", "--yes")
        with pytest.raises(urllib.error.HTTPError) as gone:
            urllib.request.urlopen(f"{url}/api/v1/profiles/ann", timeout=30)
        assert gone.value.code == 404
        gone.value.close()
    assert shop("evaluate", "count(page.viewed)", "--profile", "ben") == "8\n"


def test_a_taken_port_and_an_open_address_without_keys_are_refused(shop: Terminal) -> None:
    with served(shop.database, "serve") as (url, _):
        assert "cannot listen" in shop.fails("serve", "--port", url.rpartition(":")[2])
    assert "no API keys" in shop.fails("serve", "--host", "0.0.0.0", "--port", "0")


@pytest.mark.slow
def test_the_demonstration_loads_a_shop_once_and_then_serves_it(cli: Terminal) -> None:
    first = run("-d", cli.database, "demo")
    assert first.code == 0, first.err
    assert first.out.startswith("Try:\n  tailorbird -d ")
    people, events, segments = re.search(r"loaded ([\d,]+) people, ([\d,]+) events and (\d+) segments", first.err).groups()  # type: ignore[union-attr]
    assert int(people.replace(",", "")) >= 5_000
    assert int(events.replace(",", "")) >= 100_000
    assert int(segments) >= 12
    assert cli.json("evaluate", "did(page.viewed) or true")["count"] >= 5_000
    # what is suggested works word for word
    for line in first.out.splitlines()[1:]:
        done = subprocess.run(
            f"{SCRIPT.parent}/{line.strip()}", shell=True, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, (line, done.stderr)
    with served(cli.database, "demo", "--serve") as (_, said):
        assert any("loaded already" in line for line in said)


def test_loading_the_demonstration_goes_on_where_it_was_interrupted(cli: Terminal) -> None:
    from tailorbird import Engine

    assert "people in it already" in _with_people(cli)
    half = Terminal(cli.database + ".half")
    with Engine.open(half.database) as engine:
        engine.store.set_meta("demo.begun", f"{engine.now()} 100")
        engine.track("page.viewed", profile="ann")
    assert "try" in half.json("demo")
    assert half.json("evaluate", "did(page.viewed) or true")["total"] >= 100


def _with_people(cli: Terminal) -> str:
    cli("track", "page.viewed", "-p", "ann")
    return cli.fails("demo")
