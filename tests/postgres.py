"""A real PostgreSQL server for the tests: one that is named, else a throw-away cluster, else none with the reason."""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from functools import lru_cache
from pathlib import Path

import psycopg

VARIABLE = "TAILORBIRD_TEST_POSTGRES_URL"


class NoServer(Exception):
    """No PostgreSQL can be had here; the text says what was tried."""


@lru_cache(maxsize=1)
def server_url() -> str:
    """Return the URL of a server on which databases may be made; start one if none is named. Raises ``NoServer``."""
    named = os.environ.get(VARIABLE)
    if named:
        return named
    binaries = _binaries() or _install()
    if binaries is None:
        raise NoServer(
            f"no PostgreSQL: {VARIABLE} is not set, no server binaries are on this machine, and none could be installed"
        )
    return _start(binaries)


def fresh_database() -> str:
    """Make an empty database and return its URL."""
    server = server_url()
    name = f"tailorbird_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    head, _, query = server.partition("?")
    return f"{head.rsplit('/', 1)[0]}/{name}" + (f"?{query}" if query else "")


def drop_database(url: str) -> None:
    """Remove a database that ``fresh_database`` made."""
    name = url.partition("?")[0].rsplit("/", 1)[1]
    with psycopg.connect(server_url(), autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _binaries() -> Path | None:
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which("initdb")
    for place in [*places, *([Path(found).resolve().parent] if found else [])]:
        if (place / "initdb").exists() and (place / "postgres").exists():
            return place
    return None


def _install() -> Path | None:
    """Install the server from Debian where we may."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return None
    for command in (["apt-get", "update", "-q"], ["apt-get", "install", "-qy", "--no-install-recommends", "postgresql"]):
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=600)
    return _binaries()


def _start(binaries: Path) -> str:
    folder = Path(tempfile.mkdtemp(prefix="tailorbird-pg-"))
    user: list[str] = []
    if os.geteuid() == 0:  # the server refuses to run as root
        shutil.chown(folder, "nobody")
        user = ["setpriv", "--reuid=nobody", "--clear-groups"]
    data = folder / "data"
    options = ["-U", "tailorbird", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
    make = [*user, str(binaries / "initdb"), "-D", str(data), *options]
    subprocess.run(make, check=True, stdout=subprocess.DEVNULL, cwd=folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    chosen = ("listen_addresses=127.0.0.1", f"unix_socket_directories={folder}", "fsync=off", "max_connections=60")
    settings = [word for setting in chosen for word in ("-c", setting)]
    server = subprocess.Popen(
        [*user, str(binaries / "postgres"), "-D", str(data), "-p", str(port), *settings],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder,
    )  # fmt: skip
    atexit.register(_stop, server, folder)
    url = f"postgresql://tailorbird@127.0.0.1:{port}/postgres"
    for _ in range(100):
        try:
            psycopg.connect(url, connect_timeout=1).close()
        except psycopg.OperationalError:
            time.sleep(0.1)
        else:
            return url
    raise NoServer("a throw-away PostgreSQL was started and did not answer within ten seconds")


def _stop(server: subprocess.Popen[bytes], folder: Path) -> None:
    server.terminate()
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()
    shutil.rmtree(folder, ignore_errors=True)
