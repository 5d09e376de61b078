"""The control database, and what stands in it of the processes that should be at work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from broker import bootstrap, lateness, quarantine, tenants
from broker.db import Database
from broker.doctor.line import Line, bad, ok, warn
from broker.grants.preflights import Preflight
from broker.keys import LOG_KEY, STATEMENTS_KEY
from broker.keys.intake import INTAKE_KEY
from broker.keys.keyring import Keyring
from broker.scheduler import intervals
from broker.settings import Settings
from broker.tide import WHY
from broker.tx import system

_ACTOR = system("doctor")
_CLOCK_WARN_S, _CLOCK_BAD_S = 2, 60
_INTERVALS_LATE, _LATE_S = (
    10,
    120,
)  # a sweep is late after ten of its intervals, two minutes at least

# What the application's role could do beyond its grants: an owner may change any row of a log.
_POWERS = sa.text("""
    SELECT r.rolname,
           array_remove(ARRAY[
               CASE WHEN r.rolsuper THEN 'is a superuser' END,
               CASE WHEN r.rolcreaterole THEN 'may make roles' END,
               CASE WHEN r.rolcreatedb THEN 'may make databases' END,
               CASE WHEN r.rolreplication THEN 'may replicate' END,
               CASE WHEN r.rolbypassrls THEN 'passes row security' END,
               CASE WHEN has_column_privilege(to_regclass('audit_entry'), 'entry', 'UPDATE')
                    THEN 'may change the entries of logs' END], NULL) AS attributes,
           (SELECT count(*) FROM pg_shdepend d
             WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.oid
               AND d.deptype = 'o') AS owned,
           (SELECT count(*) FROM pg_auth_members m WHERE m.member = r.oid) AS memberships
      FROM pg_roles r WHERE r.rolname = current_user
""")


def check_role(database: Database) -> Iterator[Line]:
    """Reached, and with a role that owns nothing (G9: it can't change an entry's bytes)."""
    what, role = "control database", "its role"
    with database.begin(_ACTOR) as tx:
        found = tx.session.execute(_POWERS).one()
    yield ok(what, f"answers, as {found.rolname}")
    too_much = [*found.attributes]
    too_much += [f"owns {found.owned} objects"] if found.owned else []
    too_much += [f"is a member of {found.memberships} roles"] if found.memberships else []
    if too_much:
        yield bad(
            role,
            f"{found.rolname} {', '.join(too_much)}",
            "set BROKER_CONTROL__DSN to the application's own role; the owner is for migrations",
        )
    else:
        yield ok(role, f"{found.rolname} owns nothing and is a member of nothing")


def checks(database: Database, settings: Settings) -> dict[str, Callable[[], Iterator[Line]]]:
    return {
        "migrations": lambda: _check_migrations(database),
        "clock": lambda: _check_clock(database),
        "published keys": lambda: _check_keys(database, settings),
        "scheduler": lambda: _check_scheduler(database),
        "sweeps": lambda: _check_sweeps(database, settings),
        "quarantine": lambda: _check_quarantine(database),
        "late promises": lambda: _check_late(database),
        "preflights": lambda: _check_preflights(database),
    }


def _check_migrations(database: Database) -> Iterator[Line]:
    newest = bootstrap.newest_revision()
    with database.begin(_ACTOR) as tx:
        there = tx.session.scalar(sa.text("SELECT to_regclass('alembic_version') IS NOT NULL"))
        now = (
            tx.session.scalar(sa.text("SELECT version_num FROM alembic_version"))
            if there
            else "none"
        )
    if now == newest:
        yield ok("migrations", f"the newest form, {newest}")
    else:
        yield bad("migrations", f"the form is {now}, this program's is {newest}", "broker migrate")


def _check_clock(database: Database) -> Iterator[Line]:
    """Labels' ends and `broker reap` go by the host's clock, all else by the control database's."""
    before = datetime.now(UTC)
    with database.begin(_ACTOR) as tx:
        theirs = tx.at
    after = datetime.now(UTC)
    # The other clock was read somewhere between the two.
    apart_s = max((before - theirs).total_seconds(), (theirs - after).total_seconds(), 0.0)
    yield judge_clock(apart_s)


