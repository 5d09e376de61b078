"""Tables of grants, plans, decisions, scopes and leases."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from broker.db import Base, Json, Retried
from broker.states import StatefulRow


class Grant(StatefulRow, Retried):
    """Asked and given windows are seconds; 0 means that this kind was not asked or not given.

    `starts_at` is the start that was asked, `given_starts_at` the agreed one; neither: at approval.
    `live_until`, `copy_until`, `platform_until`, `storage_until` and `ends_at` are set once, at
    approval, and never moved later; `platform_id`, `storage_id`, `policy_version` and
    `approvals_needed` when it is asked (see `approval_policy`).
    """

    __tablename__ = "access_grant"
    database_id: Mapped[str] = mapped_column(sa.ForeignKey("tenant_database.id"))
    ticket_id: Mapped[str] = mapped_column(sa.ForeignKey("ticket.id"))
    requester_id: Mapped[str] = mapped_column(sa.ForeignKey("person.id"))
    category: Mapped[str]
    reason: Mapped[str]
    requested_at: Mapped[datetime]
    lapses_at: Mapped[datetime]
    asked_live_s: Mapped[int]
    asked_copy_s: Mapped[int]
    asked_platform_s: Mapped[int] = mapped_column(default=0)
    asked_storage_s: Mapped[int] = mapped_column(default=0)
    given_live_s: Mapped[int] = mapped_column(default=0)
    given_copy_s: Mapped[int] = mapped_column(default=0)
    given_platform_s: Mapped[int] = mapped_column(default=0)
    given_storage_s: Mapped[int] = mapped_column(default=0)
    live_until: Mapped[datetime | None]
    copy_until: Mapped[datetime | None]
    platform_until: Mapped[datetime | None]
    storage_until: Mapped[datetime | None]
    ends_at: Mapped[datetime | None]
    end_reason: Mapped[str | None]
    asked_digest: Mapped[str | None]
    given_digest: Mapped[str | None]
    extends: Mapped[str | None] = mapped_column(sa.ForeignKey("access_grant.id"))
    starts_at: Mapped[datetime | None]
    paused_at: Mapped[datetime | None]
    paused_by: Mapped[str | None] = mapped_column(sa.ForeignKey("person.id"))
    paused_side: Mapped[str | None]
    platform_id: Mapped[str | None] = mapped_column(sa.ForeignKey("platform.id"))
    storage_id: Mapped[str | None] = mapped_column(sa.ForeignKey("storage.id"))
    given_starts_at: Mapped[datetime | None]
    policy_version: Mapped[int] = mapped_column(default=0)
    approvals_needed: Mapped[int] = mapped_column(default=1)
    asked_kind: Mapped[str] = mapped_column(default="masked")  # of `scope_kinds.KINDS`
    raw_columns: Mapped[list[str]] = mapped_column(JSONB, default=list)  # asked in clear, by name
    given_kind: Mapped[str | None]
    asked_dedicated: Mapped[bool] = mapped_column(default=False)
    asked_develop: Mapped[bool] = mapped_column(default=False)  # what is given, its plan says
    escalated_at: Mapped[datetime | None]  # see `escalating`
    altered_at: Mapped[datetime | None]  # found to be not what was signed (see `mismatch`)
    settled_at: Mapped[datetime | None]
    standing_id: Mapped[str | None] = mapped_column(sa.ForeignKey("standing_approval.id"))
    break_glass: Mapped[bool] = mapped_column(default=False)  # frozen when asked
    asked_on_ticket: Mapped[bool] = mapped_column(default=False)  # by a comment; frozen too


class PlanRow(Base):
    """Plans by digest: the one that was asked, and the narrowed one that was given.

    `literals` are pieces of definitions that hold values: shown only to the tenant (G1), and
    removed when the grant is over.
    """

    __tablename__ = "plan"
    grant_id: Mapped[str] = mapped_column(sa.ForeignKey("access_grant.id"), primary_key=True)
    digest: Mapped[str] = mapped_column(primary_key=True)
    document: Mapped[Json]
    literals: Mapped[Json | None]
    made_at: Mapped[datetime]


class Decision(Base):
    """What a person decided, about which digest: `approved`, `refused` or `ended`. Never changed.

    `settles` is true for the one that answered the request. `given_digest`, `live_s`, `copy_s` and
    `starts_at` are what this person gives; what is given in all stands on the grant. With
    `standing_id` it was given in advance, by that standing approval with `terms_digest`. `for_id`
    is the admin for whom a delegate decided, under `delegation_id`, which ends at `for_until`.
    """

    __tablename__ = "decision"
    id: Mapped[str] = mapped_column(primary_key=True)
    grant_id: Mapped[str] = mapped_column(sa.ForeignKey("access_grant.id"))
    person_id: Mapped[str] = mapped_column(sa.ForeignKey("person.id"))
    side: Mapped[str]
    verdict: Mapped[str]
    settles: Mapped[bool]
    live_s: Mapped[int]
    copy_s: Mapped[int]
    platform_s: Mapped[int] = mapped_column(default=0)
    kind: Mapped[str | None]
    tables_restricted: Mapped[int] = mapped_column(default=0)  # of how many fewer rows are given
    storage_s: Mapped[int] = mapped_column(default=0)
    starts_at: Mapped[datetime | None]
    shown_digest: Mapped[str | None]
    given_digest: Mapped[str | None]
    note: Mapped[str | None]
    via: Mapped[str]
    at: Mapped[datetime]
    assertion: Mapped[Json | None]
    standing_id: Mapped[str | None] = mapped_column(sa.ForeignKey("standing_approval.id"))
    terms_digest: Mapped[str | None]
    for_id: Mapped[str | None] = mapped_column(sa.ForeignKey("person.id"))
    for_until: Mapped[datetime | None]
    delegation_id: Mapped[str | None] = mapped_column(sa.ForeignKey("delegation.id"))


class Standing(StatefulRow):
    """A standing approval: given in advance by a tenant's admins, for requests that fit.

    `conditions` is what they agreed to, `digest` names it; `plan` is what they were shown, and no
    more than it is ever given. `keeps_grants`: what was approved under it outlived its end.
    """

    __tablename__ = "standing_approval"
    database_id: Mapped[str] = mapped_column(sa.ForeignKey("tenant_database.id"))
    like_grant: Mapped[str]  # whose plan was shown; no foreign key, for a grant names it too
    conditions: Mapped[Json]
    plan: Mapped[Json]
    digest: Mapped[str]
    note: Mapped[str | None]
    policy_version: Mapped[int]
    approvals_needed: Mapped[int]
    proposed_at: Mapped[datetime]
    lapses_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    keeps_grants: Mapped[bool] = mapped_column(default=False)
    settled_at: Mapped[datetime | None]


class Voice(Base):
    """One person's yes to a standing approval. Never changed."""

    __tablename__ = "standing_voice"
    standing_id: Mapped[str] = mapped_column(
        sa.ForeignKey("standing_approval.id"), primary_key=True
    )
    person_id: Mapped[str] = mapped_column(sa.ForeignKey("person.id"), primary_key=True)
    via: Mapped[str]
    at: Mapped[datetime]


