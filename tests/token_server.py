"""A small vendor with OAuth over real HTTP: it rotates refresh tokens, and takes the whole access back when an old one is shown."""

from __future__ import annotations

import json
import threading
import time
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

CLIENT, CLIENT_SECRET = "app-1", "client-secret:é+7"
_ME = {"user": "ann", "preferred_username": "ann", "records": [{"Id": "00D1", "Name": "Acme"}], "done": True, "totalSize": 1}


@dataclass
class TokenServer:
    """What the vendor knows; ``refused`` answers the next token request in its place, as (status, body)."""

    rotates: bool = True
    lasting: int | None = 1800
    slow: float = 0.0
    extra: dict[str, Any] = field(default_factory=dict)
    refused: tuple[int, Any] | None = None
    asked: list[dict[str, str]] = field(default_factory=list)
    codes: dict[str, tuple[str, str]] = field(default_factory=dict)
    valid: set[str] = field(default_factory=set)
    refresh: str = ""
    given: int = 0
    revoked: bool = False
    called: list[str] = field(default_factory=list)
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def allow(self, code: str, challenge: str, redirect_uri: str) -> None:
        """A person has allowed access: this code can be redeemed once."""
        self.codes[code] = (challenge, redirect_uri)

    def token(self, form: dict[str, str], headers: Any) -> tuple[int, Any]:
        """Answer a request for tokens."""
        with self.lock:
            self.asked.append(form)
            if self.refused is not None:
                return self.refused
        time.sleep(self.slow)
        with self.lock:
            return self._token(form, headers)

    def _token(self, form: dict[str, str], headers: Any) -> tuple[int, Any]:
        client, secret = form.get("client_id"), form.get("client_secret")
        if (basic := headers.get("authorization", "")).startswith("Basic "):
            client, secret = (unquote(part) for part in b64decode(basic[6:]).decode().split(":"))
        grant = form.get("grant_type", "")
        if not grant.endswith("jwt-bearer") and (client, secret) != (CLIENT, CLIENT_SECRET):
            return 400, {"error": "invalid_client"}
        match grant:
            case "authorization_code":
                challenge, redirect_uri = self.codes.pop(form["code"], ("", ""))
                made = urlsafe_b64encode(sha256(form.get("code_verifier", "").encode()).digest()).rstrip(b"=").decode()
                if not challenge or made != challenge or redirect_uri != form["redirect_uri"]:
                    return 400, {"error": "invalid_grant"}
            case "refresh_token":
                if self.revoked or form["refresh_token"] != self.refresh:
                    self.revoked = True  # reuse of an old one ends it all
                    self.valid.clear()
                    return 400, {"error": "invalid_grant", "error_description": "expired access/refresh token"}
        return 200, self._give(with_refresh=grant in ("authorization_code", "refresh_token"))

    def _give(self, *, with_refresh: bool) -> dict[str, Any]:
        self.given += 1
        token = f"access-token-{self.given}"
        self.valid.add(token)
        said: dict[str, Any] = {"access_token": token, "token_type": "Bearer", **self.extra}
        if self.lasting is not None:
            said["expires_in"] = self.lasting
        if with_refresh and (self.rotates or not self.refresh):
            self.refresh = f"refresh-token-{self.given}"
            said["refresh_token"] = self.refresh
        return said


@contextmanager
def vendor(**options: Any) -> Iterator[TokenServer]:
    """Run the vendor on a free port of loopback."""
    server = TokenServer(**options)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            if urlsplit(self.path).path == "/oauth/token":
                form = {name: values[-1] for name, values in parse_qs(body, keep_blank_values=True).items()}
                self._answer(*server.token(form, self.headers))

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path == "/oauth/authorize":  # whoever comes here allows it at once
                asked = {name: values[-1] for name, values in parse_qs(parts.query).items()}
                server.allow("code-of-a-person", asked["code_challenge"], asked["redirect_uri"])
                self.send_response(302)
                back = urlencode({"code": "code-of-a-person", "state": asked["state"]})
                self.send_header("location", f"{asked['redirect_uri']}?{back}")
                self.send_header("content-length", "0")
                self.end_headers()
                return
            token = self.headers.get("authorization", "").rpartition(" ")[2]
            server.called.append(token)
            ok = token in server.valid
            self._answer(200 if ok else 401, _ME if ok else {"message": "Unauthorized"})

        def _answer(self, status: int, body: Any) -> None:
            encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)

        def log_message(self, *args: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server.url = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
