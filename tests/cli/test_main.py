"""The frame of all commands: options, help, wrong usage, exit codes, the forms of errors, and databases that cannot be opened."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from cli.terminal import Terminal, run
from tailorbird import __version__

SCRIPT = Path(sys.executable).with_name("tailorbird")
SLOW_TO_LOAD = (
    "sqlalchemy",
    "duckdb",
    "httpx2",
    "structlog",
    "fastapi",
    "pydantic_settings",  # typer itself needs pydantic
    "phonenumbers",
    "email_validator",
    "rich",
    "yaml",
)


def script(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the console script as a process of its own."""
    return subprocess.run(
        [str(SCRIPT), *arguments], capture_output=True, text=True, encoding="utf-8", timeout=60, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip


def loaded_by(*arguments: str) -> set[str]:
    """Return which top-level packages a command loads."""
    code = (
        f"import sys\nfrom tailorbird.cli.main import main\ntry:\n    main({list(arguments)!r})\nexcept SystemExit:\n    pass\n"
    )
    code += "print('\\n' + ' '.join(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_the_script_prints_the_version() -> None:
    done = script("version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{__version__}\n", "")
    assert run("version", "--json").json == {"version": __version__}


def test_the_script_works_on_the_database_that_the_environment_names(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'named.db'}"
    done = script("track", "page.viewed", "--profile", "ann", TAILORBIRD_DATABASE_URL=url)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "named.db").exists()
    assert '"page.viewed"' in script("timeline", "ann", "--json", TAILORBIRD_DATABASE_URL=url).stdout


def test_the_script_tells_errors_without_a_trace(tmp_path: Path) -> None:
    done = script("-d", str(tmp_path / "x.db"), "profile", "nobody")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: No profile is known as 'nobody'.")


def test_what_a_terminal_cannot_show_does_not_end_a_command(tmp_path: Path) -> None:
    database = str(tmp_path / "x.db")
    run("-d", database, "track", "page.viewed", "-p", "ann", "title=Zoë")
    done = script("-d", database, "timeline", "ann", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "Zo\\xeb" in done.stdout


def test_a_reader_that_stops_early_is_no_error(tmp_path: Path) -> None:
    database = str(tmp_path / "x.db")
    for _ in range(5):  # more than a pipe holds
        run("-d", database, "track", "page.viewed", "-p", "ann", "long=" + "x" * 30_000)
    with subprocess.Popen(
        [str(SCRIPT), "-d", database, "timeline", "ann"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        said = process.stderr.read()
        process.wait(timeout=60)
    assert said == ""


def test_commands_load_only_what_they_need(tmp_path: Path) -> None:
    database = str(tmp_path / "x.db")
    assert not loaded_by("version") & set(SLOW_TO_LOAD)
    assert not loaded_by("-d", database, "track", "page.viewed", "-p", "ann", "url=/") & (
        set(SLOW_TO_LOAD) - {"sqlalchemy", "yaml"}
    )
    assert not loaded_by("-d", database, "profile", "ann", "--json") & (set(SLOW_TO_LOAD) - {"sqlalchemy", "yaml"})


@pytest.mark.parametrize("group", [(), ("segments",), ("definitions",), ("import",), ("keys",)])
def test_help_names_every_command(group: tuple[str, ...]) -> None:
    ran = run(*group, "--help")
    assert ran.code == 0
    assert "--help" in ran.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("evaluat", "x"), "evaluate"),
        (("evaluate",), "expression"),
        (("profile", "ann", "--colour"), "--colour"),
        (("segments", "members"), "name"),
        (("timeline", "ann", "--limit", "many"), "--limit"),
    ],
)
def test_wrong_usage_ends_with_2_and_a_word_of_help(arguments: tuple[str, ...], told: str) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert told in ran.err
    ran = run(*arguments, "--json")
    assert ran.code == 2
    assert told in ran.json["error"]["message"]


def test_json_may_be_asked_for_before_and_after_the_command(cli: Terminal) -> None:
    assert run("--json", "-d", cli.database, "segments").json == []
    assert run("-d", cli.database, "segments", "--json").json == []


def test_errors_are_json_where_json_is_asked_for(cli: Terminal) -> None:
    ran = run("-d", cli.database, "profile", "nobody", "--json")
    assert (ran.code, ran.err) == (1, "")
    error = ran.json["error"]
    assert error["code"] == "not_found"
    assert "nobody" in error["message"]
    assert error["hint"]
    assert error["mistakes"] == []


def test_what_comes_from_outside_does_not_steer_the_terminal(cli: Terminal) -> None:
    cli("track", "page.viewed", "-p", "ann", "title=a\x1b[2Jb\rc")
    cli("identify", "-p", "ann", "nick=\x1b]0;x\x07")
    for said in (cli("timeline", "ann"), cli("profile", "ann"), run("-d", cli.database, "profile", "\x1b[2J").err):
        assert not {c for c in said if c < " " and c != "\n"}
    assert json.loads(cli("export", "ann"))


@pytest.mark.parametrize(
    ("database", "code", "told"),
    [
        ("{here}/missing/x.db", 1, "does not exist; make it first"),
        ("{here}", 2, "cannot be opened"),
        ("{here}/words.txt", 2, "not a database"),
        ("{here}/newer.db", 1, "upgrade tailorbird"),
        ("mysql://host/x", 1, "sqlite:///path or postgresql://"),
        ("postgresql://nobody:secret@127.0.0.1:1/none", 2, "cannot be opened"),
    ],
)
def test_a_database_that_cannot_be_opened_is_told(tmp_path: Path, database: str, code: int, told: str) -> None:
    (tmp_path / "words.txt").write_text("only words here, and enough of them to be no empty file\n" * 50, encoding="utf-8")
    run("-d", str(tmp_path / "newer.db"), "segments")
    with sqlite3.connect(tmp_path / "newer.db") as connection:
        connection.execute("UPDATE meta SET value = '999' WHERE key = 'schema'")
    connection.close()
    ran = run("-d", database.format(here=tmp_path), "segments")
    assert (ran.code, ran.out) == (code, "")
    assert told in ran.err
    assert "secret" not in ran.err


def test_a_setting_that_cannot_be_read_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TAILORBIRD_QUEUE_LIMIT", "many")
    ran = run("-d", str(tmp_path / "x.db"), "segments")
    assert ran.code == 1
    assert "TAILORBIRD_QUEUE_LIMIT must be a whole number, and is 'many'" in ran.err
    monkeypatch.setenv("TAILORBIRD_QUEUE_LIMIT", "100")
    monkeypatch.setenv("TAILORBIRD_DELIVER", "perhaps")
    assert "TAILORBIRD_DELIVER must be true or false" in run("-d", str(tmp_path / "x.db"), "segments").err
    monkeypatch.delenv("TAILORBIRD_DELIVER")
    monkeypatch.setenv("TAILORBIRD_LISTEN", "8321")
    assert "is not host:port" in run("-d", str(tmp_path / "x.db"), "serve").err
