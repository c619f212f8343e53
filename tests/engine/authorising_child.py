"""A process that shows a connection's token, to be raced with others: prints what it shows and what came of it.

python authorising_child.py DATABASE REJECTED     waits for a line on stdin first; REJECTED is a header that was refused, or -
"""

from __future__ import annotations

import sys

from acme_crm import ACME
from tailorbird.core.context import SystemClock
from tailorbird.engine.authorising import Authorising
from tailorbird.errors import TailorbirdError
from tailorbird.storage import open_store
from tailorbird.storage.secrets import open_vault


def main() -> None:
    """Race."""
    url, rejected = sys.argv[1:3]
    store, clock = open_store(url), SystemClock()
    vault = open_vault(store.crm, clock)
    row, secret = store.crm.connection("acme"), vault.read("acme")
    assert row is not None
    assert secret is not None
    auth = Authorising(store, vault, clock).auth("acme", ACME, secret.values, row.settings)
    assert auth is not None
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    try:
        if rejected != "-":
            auth.renew({"authorization": rejected})
        sys.stdout.write(auth.headers()["authorization"] + "\n")
    except TailorbirdError as error:
        sys.stdout.write(f"{type(error).__name__}: {error}\n")
    store.close()


if __name__ == "__main__":
    main()
