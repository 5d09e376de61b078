"""Regular backups as they are declared: what an organisation reads before it consents to one.

    declared ─▶ consented to (purpose `regular_backups`, each by itself) ─▶ ended

A declaration opens nothing: the runs of `broker.backups` rest on the consent to it. What must stay
true: what a consent was read with is never changed; another host, hour or place is another one.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from broker import mail, people, tenants, trail
from broker.db import Base, Json
from broker.errors import NOT_THERE, Conflict, Invalid, NotFound
from broker.ids import TenantId, new_id
from broker.letters import Letter, phrase
from broker.tx import Tx

KINDS = ("dump",)
LOCAL = "local"  # the database's own machine, by its socket
_LIMITS = {
    "every_s": (900, 31 * 86400),
    "longest_s": (60, 86400),
    "connections": (1, 64),
    "keep_days": (1, 3660),
}
_TIME = re.compile(r"\A([01][0-9]|2[0-3]):([0-5][0-9])\Z")


class BackupPlan(Base):
    """`opens` and `closes` are minutes of the day, UTC; equal ones mean the whole day. `host` is
    the address, or network, from which the program connects, or LOCAL; `place` is where its backups
    lie, for `keep_days`.
    """

    __tablename__ = "backup_plan"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenant.id"))
    database_id: Mapped[str] = mapped_column(sa.ForeignKey("tenant_database.id"))
    kind: Mapped[str]
    runner_id: Mapped[str] = mapped_column(sa.ForeignKey("person.id"))
    host: Mapped[str]
    every_s: Mapped[int]
    opens: Mapped[int]
    closes: Mapped[int]
    longest_s: Mapped[int]
    connections: Mapped[int]
    place: Mapped[str]
    keep_days: Mapped[int]
    declared_by: Mapped[str] = mapped_column(sa.ForeignKey("person.id"))
    declared_at: Mapped[datetime]
    ended_by: Mapped[str | None] = mapped_column(sa.ForeignKey("person.id"))
    ended_at: Mapped[datetime | None]

    @property
    def hours(self) -> str:
        """When its runs begin, e.g. `02:00-05:00`, UTC."""
        return f"{say_time(self.opens)}-{say_time(self.closes)}"

    def document(self) -> Json:
        """What of it is read by who consents to it."""
        named = ("id", "database_id", "kind", "runner_id", "host", "every_s", "hours")
        limits = ("longest_s", "connections", "place", "keep_days")
        return {name: getattr(self, name) for name in (*named, *limits)}


@dataclass(frozen=True, slots=True)
class Draft:
    """A backup as it is declared; `opens` and `closes` are `HH:MM`, UTC."""

    database_id: str
    runner_id: str
    host: str
    every_s: int
    opens: str
    closes: str
    longest_s: int
    place: str
    keep_days: int
    kind: str = "dump"
    connections: int = 2


def declare(tx: Tx, draft: Draft) -> str:
    """Write down a backup, and ask the customer's admins to read it. Raises Invalid, NotFound."""
    people.check(tx, "backup:declare")
    database = tenants.get_database(tx, draft.database_id)
    _check(tx, draft)
    row = BackupPlan(
        id=new_id("bkp"),
        tenant_id=database.tenant_id,
        database_id=database.id,
        kind=draft.kind,
        runner_id=draft.runner_id,
        host=_read_host(draft.host),
        every_s=draft.every_s,
        opens=read_time(draft.opens),
        closes=read_time(draft.closes),
        longest_s=draft.longest_s,
        connections=draft.connections,
        place=draft.place.strip(),
        keep_days=draft.keep_days,
        declared_by=tx.actor.person_id,
        declared_at=tx.at,
    )
    tx.session.add(row)
    tx.session.flush()
    facts: Json = {"database": row.database_id, "kind": row.kind, "runner": row.runner_id}
    facts |= {"every_s": row.every_s, "hours": row.hours, "keep_days": row.keep_days}
    trail.record(tx, TenantId(row.tenant_id), "backup.declared", row.id, facts)
    _ask(tx, row, database.name)
    return row.id


def _check(tx: Tx, draft: Draft) -> None:
    fields = {
        name: f"{least} to {most}"
        for name, (least, most) in _LIMITS.items()
        if not least <= getattr(draft, name) <= most
    }
    if draft.kind not in KINDS:
        fields["kind"] = f"one of {', '.join(KINDS)}"
    if not 3 <= len(draft.place.strip()) <= 400:
        fields["place"] = "3 to 400 characters: where its backups lie, as s3://backups/acme"
    for name in ("opens", "closes"):
        if not _TIME.match(getattr(draft, name)):
            fields[name] = "a time of the day in UTC, as 02:00"
    if _read_host(draft.host) == "":
        fields["host"] = f"an address or network, as 192.0.2.7 or 192.0.2.0/28, or {LOCAL}"
    held = people.find_service(tx, draft.runner_id)
    if held is None or held.tenant_id is not None:
        fields["runner"] = "the account of a program of the vendor's (broker services add)"
    if fields:
        raise Invalid("the backup can't be declared like this", fields=fields)


def _read_host(text: str) -> str:
    """In one form; empty where it is none."""
    if text == LOCAL:
        return text
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        return ""


def read_time(text: str) -> int:
    """Minutes of the day.

    >>> read_time("02:30")
    150
    """
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


def say_time(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _ask(tx: Tx, row: BackupPlan, database: str) -> None:
    letter = Letter(
        phrase("A regular backup waits for your consent"),
        [
            phrase(
                "Your vendor wants to back up database %(database)s regularly (%(backup)s): from "
                "one machine, at stated hours, to a stated place. Nothing is read before an admin "
                "of yours has consented to this one.",
                database=database,
                backup=row.id,
            ),
            phrase("Read what it would do, and decide, on the console under Consents."),
        ],
        kind="waiting",
        page=f"/tenants/{row.tenant_id}/consents",
    )
    mail.write_to_roles(tx, TenantId(row.tenant_id), ["admin"], letter)


def mark_ended(tx: Tx, row: BackupPlan) -> None:
    """Only `lifecycle` calls this: its runs must end with it. Raises Conflict."""
    if row.ended_at is not None:
        raise Conflict(f"{row.id} was ended already, {row.ended_at:%Y-%m-%d}")
    row.ended_at, row.ended_by = tx.at, tx.actor.person_id
    tx.session.flush()
    trail.record(tx, TenantId(row.tenant_id), "backup.ended", row.id)


def get(tx: Tx, backup_id: str, *, lock: bool = False) -> BackupPlan:
    row = tx.session.get(BackupPlan, backup_id, with_for_update=lock or None)
    if row is None:
        raise NotFound(NOT_THERE)
    return row


def find_open(tx: Tx, tenant_id: TenantId, backup_id: str) -> BackupPlan | None:
    """One to which that organisation can consent."""
    row = tx.session.get(BackupPlan, backup_id)
    return row if row and row.ended_at is None and row.tenant_id == tenant_id else None


def list_open(tx: Tx, tenant_id: TenantId) -> Sequence[BackupPlan]:
    query = sa.select(BackupPlan).where(
        BackupPlan.tenant_id == tenant_id, BackupPlan.ended_at.is_(None)
    )
    return tx.session.scalars(query.order_by(BackupPlan.declared_at, BackupPlan.id)).all()
