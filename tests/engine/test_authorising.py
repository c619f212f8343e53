"""OAuth: a person is sent out and comes back once; tokens are renewed early, by one, and are never lost or doubled."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from acme_crm import ACME
from tailorbird.connectors.rest import AuthExpired, AuthRevoked, RateLimited, Transient
from tailorbird.connectors.rest.oauth import OAuthFacts, TokenDesk, addresses
from tailorbird.core.connection import ConnectionStatus
from tailorbird.core.context import ManualClock, SystemClock
from tailorbird.engine.connections import Connections
from tailorbird.errors import InvalidInput
from tailorbird.ports import Store
from tailorbird.storage import open_store
from tailorbird.storage.secrets import Vault, fresh_key, open_vault
from token_server import CLIENT, CLIENT_SECRET, TokenServer, vendor

HOUR = 3_600_000
KEY = fresh_key()
APP = {"client_id": CLIENT, "client_secret": CLIENT_SECRET}
BACK = "http://127.0.0.1:9/callback"


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with vendor() as running:
        yield running


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_800_000_000_000)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(str(tmp_path / "tailorbird.db"))
    yield opened
    opened.close()


@pytest.fixture
def vault(store: Store, clock: ManualClock) -> Vault:
    return open_vault(store.crm, clock, environ={"TAILORBIRD_VAULT_KEY": KEY})


@pytest.fixture
def connections(store: Store, vault: Vault, clock: ManualClock) -> Iterator[Connections]:
    made = Connections(store, vault, clock, given={"acme": ACME})
    yield made
    made.close()


def connect(connections: Connections, server: TokenServer) -> None:
    """Do what a person and their browser do."""
    page = connections.begin("acme", secret=APP, settings={"url": server.url}, redirect_uri=BACK)
    asked = {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}
    server.allow("code-1", asked["code_challenge"], asked["redirect_uri"])
    connections.finish(asked["state"], "code-1")


def values(vault: Vault) -> dict[str, str]:
    found = vault.read("acme")
    assert found is not None
    return dict(found.values)


def test_a_person_is_sent_to_the_vendor_and_their_code_gives_tokens(
    connections: Connections, server: TokenServer, vault: Vault
) -> None:  # fmt: skip
    page = connections.begin("acme", secret=APP, settings={"url": server.url}, redirect_uri=BACK)
    assert page.url.startswith(f"{server.url}/oauth/authorize?")
    asked = {name: found[0] for name, found in parse_qs(urlsplit(page.url).query).items()}
    assert asked["scope"] == "contacts offline"
    assert (asked["response_type"], asked["client_id"], asked["redirect_uri"]) == ("code", CLIENT, BACK)
    assert asked["code_challenge_method"] == "S256"
    assert CLIENT_SECRET not in page.url
    server.extra = {"instance_url": server.url}
    server.allow("code-1", asked["code_challenge"], BACK)
    found = connections.finish(asked["state"], "code-1")
    assert (found.name, found.provider, found.status) == ("acme", "acme", "connected")
    assert server.called == ["access-token-1"]
    assert values(vault)["refresh_token"] == "refresh-token-1"
    assert values(vault)["base_url"] == server.url
    assert vault.names() == ["acme"]


def test_who_comes_back_twice_late_or_with_another_state_is_not_let_in(
    connections: Connections, server: TokenServer, clock: ManualClock, vault: Vault
) -> None:  # fmt: skip
    page = connections.begin("acme", secret=APP, settings={"url": server.url}, redirect_uri=BACK)
    with pytest.raises(InvalidInput, match="nobody is waited for"):
        connections.finish("another", "code-1")
    clock.move_to(clock.now() + 11 * 60_000)
    with pytest.raises(InvalidInput, match="nobody is waited for"):
        connections.finish(page.state, "code-1")
    with pytest.raises(InvalidInput, match="nobody is waited for"):
        connections.finish(page.state, "code-1")
    assert server.asked == []
    assert vault.names() == []


def test_a_code_without_the_verifier_that_was_promised_gives_nothing(connections: Connections, server: TokenServer) -> None:
    page = connections.begin("acme", secret=APP, settings={"url": server.url}, redirect_uri=BACK)
    server.allow("code-1", "the challenge of somebody else", BACK)
    with pytest.raises(AuthRevoked, match="invalid_grant"):
        connections.finish(page.state, "code-1")
    assert connections.list() == []


def test_those_who_never_came_back_are_forgotten(
    connections: Connections, server: TokenServer, clock: ManualClock, vault: Vault
) -> None:  # fmt: skip
    for _ in range(3):
        connections.begin("acme", secret=APP, settings={"url": server.url}, redirect_uri=BACK)
    clock.move_to(clock.now() + 11 * 60_000)
    connections.begin("acme", secret=APP, settings={"url": server.url}, redirect_uri=BACK)
    assert len(vault.names()) == 1


def test_a_token_is_renewed_before_it_ends_and_the_new_refresh_token_is_kept(
    connections: Connections, server: TokenServer, clock: ManualClock, vault: Vault
) -> None:  # fmt: skip
    connect(connections, server)
    clock.move_to(clock.now() + 26 * 60_000)
    connections.open("acme").test()
    assert server.called[-1] == "access-token-1"
    clock.move_to(clock.now() + 2 * 60_000)  # two minutes are left of thirty
    connections.open("acme").test()
    assert server.called[-1] == "access-token-2"
    assert values(vault)["refresh_token"] == "refresh-token-2"
    clock.move_to(clock.now() + 28 * 60_000)
    connections.open("acme").test()
    assert server.called[-1] == "access-token-3"
    assert [form["grant_type"] for form in server.asked[1:]] == ["refresh_token"] * 2


def test_a_refresh_token_that_is_given_once_only_is_used_again_and_again(
    connections: Connections, server: TokenServer, clock: ManualClock
) -> None:  # fmt: skip
    server.rotates = False
    connect(connections, server)
    for number in (2, 3):
        clock.move_to(clock.now() + 29 * 60_000)
        connections.open("acme").test()
        assert server.called[-1] == f"access-token-{number}"


def test_a_401_renews_once_and_a_second_one_is_believed(connections: Connections, server: TokenServer) -> None:
    connect(connections, server)
    server.valid.clear()
    connections.open("acme").test()
    assert server.called[-2:] == ["access-token-1", "access-token-2"]
    server.valid.clear()
    with pytest.raises(AuthExpired):
        connections.test("acme")
    assert server.given == 2  # no storm: a fresh token that is refused is not the token's fault
    assert connections.get("acme").status == ConnectionStatus.UNAUTHORISED


def test_while_the_vendor_gives_no_tokens_the_one_in_hand_is_used_to_its_end(
    connections: Connections, server: TokenServer, clock: ManualClock
) -> None:  # fmt: skip
    connect(connections, server)
    server.refused = (400, {"error": "Access Denied", "error_description": "You have made too many requests continuously."})
    clock.move_to(clock.now() + 28 * 60_000)
    for _ in range(3):
        connections.open("acme").test()
    assert len(server.asked) == 2
    clock.move_to(clock.now() + 3 * 60_000)
    with pytest.raises(RateLimited) as told:
        connections.open("acme").test()
    assert told.value.retry_after == 60_000
    server.refused = None
    clock.move_to(clock.now() + 61_000)
    connections.open("acme").test()


def test_an_access_that_was_taken_back_is_told_with_the_mend_and_not_asked_for_again(
    connections: Connections, server: TokenServer, clock: ManualClock, store: Store, vault: Vault
) -> None:  # fmt: skip
    connect(connections, server)
    server.revoked = True
    clock.move_to(clock.now() + HOUR)
    for _ in range(3):
        with pytest.raises(AuthRevoked, match="invalid_grant") as told:
            connections.test("acme")
        assert "tailorbird connect acme" in told.value.hint
    assert len(server.asked) == 2
    other = Connections(store, vault, clock, given={"acme": ACME})  # another process
    with pytest.raises(AuthRevoked):
        other.open("acme").test()
    assert len(server.asked) == 2
    assert connections.get("acme").status == ConnectionStatus.UNAUTHORISED
    server.revoked = False
    connect(connections, server)
    assert connections.test("acme").account == "Acme"
    assert connections.get("acme").status == ConnectionStatus.CONNECTED


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((200, {"error": "invalid_grant"}), AuthRevoked),  # as Zoho does
        ((400, {"status": "invalid_grant", "message": "…"}), AuthRevoked),  # as HubSpot did
        ((401, {"error": "invalid_client"}), AuthRevoked),
        ((503, b"<html>"), Transient),
        ((500, {}), Transient),
        ((429, {}), RateLimited),
    ],
)
def test_what_a_vendor_says_in_place_of_a_token_is_understood(
    server: TokenServer, clock: ManualClock, answer: tuple[int, object], kind: type[Exception]
) -> None:
    from tailorbird.connectors.rest import Retry

    server.refused = answer
    settings = {"url": server.url}
    facts = ACME.oauth
    assert facts is not None
    with pytest.raises(kind) as told:
        TokenDesk("Acme", facts, settings, clock, retry=Retry(tries=1)).renew({**APP, "refresh_token": "r-secret"})
    assert "r-secret" not in str(told.value)


def test_threads_that_need_a_token_at_once_get_one_between_them(
    connections: Connections, server: TokenServer, clock: ManualClock
) -> None:  # fmt: skip
    connect(connections, server)
    clock.move_to(clock.now() + HOUR)
    server.slow = 0.1
    connector = connections.open("acme")
    threads = [threading.Thread(target=connector.test) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.given == 2
    assert server.called[1:] == ["access-token-2"] * 8


@pytest.mark.parametrize("rejected", [False, True])
def test_of_processes_that_need_a_token_at_once_one_renews_and_all_use_it(
    server: TokenServer, tmp_path: Path, rejected: bool
) -> None:  # fmt: skip
    url = str(tmp_path / "shared.db")
    server.lasting = 1800 if rejected else 1  # all but ended when the others come
    with closing(open_store(url)) as store:
        clock = SystemClock()
        made = Connections(
            store, open_vault(store.crm, clock, environ={"TAILORBIRD_VAULT_KEY": KEY}), clock, given={"acme": ACME}
        )
        connect(made, server)
        made.close()
    if not rejected:
        threading.Event().wait(1.1)
    server.slow, server.lasting = 0.3, 1800
    environ = {**os.environ, "TAILORBIRD_VAULT_KEY": KEY, "PYTHONPATH": os.pathsep.join(sys.path)}
    shown = "Bearer access-token-1" if rejected else "-"
    command = [sys.executable, str(Path(__file__).with_name("authorising_child.py")), url, shown]
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ) for _ in range(3)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    said = [child.communicate(timeout=60)[0].strip() for child in children]
    assert said == ["Bearer access-token-2"] * 3
    assert server.given == 2
    assert not server.revoked


def test_a_token_that_could_not_be_stored_is_not_used_and_not_lost(
    server: TokenServer, clock: ManualClock, store: Store, vault: Vault, connections: Connections
) -> None:  # fmt: skip
    from contextlib import nullcontext

    from tailorbird.connectors.rest.tokens import OAuthAuth
    from tailorbird.errors import Unavailable

    connect(connections, server)
    clock.move_to(clock.now() + HOUR)

    class Full:
        """Keeps nothing new as long as the disk is full."""

        full = True

        def read(self) -> tuple[int, dict[str, str]] | None:
            found = vault.read("acme")
            return None if found is None else (found.version, dict(found.values))

        def write(self, values: dict[str, str], *, expected: int) -> bool:
            if self.full:
                raise Unavailable("the disk is full")
            return vault.write("acme", values, expected=expected)

    keeping = Full()
    facts = ACME.oauth
    assert facts is not None
    desk = TokenDesk("Acme", facts, {"url": server.url}, clock)
    auth = OAuthAuth("Acme", keeping, desk, clock, turn=lambda: nullcontext(True))  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(Unavailable, match="full"):
            auth.headers()
    assert server.given == 2
    keeping.full = False
    assert auth.headers() == {"authorization": "Bearer access-token-2"}
    assert values(vault)["refresh_token"] == "refresh-token-2"
    assert "access-token" not in repr(auth)


def test_a_secret_that_is_sealed_anew_while_a_token_is_renewed_keeps_the_new_token(
    connections: Connections, server: TokenServer, clock: ManualClock, store: Store, vault: Vault
) -> None:  # fmt: skip
    connect(connections, server)
    clock.move_to(clock.now() + HOUR)
    server.slow = 0.5
    thread = threading.Thread(target=connections.open("acme").test)
    thread.start()
    while len(server.asked) < 2:
        pass
    other = fresh_key()
    both = open_vault(store.crm, clock, environ={"TAILORBIRD_VAULT_KEY": f"{KEY},{other}"})
    assert both.rotate() == 1
    thread.join()
    assert server.called[-1] == "access-token-2"
    assert values(vault)["refresh_token"] == "refresh-token-2"


def test_client_credentials_give_a_token_whenever_one_is_needed(
    connections: Connections, server: TokenServer, clock: ManualClock
) -> None:  # fmt: skip
    secret = {"grant": "client_credentials", **APP}
    assert connections.connect("acme", secret=secret, settings={"url": server.url}).user == "ann"
    clock.move_to(clock.now() + HOUR)
    connections.open("acme").test()
    assert [form["grant_type"] for form in server.asked] == ["client_credentials"] * 2
    assert server.called == ["access-token-1", "access-token-2"]


def test_a_jwt_bearer_is_signed_with_the_key_and_says_who_and_for_whom(
    connections: Connections, server: TokenServer, clock: ManualClock
) -> None:  # fmt: skip
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    server.lasting = None  # Salesforce says nothing of how long it lasts
    secret = {"grant": "jwt_bearer", "client_id": CLIENT, "user": "ann@acme.example", "private_key": pem}
    connections.connect("acme", secret=secret, settings={"url": server.url})
    header, claims, signature = server.asked[0]["assertion"].split(".")
    key.public_key().verify(
        urlsafe_b64decode(signature + "=="), f"{header}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256()
    )
    assert msgspec.json.decode(urlsafe_b64decode(claims + "==")) == {
        "iss": CLIENT, "sub": "ann@acme.example", "aud": server.url, "exp": clock.now() // 1000 + 180,
    }  # fmt: skip
    clock.move_to(clock.now() + 24 * HOUR)
    server.valid.clear()
    connections.open("acme").test()
    assert server.called[-1] == "access-token-2"
    with pytest.raises(InvalidInput, match="private_key"):
        connections.connect("acme", "other", secret={**secret, "private_key": "none"}, settings={"url": server.url})
    assert [found.name for found in connections.list()] == ["acme"]


def test_a_grant_that_a_vendor_does_not_know_is_refused(connections: Connections, server: TokenServer) -> None:
    with pytest.raises(InvalidInput, match="cannot be connected by password"):
        connections.connect("acme", secret={"grant": "password"}, settings={"url": server.url})


def test_addresses_are_filled_in_from_settings_and_nothing_else_fits_in() -> None:
    facts = OAuthFacts(
        authorize_url="https://{domain=login}.vendor.example/authorize",
        token_url="{accounts=https://accounts.vendor.example}/token",
    )
    assert addresses(facts, {}) == ("https://login.vendor.example/authorize", "https://accounts.vendor.example/token")
    assert addresses(facts, {"domain": "acme", "accounts": "https://accounts.vendor.eu"})[1] == "https://accounts.vendor.eu/token"
    for wrong in ("evil.example/x#", "a@b", "../x", "a b"):
        with pytest.raises(InvalidInput, match="domain"):
            addresses(facts, {"domain": wrong})
    with pytest.raises(InvalidInput, match="without encryption"):
        addresses(facts, {"token_url": "http://vendor.example/token"})
