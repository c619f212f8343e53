"""Connecting from the command line: by a key that is typed, by OAuth through a browser, and the vault's key is changed."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli.terminal import Ran, run
from tailorbird.storage.secrets import fresh_key
from token_server import CLIENT, CLIENT_SECRET, TokenServer, vendor

BROWSER = """
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], timeout=30).read())
"""


Shell = Callable[..., Ran]


@pytest.fixture
def cli(tmp_path: Path) -> Shell:
    return lambda *arguments: run("--database", str(tmp_path / "shop.db"), *arguments)


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    made = fresh_key()
    monkeypatch.setenv("TAILORBIRD_VAULT_KEY", made)
    return made


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with vendor() as running:
        running.valid.add("key-secret-1")
        yield running


def test_a_key_that_is_typed_is_tried_and_kept_and_never_shown(
    cli: Shell, key: str, server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("key-secret-1\n"))
    made = cli("connect", "salesforce", "--name", "main", "--url", server.url)
    assert made.code == 0, made.err
    assert made.out == "main is connected: Acme (00D1), as ann\n"
    shown = cli("connections", "--test")
    assert "main" in shown.out
    assert "connected" in shown.out
    assert "key-secret-1" not in made.out + made.err + shown.out + shown.err
    gone = cli("disconnect", "main")
    assert gone.code == 0
    assert cli("connections").out == ""
    assert cli("disconnect", "main").code == 1


def test_a_key_is_taken_from_the_environment(
    cli: Shell, key: str, server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    missing = cli("connect", "salesforce", "--url", server.url, "--key-env", "SALESFORCE_KEY")
    assert (missing.code, "SALESFORCE_KEY is not set" in missing.err) == (1, True)
    monkeypatch.setenv("SALESFORCE_KEY", "key-secret-1")
    made = cli("--json", "connect", "salesforce", "--url", server.url, "--key-env", "SALESFORCE_KEY")
    assert made.json == {"connection": "salesforce", "provider": "salesforce", "account": "Acme (00D1)", "user": "ann"}


def test_what_the_crm_refuses_is_said_and_not_kept(
    cli: Shell, key: str, server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setenv("SALESFORCE_KEY", "wrong-secret")
    ran = cli("connect", "salesforce", "--url", server.url, "--key-env", "SALESFORCE_KEY")
    assert ran.code == 2
    assert "Salesforce API error: 401" in ran.err
    assert "wrong-secret" not in ran.out + ran.err
    assert cli("connections").err == "none\n"


def test_an_unsupported_provider_and_a_missing_key_of_the_vault_are_said(cli: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TAILORBIRD_VAULT_KEY", raising=False)
    assert "Unsupported CRM provider: acme" in cli("connect", "acme").err
    monkeypatch.setattr(sys, "stdin", io.StringIO("never read\n"))
    ran = cli("connect", "salesforce", "--url", "http://127.0.0.1:9")
    assert ran.code == 2
    assert "TAILORBIRD_VAULT_KEY is not set" in ran.err
    assert "tailorbird vault key" in ran.err
    assert cli("identify", "--profile", "ann").code == 0


def test_a_browser_is_sent_out_and_comes_back(
    cli: Shell, key: str, server: TokenServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    script = tmp_path / "browser.py"
    script.write_text(BROWSER, encoding="utf-8")
    environ = {**os.environ, "BROWSER": f"{sys.executable} {script} %s", "APP_SECRET": CLIENT_SECRET}
    command = [
        sys.executable, "-m", "tailorbird.cli.main", "-d", str(tmp_path / "shop.db"), "connect", "salesforce", "--oauth",
        "--url", server.url, "--set", f"token_url={server.url}/oauth/token", "--set", f"authorize_url={server.url}/oauth/authorize",
        "--client-id", CLIENT, "--client-secret-env", "APP_SECRET", "--port", "0",
    ]  # fmt: skip
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL)
    assert ran.returncode == 0, ran.stderr
    assert "salesforce is connected: Acme (00D1), as ann" in ran.stdout
    assert "You can close this page" in ran.stdout
    said = ran.stdout + ran.stderr
    assert not [text for text in (CLIENT_SECRET, "access-token", "refresh-token", "code-of-a-person") if text in said]
    assert cli("connections", "--test").code == 0
    assert server.called[-1] == "access-token-1"


def test_an_address_that_is_pasted_needs_the_state_of_this_attempt(
    cli: Shell, key: str, server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setenv("APP_SECRET", CLIENT_SECRET)
    monkeypatch.setattr(sys, "stdin", io.StringIO("http://localhost:8323/callback?code=code-secret&state=of-another\n"))
    ran = cli(
        "connect", "salesforce", "--oauth", "--no-browser", "--url", server.url, "--client-id", CLIENT,
        "--client-secret-env", "APP_SECRET",
    )  # fmt: skip
    assert ran.code == 1
    assert "does not have the state" in ran.err
    assert "code-secret" not in ran.err
    assert server.asked == []


def test_the_vaults_key_is_changed_without_losing_anything(
    cli: Shell, key: str, server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setenv("SALESFORCE_KEY", "key-secret-1")
    cli("connect", "salesforce", "--url", server.url, "--key-env", "SALESFORCE_KEY")
    other = cli("vault", "key").out.strip()
    monkeypatch.setenv("TAILORBIRD_VAULT_KEY", f"{other},{key}")
    assert cli("vault", "rotate").out.startswith("1 secret is sealed")
    monkeypatch.setenv("TAILORBIRD_VAULT_KEY", other)
    assert cli("connections", "--test").code == 0
    assert server.called[-1] == "key-secret-1"
    monkeypatch.setenv("TAILORBIRD_VAULT_KEY", key)
    lost = cli("vault", "rotate")
    assert lost.code == 2
    assert "does not hold" in lost.err
    assert key not in lost.err
