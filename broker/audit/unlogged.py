"""What waits too long for its place in a log, or for the signature over it.

Two seconds when all is well. A log that stays behind is one whose integrator or signer is away, or
that forked: its customer sees nothing new, and promises of inclusion (`audit.promises`) are broken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from broker.audit.promises import MERGE_DELAY
from broker.entries import parse_entry
from broker.ids import TenantId
from broker.tx import Tx

# By the index on what has no position; and by the one entry that the next checkpoint must cover.
_WAITING = sa.text("""
    SELECT log.id, log.tenant_id, waiting.many, entry.entry
      FROM (SELECT log_id, count(*) AS many, min(id) AS first FROM audit_entry
             WHERE idx IS NULL GROUP BY log_id) AS waiting
      JOIN audit_log AS log ON log.id = waiting.log_id
      JOIN audit_entry AS entry ON entry.id = waiting.first
    UNION ALL
    SELECT log.id, log.tenant_id, log.size - signed.size, entry.entry
      FROM audit_log AS log
      CROSS JOIN LATERAL (SELECT coalesce(max(size), 0) AS size FROM audit_checkpoint
                           WHERE log_id = log.id) AS signed
      JOIN audit_entry AS entry ON entry.log_id = log.id AND entry.idx = signed.size
     WHERE log.size > signed.size
""")


@dataclass(frozen=True, slots=True)
class Waiting:
    """`count` entries of a log that have no position, or no signature; the oldest is of `since`."""

    log_id: str
    tenant_id: TenantId | None
    count: int
    since: datetime


def list_waiting(tx: Tx) -> Sequence[Waiting]:
    """A log stands there twice when some of its entries have no position and some no signature."""
    return [
        Waiting(row.id, row.tenant_id, row.many, parse_entry(row.entry).at)
        for row in tx.session.execute(_WAITING)
    ]


def list_behind(tx: Tx) -> Sequence[Waiting]:
    """The oldest of each log that is behind by more than the merge delay."""
    waiting = [one for one in list_waiting(tx) if tx.at - one.since >= MERGE_DELAY]
    youngest_first = sorted(waiting, key=lambda one: one.since, reverse=True)
    return list({one.log_id: one for one in youngest_first}.values())
