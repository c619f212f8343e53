"""Enrichment: which provider is asked what about whom and in which order, and what its answer means; pure, without any I/O."""

from __future__ import annotations

from tailorbird.enrichment.answers import Found, evidence, told
from tailorbird.enrichment.chain import COSTS, DEFAULT, PROVIDERS, Chain, Link, parse_chain
from tailorbird.enrichment.planning import ENRICH, Known, Run, Step, advance, begin, conclude
from tailorbird.enrichment.questions import question, sufficient

__all__ = [
    "COSTS", "DEFAULT", "ENRICH", "PROVIDERS", "Chain", "Found", "Known", "Link", "Run", "Step", "advance", "begin", "conclude",
    "evidence", "parse_chain", "question", "sufficient", "told",
]  # fmt: skip