class Review(StatefulRow):
    """What the vendor owes the customer after break-glass: open until an admin of theirs closes it.

    `due_at` is 72 hours after the glass was broken; `note` is what the customer wrote at the end.
    """

    __tablename__ = "review"
    grant_id: Mapped[str] = mapped_column(sa.ForeignKey("access_grant.id"), unique=True)
    owed_at: Mapped[datetime]
    due_at: Mapped[datetime]
    note: Mapped[str | None]


class Statement(Base):
    """A signed statement of a decision, or of a login's end: a DSSE envelope, kept as signed.

    `subject` is the id of the decision or of the lease.
    """

    __tablename__ = "statement"
    subject: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenant.id"))
    kind: Mapped[str]
    envelope: Mapped[bytes]
    signed_at: Mapped[datetime]


class TokenKey(Base):
    """A key that signs platform tokens; its private half is in the key port, under `token/<kid>`.

    `withdrawn_at`: it was taken out of use before its time. See `token_keys`.
    """

    __tablename__ = "token_key"
    kid: Mapped[str] = mapped_column(primary_key=True)
    public: Mapped[bytes]
    made_at: Mapped[datetime]
    withdrawn_at: Mapped[datetime | None]
    erased_at: Mapped[datetime | None]


class LiveScope(Base):
    """The scope objects that stand on a tenant's server; written before they are made."""

    __tablename__ = "live_scope"
    name: Mapped[str] = mapped_column(primary_key=True)
    database_id: Mapped[str] = mapped_column(sa.ForeignKey("tenant_database.id"))
    planned_at: Mapped[datetime]
    made_at: Mapped[datetime | None]
    dropped_at: Mapped[datetime | None]
    stuck_reason: Mapped[str | None]


