"""What letters about a grant have in common. Pure."""

from __future__ import annotations

from broker.grants.model import Grant
from broker.letters import Phrase, phrase


def page_of(grant: Grant) -> str:
    """Its path on the console."""
    return f"/grants/{grant.id}"


def say_lapse(grant: Grant) -> Phrase:
    return phrase(
        "Without an answer it lapses at %(lapses)s, and nothing is seen.", lapses=grant.lapses_at
    )
