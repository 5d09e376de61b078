"""Which cluster stands behind the address of a registered server, and whether it was swept.

    first contact ─▶ known ─▶ swept ──another timeline──▶ known, to be swept ─▶ swept
                                └──another cluster──▶ held until a person confirms it ─▶ known

A server that was restored has roles again that were ended; a clone has all of them; and a name that
leads to another cluster finds nothing gone and everything "absent". What must stay true: nothing is
made on a server before what stands there was swept on this timeline; nothing counts as gone because
another cluster does not know it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from dataclasses import replace

import sqlalchemy as sa

from broker import mail, people, tenants, trail
from broker.db import Database
from broker.engines import Target
from broker.engines.postgres.account import MARK
from broker.engines.postgres.connect import (
    AnotherServer,
    LoginRefused,
    ServerRestored,
    read_identity,
)
from broker.engines.postgres.looks import list_marked_roles, session
from broker.engines.postgres.scopes import label_place
from broker.errors import Conflict, VerificationFailed
from broker.grants.model import Lease, LiveScope
from broker.grants.states import LEASE_OPEN
from broker.ids import TenantId, is_id
from broker.labels import read_label
from broker.letters import Letter, Phrase, phrase
from broker.secret import Secret
from broker.tenants import TenantDatabase, TestServer
from broker.tx import Tx, system

_ACTOR = system("worker")
Registered = TenantDatabase | TestServer


def to_make(row: Registered, target: Target) -> Target:
    """The target with the timeline on which alone something may be made. Raises ServerRestored."""
    if row.cluster is not None and row.timeline is None:
        raise ServerRestored(
            f"{row.id} was restored, or is new to the broker with roles of ours on it: what stands "
            "there is ended first, within minutes; it is tried again"
        )
    return replace(target, timeline=row.timeline)


def meet(database: Database, target: Target, registered_id: str, key: Secret[bytes]) -> None:
    """Note which cluster this is; at first contact also whether nothing of ours is left there.

    Raises AnotherServer, noted for the operator and told to both sides; ServerUnavailable.
    """
    try:
        with session(target) as connection:
            cluster, timeline = read_identity(connection)
            weak = not connection.execute(_POWERS, [MARK]).fetchall()[0][0]
    except LoginRefused:
        _note_login(database, registered_id, refused=True)
        raise
    except AnotherServer as error:
        _note_another(database, registered_id, error.facts["found"])
        raise
    with database.begin(_ACTOR) as tx:
        row = get_registered(tx, registered_id)
        known = row.refused_since is not None
    if weak != known:
        _note_login(database, registered_id, refused=weak)
    with database.begin(_ACTOR) as tx:
        row = get_registered(tx, registered_id)
        if (row.cluster, row.timeline) == (cluster, timeline) and row.found_cluster is None:
            return
        first = row.cluster is None
        row.found_cluster = None
        if not first and row.timeline not in {None, timeline}:
            row.timeline = None
            _tell(tx, row, "server.restored", {"timeline": timeline})
    if not first:
        return
    left = _list_left(database, target, key)
    with database.begin(_ACTOR) as tx:
        row = get_registered(tx, registered_id)
        if row.cluster is None:
            row.cluster, row.timeline = cluster, None if left else timeline
            _tell(tx, row, "server.met", {"cluster": cluster, "left": len(left)})


# Without any of these a login is neither made nor ended.
_POWERS = """
    SELECT rolcreaterole AND pg_has_role('pg_signal_backend', 'USAGE')
           AND coalesce(pg_has_role(to_regrole(%s)::oid, 'USAGE WITH ADMIN OPTION'), false)
      FROM pg_roles WHERE rolname = current_user
