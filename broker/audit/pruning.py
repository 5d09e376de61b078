"""Pruning: entries whose time is over go, their hashes stay, and the log says so.

What must stay true: every proof and every checkpoint that was ever signed still holds, for the hash
of a pruned entry stands in a stored tile; nothing younger than half a year goes, which verifiers
see by the entry that follows (`gaps`): the last old entry is always kept as that mark. Which kinds
go, and when, is data: `config/log_retention.toml`.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa

from broker import trail
from broker.audit.gaps import KEPT
from broker.audit.tiles import WIDTH
from broker.db import Database
from broker.entries import parse_entry
from broker.errors import SettingsError
from broker.ids import TenantId
from broker.kinds import KINDS
from broker.trail import AuditEntry, AuditLog, AuditTile
from broker.tx import Tx, system

_ACTOR = system("pruning")
_TEXTS = sa.ARRAY(sa.Text)
# What later entries, or verifiers, rest on: it stays for as long as the log does.
RESTED_ON = frozenset(
    [
        "grant",
        "standing",
        "policy",
        "approval",
        "review",
        "snapshot",
        "hold",
        "certificate",
        "slot",
        "log",
        "epoch",
        "decision",
    ]
)


@dataclass(frozen=True, slots=True)
class Retention:
    """Entries of these kinds are pruned `after`."""

    kinds: tuple[str, ...]
    after: timedelta


def load_retention(file: Path) -> Retention:
    """Raises SettingsError for what would break a proof, or the law."""
    try:
        told = tomllib.loads(file.read_text())["connections"]
        kinds, days = tuple(told["kinds"]), int(told["days"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise SettingsError(f"{file} is no retention of logs: {error}") from None
    if days < KEPT.days:
        raise SettingsError(f"{file}: entries are kept for {KEPT.days} days at least")
    for kind in kinds:
        if kind not in KINDS or kind.partition(".")[0] in RESTED_ON:
            raise SettingsError(f"{file}: {kind} can't be pruned: it is no kind, or is rested on")
    return Retention(kinds, timedelta(days=days))


def prune_due(database: Database, retention: Retention) -> int:
    """Prune every log but the root log; how many entries went."""
    with database.begin(_ACTOR) as tx:
        logs = tx.session.scalars(sa.select(AuditLog.id).where(~AuditLog.root)).all()
    return sum(_prune(database, log_id, retention) for log_id in logs)


def _prune(database: Database, log_id: str, retention: Retention) -> int:
    with database.begin(_ACTOR) as tx:
        log = tx.session.get_one(AuditLog, log_id, with_for_update=True)
        before = tx.at - retention.after
        until = _find_mark(tx, log, before.timestamp())
        if until <= log.pruned_until:
            return 0
        call = sa.func.prune_log(log_id, until, sa.cast(list(retention.kinds), _TEXTS), before)
        pruned = tx.session.scalars(sa.select(call)).one()
        if pruned:
            tenant_id = TenantId(log.tenant_id) if log.tenant_id else None
            facts = {"until": until, "pruned": pruned, "before": before.isoformat()}
            facts |= {"kinds": list(retention.kinds)}
            trail.record(tx, tenant_id, "log.pruned", log_id, facts)
        return int(pruned)


def _find_mark(tx: Tx, log: AuditLog, before_s: float) -> int:
    """The position of the last entry that is old, among those in stored tiles; 0 when none is.

    By halves: entries are in the order of their instants, but for a little.
    """
    tiles = sa.select(sa.func.max(AuditTile.number)).where(
        AuditTile.log_id == log.id, AuditTile.level == 0
    )
    last = tx.session.scalar(tiles)
    low, high = log.pruned_until, 0 if last is None else (last + 1) * WIDTH
    mark = 0
    while low < high:
        middle = (low + high) // 2
        row = tx.session.execute(
            sa.select(AuditEntry.idx, AuditEntry.entry)
            .where(AuditEntry.log_id == log.id, AuditEntry.idx >= middle, AuditEntry.idx < high)
            .order_by(AuditEntry.idx)
            .limit(1)
        ).first()
        if row is None or row.idx is None:
            high = middle
        elif parse_entry(row.entry).at.timestamp() < before_s:
            mark, low = row.idx, row.idx + 1
        else:
            high = middle
    return mark