def judge_clock(apart_s: float) -> Line:
    """The verdict on two clocks that differ by at least so much."""
    says = f"this host and the control database differ by {apart_s:.1f} s"
    todo = "let both follow the same time server"
    if apart_s > _CLOCK_BAD_S:
        return bad("clock", says, todo)
    if apart_s > _CLOCK_WARN_S:
        return warn("clock", says, todo)
    return ok("clock", says)


def _check_keys(database: Database, settings: Settings) -> Iterator[Line]:
    what = "published keys"
    with database.begin(_ACTOR) as tx:
        published = {
            name: tenants.find_published_key(tx, name)
            for name in (LOG_KEY, STATEMENTS_KEY, INTAKE_KEY)
        }
    missing = [name for name, key in published.items() if key is None]
    if missing:
        yield bad(what, f"nobody has published {', '.join(missing)}", "start: broker worker")
        return
    if settings.keys.keyring is None:
        yield ok(what, "published; there is no keyring here to compare them with")
        return
    keys = Keyring(settings.keys.keyring)
    ours = {name: keys.public(name) for name in (LOG_KEY, STATEMENTS_KEY)}
    ours[INTAKE_KEY] = keys.intake_public()
    other = [name for name, key in ours.items() if published[name] != key]
    if other:
        yield bad(
            what,
            f"{', '.join(other)} of this keyring is not what was published",
            "all workers need the same keyring; find out which one is the right one first",
        )
    else:
        yield ok(what, "equal to the keyring's")


def _check_scheduler(database: Database) -> Iterator[Line]:
    query = "SELECT holder FROM scheduler_lead WHERE until > clock_timestamp()"
    with database.begin(_ACTOR) as tx:
        holder = tx.session.scalar(sa.text(query))
    if holder is None:
        yield bad("scheduler", "none leads: nothing is swept", "start: broker scheduler")
    else:
        yield ok("scheduler", f"{holder} leads")


def _check_sweeps(database: Database, settings: Settings) -> Iterator[Line]:
    """A sweep that no longer runs is a promise that nobody keeps."""
    with database.begin(_ACTOR) as tx:
        runs = tx.session.execute(sa.text("SELECT kind, at FROM sweep_run"))
        ran = {run.kind: run.at for run in runs}
        now = tx.at
    late: list[str] = []
    for name, interval_s in intervals(settings.times).items():
        kind = name.removeprefix("sweep_")
        if kind == name:
            continue  # leaves no run behind
        allowed = timedelta(seconds=max(_LATE_S, _INTERVALS_LATE * interval_s))
        at = ran.get(kind)
        if at is None:
            late.append(f"{kind} has never run")
        elif now - at > allowed:
            late.append(f"{kind} ran last at {at:%Y-%m-%d %H:%M:%S} UTC")
    if late:
        yield bad("sweeps", "; ".join(late), "start: broker worker, with the queue `sweeps`")
    else:
        oldest = min(ran.values())
        yield ok("sweeps", f"all run; the oldest at {oldest:%Y-%m-%d %H:%M:%S} UTC")


def _check_quarantine(database: Database) -> Iterator[Line]:
    with database.begin(_ACTOR) as tx:
        row = quarantine.find_open(tx)
    if row is None:
        yield ok("quarantine", "none")
    else:
        says = f"since {row.began_at:%Y-%m-%d %H:%M:%S} UTC: {'; '.join(WHY[w] for w in row.why)}"
        yield bad("quarantine", says, "broker quarantine show")


def _check_late(database: Database) -> Iterator[Line]:
    with database.begin(_ACTOR) as tx:
        late = lateness.list_late(tx)
    if late:
        first = late[0]
        says = f"{len(late)} late; {first.what} {first.id}: {first.reason}"
        yield bad("late promises", says, "broker health")
    else:
        yield ok("late promises", "none")


def _check_preflights(database: Database) -> Iterator[Line]:
    query = sa.select(Preflight.target).where(Preflight.fatal > 0).order_by(Preflight.target)
    with database.begin(_ACTOR) as tx:
        fatal = tx.session.scalars(query).all()
    if fatal:
        noun = "databases" if fatal[0].startswith("dbs_") else "servers"
        says = f"{len(fatal)} with something fatal, where nothing is issued"
        yield bad("preflights", says, f"broker {noun} check {fatal[0]}")
    else:
        yield ok("preflights", "nothing fatal was found on a registered server")