"""


def _note_login(database: Database, registered_id: str, *, refused: bool) -> None:
    """Told to both sides when it begins, and written down when it is over."""
    with database.begin(_ACTOR) as tx:
        row = get_registered(tx, registered_id, lock=True)
        if (row.refused_since is not None) == refused:
            return
        row.refused_since = tx.at if refused else None
        _tell(tx, row, "login.refused" if refused else "login.accepted", {})
        if not refused:
            return
        subject = phrase("Our login is refused at %(name)s", name=row.name)
        _write(tx, row, (subject, _refused(row)), (subject, _refused_for_admins(row)))


def _refused(row: Registered) -> list[Phrase]:
    return [
        phrase(
            "%(name)s (%(id)s) can't be managed: our login %(login)s is refused, or lost what it "
            "rests on. No login is made there, and none can be ended but by its own VALID UNTIL.",
            name=row.name,
            id=row.id,
            login=row.login,
        ),
        phrase(
            "See what it lacks with: %(check)s\n"
            "If the DBA has set a new password, give it with: %(give)s",
            check=f"broker {_noun(row)} check {row.id}",
            give=f"broker {_noun(row)} password {row.id}",
        ),
    ]


def _refused_for_admins(row: Registered) -> list[Phrase]:
    return [
        phrase(
            "At %(name)s (%(id)s) our login %(login)s is refused, or lost what it rests on. We "
            "make no access there, and can end none: what is open ends by its own VALID UNTIL, but "
            "open sessions do not. Your DBA can give our login back what it had, or end the "
            "sessions; the page Preflight shows the SQL.",
            name=row.name,
            id=row.id,
            login=row.login,
        )
    ]


def settle(database: Database, target: Target, registered_id: str, key: Secret[bytes]) -> bool:
    """After a sweep: note that nothing of ours stands there without a row, if that is so."""
    with session(target) as connection:
        cluster, timeline = read_identity(connection)
    if timeline == 0 or _list_left(database, target, key):
        return False
    with database.begin(_ACTOR) as tx:
        row = get_registered(tx, registered_id)
        if row.cluster == cluster and row.timeline is None:
            row.timeline = timeline
            _tell(tx, row, "server.swept", {"timeline": timeline})
    return True


def confirm(tx: Tx, registered_id: str, cluster: str) -> Registered:
    """A person's word that another cluster took the former one's place, which is shut down.

    It is swept before anything is made there. Raises Denied, NotFound, Conflict when `cluster` is
    not the one that was found.
    """
    people.check(tx, "server:confirm")
    row = get_registered(tx, registered_id, lock=True)
    if row.found_cluster is None or row.found_cluster != cluster:
        found = f"the one found there is {row.found_cluster}" if row.found_cluster else "none was"
        raise Conflict(f"no cluster {cluster} waits for your word at {row.id}: {found}")
    facts = {"before": row.cluster or "", "cluster": cluster}
    row.cluster, row.timeline, row.found_cluster = cluster, None, None
    _tell(tx, row, "server.confirmed", facts)
    return row


def get_registered(tx: Tx, registered_id: str, *, lock: bool = False) -> Registered:
    """Raises NotFound."""
    get = tenants.get_database if is_id(registered_id, "dbs") else tenants.get_server
    row = get(tx, registered_id)
    if lock:
        tx.session.refresh(row, with_for_update=True)
    return row


def _note_another(database: Database, registered_id: str, found: str) -> None:
    with database.begin(_ACTOR) as tx:
        row = get_registered(tx, registered_id, lock=True)
        if row.found_cluster == found:
            return
        row.found_cluster = found
        _tell(tx, row, "server.another", {"before": row.cluster or "", "cluster": found})
        _write(
            tx,
            row,
            (phrase("Another server at %(name)s", name=row.id), _another(row, found)),
            (phrase("Another server at %(name)s", name=row.name), _another_for_admins(row)),
        )


def _write(
    tx: Tx,
    row: Registered,
    to_operators: tuple[Phrase, list[Phrase]],
    to_admins: tuple[Phrase, list[Phrase]],
) -> None:
    """To the vendor's operators, and of a tenant's database to its admins too."""
    mail.write_to_roles(tx, None, ["operator"], Letter(*to_operators, kind="technical"))
    if isinstance(row, TenantDatabase):
        tenant_id = TenantId(row.tenant_id)
        page = f"/databases/{row.id}"
        mail.write_to_roles(
            tx, tenant_id, ["admin"], Letter(*to_admins, kind="technical", page=page)
        )


def _noun(row: Registered) -> str:
    return "databases" if isinstance(row, TenantDatabase) else "servers"


def _another(row: Registered, found: str) -> list[Phrase]:
    return [
        phrase(
            "The server of %(name)s (%(id)s) is another one than before. Nothing is made there, "
            "and no login counts as ended because this one does not know it.",
            name=row.name,
            id=row.id,
        ),
        phrase(
            "If it took the place of the former one, and that one is shut down, say so:\n"
            "  %(confirm)s",
            confirm=f"broker {_noun(row)} confirm {row.id} --cluster {found}",
        ),
        phrase("If not, the name leads astray: mend it, and look again."),
    ]


def _another_for_admins(row: Registered) -> list[Phrase]:
    return [
        phrase(
            "At the address of %(name)s (%(id)s) another server answers than before. We make no "
            "access there, and call no login ended, until we know that it took the former one's "
            "place. If you moved the database, tell us; if not, somebody should look where its "
            "name leads.",
            name=row.name,
            id=row.id,
        )
    ]


def _tell(tx: Tx, row: Registered, kind: str, facts: Mapping[str, str | int]) -> None:
    tenant_id = TenantId(row.tenant_id) if isinstance(row, TenantDatabase) else None
    trail.record(tx, tenant_id, kind, row.id, facts)


def _list_left(database: Database, target: Target, key: Secret[bytes]) -> Collection[str]:
    """Logins and scopes with a true label of ours and without an open row."""
    ours: dict[str, set[str]] = {"lease": set(), "scope": set()}
    for role in list_marked_roles(target):
        place = label_place(role.name)
        with contextlib.suppress(VerificationFailed):
            label = read_label(role.comment or "", place, key)
            ours.get(label.kind, set()).add(place)
    with database.begin(_ACTOR) as tx:
        open_ = tx.session.execute(
            sa.select(Lease.role_name, Lease.scope_name).where(
                Lease.role_name.in_(ours["lease"]), Lease.state.in_(LEASE_OPEN)
            )
        ).all()
        made = tx.session.scalars(
            sa.select(LiveScope.name).where(
                LiveScope.name.in_(ours["scope"]), LiveScope.dropped_at.is_(None)
            )
        ).all()
    live, used = {role for role, _ in open_}, {scope for _, scope in open_}
    return (ours["lease"] - live) | (ours["scope"] - set(made) - used)
