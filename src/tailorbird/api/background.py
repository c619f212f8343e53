"""What a server does besides answering: it delivers, reads from CRMs, notices new keys, and finishes what others left half done."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from tailorbird.api.logs import Log, fault
from tailorbird.api.metrics import Metrics
from tailorbird.engine import Engine
from tailorbird.errors import Unavailable

__all__ = ["Background"]

_PAUSE: Final = 0.25  # seconds between two looks into an outbox in which nothing was due
_KEYS: Final = 2.0  # seconds until a key that another process made or revoked is known here
_RESUME: Final = 5.0  # seconds between two looks whether a process died in the middle of something
_CRM: Final = 5.0  # seconds between two looks whether it is time to read from a CRM
_TROUBLE: Final = 2.0  # seconds to wait after an error


class Background:
    """Threads beside the event loop; ``stop`` waits for what they have begun."""

    def __init__(self, engine: Engine, metrics: Metrics, log: Log, reload_keys: Callable[[], None]) -> None:
        self._engine = engine
        self._metrics = metrics
        self._log = log
        self._reload_keys = reload_keys
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin."""
        jobs: list[tuple[str, Callable[[], float]]] = [("keys", self._keys), ("resume", self._resume)]
        if self._engine.settings.deliver:
            jobs += [("deliverer", self._deliver), ("crm", self._crm)]
        for name, job in jobs:
            thread = threading.Thread(target=self._run, args=(name, job), name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """End, after what has been begun."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _run(self, name: str, job: Callable[[], float]) -> None:
        while not self._stopping.is_set():
            try:
                pause = job()
            except Unavailable:
                pause = _TROUBLE  # the store is busy or away; there is another time
            except Exception as error:
                self._metrics.faults.labels(name).inc()
                fault(self._log, name, error)
                pause = _TROUBLE
            if pause:
                self._stopping.wait(pause)

    def _deliver(self) -> float:
        settled = self._engine.deliverer.run_once(wait=False)
        self._metrics.settled.inc(settled)
        return 0.0 if settled else _PAUSE

    def _resume(self) -> float:
        self._engine.resume()
        return _RESUME

    def _crm(self) -> float:
        self._engine.sync.run_due(stop=self._stopping.is_set)
        return _CRM

    def _keys(self) -> float:
        self._reload_keys()
        return _KEYS
