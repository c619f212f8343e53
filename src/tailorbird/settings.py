"""A dozen settings, each a URL or a plain value, read from the environment (``TAILORBIRD_…``) or given in code."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

__all__ = ["PREFIX", "Settings"]

PREFIX: Final = "TAILORBIRD_"
"""What the names of the environment variables begin with."""

_Plain = TypeVar("_Plain", str, int, bool)
_WORDS: Final = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def _setting(name: str, default: _Plain) -> _Plain:
    """Declare a setting: what the environment says when the settings are made, else the default."""
    made: Any = field(default_factory=lambda: _read(PREFIX + name.upper(), default))
    return made  # type: ignore[no-any-return]


def _read(variable: str, default: str | int | bool) -> str | int | bool:
    text = os.environ.get(variable)
    if text is None:
        return default
    if isinstance(default, bool):
        if text.strip().lower() not in _WORDS:
            raise ValueError(f"The environment variable {variable} must be true or false, and is {text!r:.60}.")
        return _WORDS[text.strip().lower()]
    if isinstance(default, int):
        if not text.strip().isdecimal():
            raise ValueError(f"The environment variable {variable} must be a whole number, and is {text!r:.60}.")
        return int(text)
    return text


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What differs between installations. Durations in milliseconds.

    Making one reads the environment for whatever is not given; ``ValueError`` names the variable that cannot be read.
    """

    database_url: str = _setting("database_url", "sqlite:///tailorbird.db")
    """Where everything is recorded: ``sqlite:///file.db`` or ``postgresql://user:password@host/name``."""

    listen: str = _setting("listen", "127.0.0.1:8321")
    """Host and port to serve on; anything but loopback needs API keys."""

    default_region: str = _setting("default_region", "")
    """The country (``FR``) assumed for phone numbers written without ``+``."""

    cached_profiles: int = _setting("cached_profiles", 50_000)
    """How many profiles are kept ready in memory; each takes about 17 KB with fifty segments and ten events."""

    queue_limit: int = _setting("queue_limit", 20_000)
    """How many events may wait for the loop before intake answers ``busy``."""

    question_limit: int = _setting("question_limit", 5_000)
    """How long, in ms, the server looks for the answer to one question (evaluate, preview, why) before it gives up."""

    unit_limit: int = _setting("unit_limit", 2_000)
    """How many events share one commit at most."""

    deliver: bool = _setting("deliver", True)
    """Whether this process delivers what is in the outbox."""

    allowed_hosts: str = _setting("allowed_hosts", "")
    """Host names with commas between, besides loopback, under which a server without keys may be called (a local proxy's)."""

    webhook_private: bool = _setting("webhook_private", False)
    """Whether webhooks may go into private networks, and to this machine while the server listens on more than loopback."""

    crm_adapters: str = _setting("crm_adapters", "")
    """CRM adapters of third parties, ``package.module:Name`` with commas between; see ``docs/how-to/write-an-adapter.md``."""

    secrets_url: str = _setting("secrets_url", "")
    """Where sealed credentials of CRMs are kept: ``dynamodb://table?region=…&user=…``; empty: in the database."""

    max_connections: int = _setting("max_connections", 2_000)
    """How many connections are served at once; more are answered with 503."""

    log_level: str = _setting("log_level", "info")
    """How much the server logs: ``debug``, ``info``, ``warning`` or ``error``."""

    llm_url: str = _setting("llm_url", "")
    """An OpenAI-compatible endpoint that writes narratives, translates and rewrites: ``https://host/v1?model=name``; none: rules do."""

    apollo_url: str = _setting("apollo_url", "https://api.apollo.io/api/v1")
    """Where Apollo is asked; a simulator's address for trying things out. The key is read from TAILORBIRD_APOLLO_KEY alone."""

    dropcontact_url: str = _setting("dropcontact_url", "https://api.dropcontact.com")
    """Where Dropcontact is asked. The key is read from TAILORBIRD_DROPCONTACT_KEY alone."""

    dropcontact_poll: int = _setting("dropcontact_poll", 30)
    """How many seconds lie between two looks at a batch at Dropcontact; fewer than 30 are for simulators."""

    @property
    def local(self) -> bool:
        """Whether ``listen`` names loopback."""
        return self.listen.rpartition(":")[0].strip("[]") in ("localhost", "127.0.0.1", "::1")
