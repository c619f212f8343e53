"""Webhooks as Standard Webhooks describes them: JSON over HTTPS with an id, a timestamp and a signature.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import ipaddress
import logging
import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from tailorbird.connectors.base import retry_after
from tailorbird.core.action import Action, Outcome
from tailorbird.core.context import Clock, SystemClock
from tailorbird.core.event import Json
from tailorbird.runtime.subscriptions import wants, webhook_action

# httpx2 is imported where something is posted: most commands open an engine and never do.
if TYPE_CHECKING:
    import httpx2

    from tailorbird.connectors.reach import Resolve

__all__ = ["WebhookConnector", "wants", "webhook_action"]

MAX_RESPONSE: Final = 64 * 1024
"""Bytes of a response that are read; nothing in it is used, so what is longer is cut off."""

MAX_BODY: Final = 1024 * 1024
"""Bytes of a body that are sent; a longer one is refused for good."""


_PRIVATE: Final = "the address lies in a private network or on this machine; TAILORBIRD_WEBHOOK_PRIVATE=true allows it"


class WebhookConnector:
    """Posts ``payload["body"]`` to ``payload["url"]``, signed with the secret that the variable ``payload["secret_env"]`` holds.

    The ``webhook-id`` is the action's key on every attempt, so receivers that keep ids drop repeats; we cannot know that
    they do, hence ``honours_idempotency`` is False. Plain http is spoken to loopback only unless ``allow_http``; redirects
    are not followed. Addresses in private networks and of the link are refused unless ``allow_private``, those of this machine
    unless ``loopback``: by the address that is connected to, which ``resolve`` finds. ``timeout`` (seconds) bounds the whole
    attempt. ``environ`` is where secrets are looked up; ``secret`` signs what names none. Secrets (``whsec_…``) are neither
    stored nor logged. The clock is that of the receiver's world: receivers refuse timestamps more than five minutes off.
    """

    name = "webhook"
    honours_idempotency = False

    def __init__(
        self,
        *,
        timeout: float = 10.0,
        allow_http: bool = False,
        secret: str | None = None,
        environ: Mapping[str, str] | None = None,
        clock: Clock | None = None,
        loopback: bool = True,
        allow_private: bool = False,
        resolve: Resolve | None = None,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self._timeout = timeout
        self._allow_http = allow_http
        self._secret = secret
        self._environ = os.environ if environ is None else environ
        self._clock = clock or SystemClock()
        logging.getLogger("httpx2").setLevel(logging.WARNING)  # at INFO it writes whole addresses, tokens in them included
        self._transport = transport
        self._loopback = loopback
        self._private = allow_private
        self._resolve = resolve
        self._opened: httpx2.Client | None = None
        self._lock = threading.Lock()

    def destination(self, action: Action) -> str:
        """Return host and port of the address; nothing for one that cannot be read, which ``perform`` refuses."""
        try:
            return urlsplit(str(action.payload.get("url", ""))).netloc.lower()
        except ValueError:
            return ""

    def perform(self, action: Action) -> Outcome:
        """Post once. 2xx is ok, 410 final, 429 and 503 say when to come back; anything else is tried again."""
        import httpx2

        from tailorbird.connectors.reach import Unreachable

        url = action.payload.get("url")
        if not isinstance(url, str) or (wrong := self._unacceptable(url)):
            return Outcome(ok=False, final=True, detail=wrong if isinstance(url, str) else "the payload has no url")
        body = msgspec.json.encode(action.payload.get("body"))
        if len(body) > MAX_BODY:
            return Outcome(ok=False, final=True, detail=f"the body has {len(body)} bytes; at most {MAX_BODY} are sent")
        try:
            headers = self._headers(action.key, body, action.payload.get("secret_env"))
        except _NoSecret as error:
            return Outcome(ok=False, detail=str(error))
        try:
            return self._post(url, body, headers)
        except Unreachable:
            return Outcome(ok=False, final=True, detail=_PRIVATE)
        except httpx2.TimeoutException as error:
            return Outcome(ok=False, detail=f"no answer within {self._timeout:g} s ({type(error).__name__})")
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, ValueError) as error:
            return Outcome(ok=False, detail=f"the connection failed ({type(error).__name__})")

    def close(self) -> None:
        """Close the connections that are kept alive."""
        if self._opened is not None:
            self._opened.close()

    def _client(self) -> httpx2.Client:
        import httpx2

        from tailorbird.connectors.reach import GuardedTransport, Reach

        with self._lock:
            if self._opened is None:
                limits = httpx2.Limits(max_connections=100, max_keepalive_connections=20)
                reach = Reach(loopback=self._loopback, private=self._private)
                self._opened = httpx2.Client(
                    timeout=httpx2.Timeout(self._timeout, connect=min(self._timeout, 5.0)),
                    follow_redirects=False,
                    transport=self._transport or GuardedTransport(reach, limits=limits, resolve=self._resolve),
                    headers={"user-agent": "Tailorbird-Webhooks/1", "content-type": "application/json"},
                )
            return self._opened

    def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        import httpx2

        deadline = time.monotonic() + self._timeout
        with self._client().stream("POST", url, content=body, headers=dict(headers)) as response:
            size = 0
            with suppress(httpx2.HTTPError, httpx2.StreamError):  # the status has answered; the rest is read for the connection
                for chunk in response.iter_raw():
                    size += len(chunk)
                    if size > MAX_RESPONSE or time.monotonic() > deadline:
                        break
            return self._outcome(response.status_code, response.headers.get("retry-after"))

    def _outcome(self, status: int, wait: str | None) -> Outcome:
        if 200 <= status < 300:
            return Outcome(ok=True, detail=str(status))
        if status == 410:
            return Outcome(ok=False, final=True, detail="410: the receiver is gone")
        if 300 <= status < 400:
            return Outcome(ok=False, detail=f"{status}: redirects are not followed; subscribe with the final address")
        said = retry_after(wait, self._clock.now()) if status in (429, 503) else None
        return Outcome(ok=False, detail=f"the receiver answered {status}", retry_after=said)

    def _unacceptable(self, url: str) -> str:
        """Return why an address cannot be posted to, or nothing."""
        try:
            parts = urlsplit(url)
            host = parts.hostname
        except ValueError:
            return "the address cannot be read"
        if not host or parts.scheme not in ("http", "https"):
            return "the address must begin with https:// and name a host"
        if parts.scheme == "http" and not self._allow_http and not _is_loopback(host):
            return "plain http is for loopback only; use https, or allow http in the settings"
        return ""

    def _headers(self, key: str, body: bytes, secret_env: Json) -> dict[str, str]:
        instant = self._clock.now() // 1000
        headers = {"webhook-id": key, "webhook-timestamp": str(instant), "idempotency-key": key}
        secret = self._secret
        if isinstance(secret_env, str) and secret_env:
            secret = self._environ.get(secret_env)
            if not secret:
                raise _NoSecret(f"the environment variable {secret_env} with the signing secret is not set")
        if secret:
            from standardwebhooks.webhooks import Webhook

            try:
                signer = Webhook(secret)
                headers["webhook-signature"] = signer.sign(key, datetime.fromtimestamp(instant, UTC), body.decode())
            except Exception:  # the library's message may quote the secret
                raise _NoSecret("the signing secret is not whsec_ followed by base64") from None
        return headers


class _NoSecret(Exception):
    """The secret that was named cannot be used; the message never holds it."""


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
