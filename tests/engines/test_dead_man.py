"""The dead man's end: no broker is asked in any of these tests (G14)."""

from __future__ import annotations

import contextlib

import psycopg
import pytest
from psycopg import sql

from broker.embedded import EmbeddedServer
from broker.engines.postgres.dead_man import dead_man_sql
from broker.engines.postgres.leases import issue
from broker.engines.postgres.looks import look
from broker.engines.postgres.preflight import check_live
from broker.engines.postgres.revoking import revoke
from broker.engines.postgres.scopes import Scope, make_scope
from tests.engines.registered import (
    Lease,
    Registered,
    label_text,
    masked_scope,
    new_lease,
    new_scope_name,
    register,
    wait_for,
)

CALL = "SELECT sab_dead_man.lock_overdue()"


@pytest.fixture(scope="module")
def live(live_server: EmbeddedServer) -> Registered:
    live = register(live_server)
    assert "dead-man-missing" in codes(live)
    with live.admin() as connection:
        for _ in range(2):
            connection.execute(dead_man_sql())
    assert "dead-man-missing" not in codes(live)
    return live


@pytest.fixture(scope="module")
def scope(live: Registered) -> Scope:
    scope = masked_scope(new_scope_name())
    make_scope(live.target, scope, label_text(scope.name, "scope"), keyed=True)
    return scope


def codes(live: Registered) -> set[str]:
    return {finding.code for finding in check_live(live.target, ["app", "public"])}


def issued(live: Registered, scope: Scope) -> Lease:
    lease = new_lease(scope.name)
    issue(live.target, lease.role)
    return lease


def let_time_pass(connection: psycopg.Connection, lease: Lease, *, by: str) -> None:
    """The end comes: by VALID UNTIL, or by the label of a login that somebody gave more time."""
    role = sql.Identifier(lease.role.role)
    if by == "valid until":
        ended = sql.SQL("ALTER ROLE {} VALID UNTIL 'yesterday'").format(role)
    else:
        text = label_text(lease.role.role, hours=-1)
        ended = sql.SQL("COMMENT ON ROLE {} IS {}").format(role, sql.Literal(text))
        endless = sql.SQL("ALTER ROLE {} VALID UNTIL 'infinity'").format(role)
        connection.execute(endless)
    connection.execute(ended)


def is_dead(connection: psycopg.Connection) -> bool:
    try:
        connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return True
    except psycopg.Error:
        return False
    return False


def may_log_in(connection: psycopg.Connection, lease: Lease) -> bool:
    row = connection.execute(
        "SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", [lease.role.role]
    ).fetchone()
    assert row is not None
    return bool(row[0])


@pytest.mark.parametrize("by", ["valid until", "label"])
def test_a_login_past_its_end_is_locked_with_its_session_and_another_goes_on(
    live: Registered, scope: Scope, by: str
) -> None:
    over, goes_on = issued(live, scope), issued(live, scope)
    with (
        live.admin() as dba,
        contextlib.closing(live.connect(over)) as first,
        contextlib.closing(live.connect(goes_on)) as second,
    ):
        assert dba.execute(CALL).fetchone() == (0,)
        let_time_pass(dba, over, by=by)
        assert dba.execute(CALL).fetchone() == (1,)
        wait_for(lambda: is_dead(first), "the session is over")
        assert not is_dead(second)
        assert not may_log_in(dba, over)
        assert may_log_in(dba, goes_on)
        assert dba.execute(CALL).fetchone() == (0,)
    for lease in (over, goes_on):  # and the broker, back again, ends them as ever
        revoke(live.target, lease.role.role)
        assert look(live.target, lease.role.role).found_nothing


def test_a_login_that_holds_its_own_row_is_locked_by_the_next_call(
    live: Registered, scope: Scope
) -> None:
    lease = issued(live, scope)
    with live.admin() as dba, contextlib.closing(live.connect(lease)) as victim:
        victim.execute("BEGIN")
        victim.execute("ALTER ROLE CURRENT_USER PASSWORD 'mine'")
        dba.execute("BEGIN")  # its own row's lock stands in the way of time passing, too
        dba.execute("SET LOCAL lock_timeout = '100ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            let_time_pass(dba, lease, by="valid until")
        dba.execute("ROLLBACK")
        text = label_text(lease.role.role, hours=-1)
        dba.execute(
            sql.SQL("COMMENT ON ROLE {} IS {}").format(
                sql.Identifier(lease.role.role), sql.Literal(text)
            )
        )
        dba.execute(CALL)
        wait_for(lambda: is_dead(victim), "the session is over")
        dba.execute(CALL)
        assert not may_log_in(dba, lease)
    revoke(live.target, lease.role.role)


def test_neither_the_brokers_login_nor_a_role_without_our_mark_is_touched(
    live: Registered,
) -> None:
    with live.admin() as dba:
        dba.execute("CREATE ROLE sab_l_theirs LOGIN VALID UNTIL 'yesterday'")
        dba.execute(
            sql.SQL("ALTER ROLE {} VALID UNTIL 'yesterday'").format(
                sql.Identifier(live.target.user)
            )
        )
        try:
            assert dba.execute(CALL).fetchone() == (0,)
            question = "SELECT bool_and(rolcanlogin) FROM pg_roles WHERE rolname = ANY(%s)"
            names = ["sab_l_theirs", live.target.user]
            assert dba.execute(question, [names]).fetchone() == (True,)
        finally:
            dba.execute("DROP ROLE sab_l_theirs")
            dba.execute(
                sql.SQL("ALTER ROLE {} VALID UNTIL 'infinity'").format(
                    sql.Identifier(live.target.user)
                )
            )


def test_nobody_but_the_dba_may_call_it(live: Registered, scope: Scope) -> None:
    lease = issued(live, scope)
    refused = pytest.raises(psycopg.errors.InsufficientPrivilege)
    with contextlib.closing(live.connect(lease)) as victim, refused:
        victim.execute(CALL)
    revoke(live.target, lease.role.role)
