"""Finishing what a process left half done when it died: an activation, the log's word of it, an import."""

from __future__ import annotations

from tailorbird.definitions import lifecycle
from tailorbird.engine import authoring
from tailorbird.engine.parts import Parts
from tailorbird.runtime.imports.settling import settled, unsettled

__all__ = ["resume"]


def resume(parts: Parts, *, thorough: bool = True) -> bool:
    """Finish what is half done and nobody's work any more; return whether something was finished.

    What another process is still doing is left alone. Without ``thorough`` the log is not looked through, which makes it
    cheap enough to be asked every few seconds.
    """
    store, loop = parts.store, parts.loop
    if not (lifecycle.interrupted(store) or unsettled(store) or (thorough and authoring.is_untold(store))):
        return False
    with parts.work.if_free("finishing what was interrupted") as free:
        if not free:
            return False
        with loop.exclusive():
            loop.refresh()
            now = parts.now()
            try:
                lifecycle.resume(store, store.batch(), now)
                authoring.mend_log(store)
                loop.refresh()
                if unsettled(store):
                    authoring.recompute(parts, now)
                    settled(store)
            finally:
                loop.last = max(loop.last, now)
                loop.refresh()
    return True