class Lease(StatefulRow, Retried):
    """One credential: a login on the live database, or on a sandbox when `snapshot_id` is set; or a
    token for a platform, when `platform_id` is; or a session on a bucket, when `storage_id` is.

    A login's password is the client's alone; `verifier` is a SCRAM verifier, cleared at the end. A
    token is kept as `token_digest` (SHA-256); `sealed` is the token, sealed to `sealed_to`, the key
    of who waits for it (HPKE, see `broker.keys.intake`), and cleared as soon as it was fetched. Its
    `role_name` is the lease's own id, which is the token's `jti`. `paused_at` is a
    pause of this login that is wanted, `held_at` that it is done (see `pausing`).

    `first_seen_at` is when somebody was first seen in it. Of its end: `looked_at` are the servers
    (see `revoking.Place`), `role_oid` what a session that outlives the role is known by, and
    `stuck_sql` what a superuser could run there while it does not come.
    """

    __tablename__ = "lease"
    grant_id: Mapped[str] = mapped_column(sa.ForeignKey("access_grant.id"))
    snapshot_id: Mapped[str | None]
    person_id: Mapped[str] = mapped_column(sa.ForeignKey("person.id"))
    database_id: Mapped[str | None] = mapped_column(sa.ForeignKey("tenant_database.id"))
    server_id: Mapped[str | None] = mapped_column(sa.ForeignKey("test_server.id"))
    platform_id: Mapped[str | None] = mapped_column(sa.ForeignKey("platform.id"))
    storage_id: Mapped[str | None] = mapped_column(sa.ForeignKey("storage.id"))
    dbname: Mapped[str]
    port: Mapped[int | None]  # of a copy's own server; else that of the registered one
    role_name: Mapped[str] = mapped_column(unique=True)
    scope_name: Mapped[str]
    verifier: Mapped[str | None]
    sealed_to: Mapped[bytes | None]
    sealed: Mapped[bytes | None]
    token_digest: Mapped[bytes | None] = mapped_column(unique=True)
    ends_at: Mapped[datetime]
    asked_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    paused_at: Mapped[datetime | None]
    paused_by: Mapped[str | None] = mapped_column(sa.ForeignKey("person.id"))
    paused_side: Mapped[str | None]
    held_at: Mapped[datetime | None]
    login_refused_at: Mapped[datetime | None]
    last_session_dead_at: Mapped[datetime | None]
    role_gone_at: Mapped[datetime | None]
    looked_at: Mapped[list[Json]] = mapped_column(JSONB, server_default="[]")
    role_oid: Mapped[int | None] = mapped_column(sa.BigInteger)
    first_seen_at: Mapped[datetime | None]
    stuck_sql: Mapped[str | None]
    settled_at: Mapped[datetime | None]
