"""A dozen settings, each a URL or a plain value, read from the environment (``TAILORBIRD_…``) or given in code."""

from __future__ import annotations

from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["Settings"]


class Settings(BaseSettings):
    """What differs between installations. Durations in milliseconds."""

    model_config = SettingsConfigDict(env_prefix="TAILORBIRD_", env_file=None, extra="ignore", frozen=True)

    database_url: str = "sqlite:///tailorbird.db"
    """Where everything is recorded: ``sqlite:///file.db`` or ``postgresql://user:password@host/name``."""

    listen: str = "127.0.0.1:8321"
    """Host and port to serve on; anything but loopback needs API keys."""

    default_region: str = ""
    """The country (``FR``) assumed for phone numbers written without ``+``."""

    cached_profiles: int = 100_000
    """How many profiles are kept ready in memory; each takes a few kilobytes with fifty segments."""

    queue_limit: int = 20_000
    """How many events may wait for the loop before intake answers ``busy``."""

    unit_limit: int = 2_000
    """How many events share one commit at most."""

    deliver: bool = True
    """Whether this process delivers what is in the outbox."""

    allowed_hosts: str = ""
    """Host names with commas between, besides loopback, under which a server without keys may be called (a local proxy's)."""

    max_connections: int = 2_000
    """How many connections are served at once; more are answered with 503."""

    log_level: str = "info"
    """How much the server logs: ``debug``, ``info``, ``warning`` or ``error``."""
