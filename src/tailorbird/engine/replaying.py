"""Opening a second engine over an empty store and running the first one's log through it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tailorbird.core.context import ManualClock
from tailorbird.core.definition import Definition
from tailorbird.definitions.plan import plan_versions
from tailorbird.engine.authoring import carry_out
from tailorbird.runtime.replay import replay

if TYPE_CHECKING:
    from tailorbird.engine.facade import Engine

__all__ = ["replay_into"]


def replay_into(source: Engine, url: str) -> Engine:
    """Replay the log of an engine into an empty store and return that open, its clock at the log's last instant."""
    clock = ManualClock(0)
    target = type(source).open(url, clock=clock, settings=source.settings, connectors={})

    def change(active: Sequence[Definition], ended: Sequence[Definition], now: int) -> None:
        clock.move_to(max(now, clock.now()))
        for item in active:
            if not any(d.version == item.version for d in target.store.definitions(kind=item.kind, name=item.name)):
                target.store.save_definition(item)
        carry_out(target.parts, lambda: plan_versions(target.store, active, [(item.kind, item.name) for item in ended]))

    try:
        replay(source.store, target.loop, change)
        clock.move_to(max(target.loop.last, clock.now()))
    except BaseException:
        target.close()
        raise
    return target
