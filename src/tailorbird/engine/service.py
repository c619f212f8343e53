"""The segmentation and personalization service: who is this contact, which label do they get, and what to say to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from threading import Lock
from typing import Final

import msgspec

from tailorbird.connectors.adapters import Desk, load_adapters
from tailorbird.connectors.native import NativeAdapter
from tailorbird.core.crm import Account, Contact, CrmContext, Interaction
from tailorbird.definitions.catalog import Catalog
from tailorbird.definitions.files import read
from tailorbird.definitions.shipped import PERSONALIZATION
from tailorbird.engine import people
from tailorbird.engine.parts import Parts
from tailorbird.engine.refs import find_profile
from tailorbird.errors import InvalidInput, NotFound
from tailorbird.personalization.rules import Judgement, Personalization, Rules, Segmentation
from tailorbird.ports import CrmAdapter, LanguageModel

__all__ = ["INTERACTIONS", "MAX_INTERACTIONS", "NAME", "Answered", "ContextView", "Personalizer", "UnknownContact"]

NAME: Final = "segmentation-personalization"
"""What the service calls itself."""

INTERACTIONS: Final = 20
"""How many of the latest interactions an answer shows when nothing is said."""
MAX_INTERACTIONS: Final = 200
MAX_QUERY: Final = 2_000
MAX_ID: Final = 300


class UnknownContact(NotFound):
    """No CRM knows a contact by that id; ``gaps`` names the CRMs that did not answer."""

    def __init__(self, contact_id: str, gaps: tuple[str, ...] = ()) -> None:
        super().__init__(
            "contact not found", hint="Give a public id (p_…), an external id, or kind:value such as email:ann@example.com."
        )
        self.contact_id = contact_id
        self.gaps = gaps


class ContextView(msgspec.Struct, frozen=True, kw_only=True):
    """What the CRM says: the contact, their account (null: none is known), the latest interactions, newest first."""

    contact: Contact
    account: Account | None
    interactions: tuple[Interaction, ...]


class Answered(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The whole answer about one contact; ``data_gaps`` lists what is missing, and CRMs that did not answer.

    ``narrative_note`` is there only where a language model should have written the narrative and did not, and says why.
    """

    service: str
    contact_id: str
    crm_context: ContextView
    segmentation: Segmentation
    narrative: str
    data_gaps: tuple[str, ...]
    narrative_note: str = ""


class Personalizer:
    """Answers about contacts, whichever CRM knows them. All verbs may be called from any thread."""

    name = NAME

    def __init__(
        self, parts: Parts, adapters: Iterable[CrmAdapter] = (), *, model: Callable[[], LanguageModel | None] = lambda: None
    ) -> None:  # fmt: skip
        self._parts = parts
        self._model = model
        self._given = tuple(adapters)
        self._made: tuple[Catalog, Rules] | None = None
        self._opened: Desk | None = None
        self._lock = Lock()

    def invoke(self, contact_id: str | None, interaction_limit: int = INTERACTIONS, query: str | None = None) -> Answered:
        """Return everything about a contact: context, segmentation, narrative, gaps.

        ``query`` steers the narrative: the paragraph it asks for comes first, and interactions in which its words occur are
        told; it changes nothing else. Raises ``InvalidInput`` and ``UnknownContact``.
        """
        from tailorbird.engine.telling import Story, tell  # patterns and word lists that most commands do not need

        if query is not None and len(query) > MAX_QUERY:
            raise InvalidInput(f"query is longer than {MAX_QUERY} characters")
        asked, context, failed, rules = self._look(contact_id, interaction_limit)
        now = self._parts.now()
        judged = rules.judge(context, now)
        shown = msgspec.structs.replace(context, interactions=context.interactions[:interaction_limit])
        gaps = (*judged.gaps, *failed)
        told = tell(Story(shown, judged.segmentation, judged.because, gaps, query, now), self._model())
        return Answered(
            service=NAME, contact_id=asked, crm_context=_view(shown), segmentation=judged.segmentation, narrative=told.text,
            data_gaps=gaps, narrative_note=told.note,
        )  # fmt: skip

    def context(self, contact_id: str | None, interaction_limit: int = INTERACTIONS) -> ContextView:
        """Return what the CRM says of a contact. Raises ``InvalidInput`` and ``UnknownContact``."""
        _, context, _, _ = self._look(contact_id, interaction_limit)
        return _view(msgspec.structs.replace(context, interactions=context.interactions[:interaction_limit]))

    def segment(self, contact_id: str | None) -> Segmentation:
        """Return a contact's label and what follows from it. Raises ``InvalidInput`` and ``UnknownContact``."""
        return self.judge(contact_id).segmentation

    def judge(self, contact_id: str | None) -> Judgement:
        """Return a contact's segmentation, why it is so, and what is missing. Raises ``InvalidInput`` and ``UnknownContact``."""
        _, context, failed, rules = self._look(contact_id, 1)
        judged = rules.judge(context, self._parts.now())
        return replace(judged, gaps=(*judged.gaps, *failed))

    def personalization(self, contact_id: str | None) -> Personalization:
        """Return how to speak to a contact: over which channel, and what to recommend."""
        return self.segment(contact_id).personalization

    def states(self) -> dict[str, str]:
        """Return how each adapter does: ``connected``, ``failing``, or ``idle`` when it was not asked yet."""
        return self._desk.states()

    @property
    def adapters(self) -> dict[str, CrmAdapter]:
        """The CRM adapters by name."""
        return dict(self._desk.adapters)

    @property
    def rules(self) -> Rules:
        """The rules in force: the team's own definition where one is active, else the shipped one."""
        catalog = self._parts.catalog
        made = self._made
        if made is None or made[0] is not catalog:
            own = catalog.personalization
            spec = {**read(PERSONALIZATION)[0].spec, **({} if own is None else own.spec)}  # what is left out is as shipped
            made = self._made = catalog, Rules.read(spec, catalog.schema)
        return made[1]

    @property
    def _desk(self) -> Desk:
        """The adapters, loaded when first needed: looking for installed ones takes a while."""
        if self._opened is None:
            with self._lock:
                if self._opened is None:
                    named = load_adapters(self._parts.settings.crm_adapters)
                    desk = Desk([self._native(), *self._given, *named], self._parts.now)
                    desk.ready(NativeAdapter.name)
                    self._opened = desk
        return self._opened

    def _native(self) -> NativeAdapter:
        parts = self._parts
        return NativeAdapter(
            parts.store, find=lambda ref: find_profile(parts.store, ref, region=parts.region),
            counts=lambda: self.rules.is_interaction,
            take=lambda batch: people.accepted(parts.loop.take(batch, parts.now())), erase=lambda ref: people.erase(parts, ref),
        )  # fmt: skip

    def _look(self, contact_id: str | None, limit: int) -> tuple[str, CrmContext, tuple[str, ...], Rules]:
        asked = (contact_id or "").strip()
        if not asked:
            raise InvalidInput("contact_id is required")
        if len(asked) > MAX_ID:
            raise InvalidInput(f"contact_id is longer than {MAX_ID} characters")
        if not 1 <= limit <= MAX_INTERACTIONS:
            raise InvalidInput(f"interaction_limit must be a whole number from 1 to {MAX_INTERACTIONS}")
        rules = self.rules
        found, failed = self._desk.fetch(asked, max(limit, rules.latest), rules.adapters)
        if found is None:
            raise UnknownContact(asked, failed)
        return asked, rules.dressed(found), failed, rules


def _view(context: CrmContext) -> ContextView:
    return ContextView(contact=context.contact, account=context.account, interactions=context.interactions)
