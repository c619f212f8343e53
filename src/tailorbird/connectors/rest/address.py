"""Which addresses a connector may speak to: https, on an allowed host, and not inside somebody's network."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Collection, Sequence
from urllib.parse import urlsplit

from tailorbird.errors import InvalidInput

__all__ = ["check_address", "is_loopback", "resolve"]

Resolve = Callable[[str], Sequence[str]]
"""Returns the addresses of a host name; raises ``OSError`` where it has none."""


def resolve(host: str) -> list[str]:
    """Return the IP addresses that a host name stands for."""
    return sorted({str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)})


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine's own loopback.

    >>> is_loopback("localhost"), is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("10.0.0.1")
    (True, True, True, False)
    """
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_address(
    url: str, *, hosts: Collection[str] = (), allow_http: bool = False, allow_private: bool = False
) -> tuple[str, bool]:
    """Return (host, whether what it resolves to has to be looked at), or raise ``InvalidInput`` saying what is wrong.

    ``hosts`` are the vendor's own, those that begin with a dot with all that stands below; an address
    written out, or a loopback name, is for simulators and is let through as such.

    >>> check_address("https://api.vendor.example/v1", hosts=["api.vendor.example"])
    ('api.vendor.example', True)
    >>> check_address("http://127.0.0.1:8080")
    ('127.0.0.1', False)
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if not host or parts.scheme not in ("http", "https") or parts.username or parts.password or parts.query or parts.fragment:
        raise InvalidInput("the address of an API is https://host/path, without user, password or query.")
    if is_loopback(host):
        return host, False
    if parts.scheme == "http" and not allow_http:
        raise InvalidInput(f"{host} would be called without encryption.", hint="Write https://.")
    try:
        inside = not ipaddress.ip_address(host).is_global
    except ValueError:
        inside = False
    if inside and not allow_private:
        raise InvalidInput(f"{host} is an address inside a network.", hint="Allow private addresses for this connection.")
    if hosts and not any(host == known or (known.startswith(".") and host.endswith(known)) for known in hosts):
        raise InvalidInput(f"{host} is not a host of this API.", hint=f"It is one of {', '.join(sorted(hosts))}.")
    return host, not allow_private


def check_resolved(host: str, look_up: Resolve) -> None:
    """Raise ``InvalidInput`` when a name leads inside a network; ``OSError`` when it leads nowhere."""
    for address in look_up(host):
        if not ipaddress.ip_address(address.partition("%")[0]).is_global:
            raise InvalidInput(
                f"{host} leads to an address inside a network.", hint="Allow private addresses for this connection."
            )
