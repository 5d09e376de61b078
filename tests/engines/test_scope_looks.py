"""A new scope is tried out by a login of its own, before anybody gets one on it (G1, G3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from broker.embedded import EmbeddedServer
from broker.engines import ServerUnavailable
from broker.engines.postgres.leases import ScopeExceeded, issue
from broker.engines.postgres.looks import list_marked_roles
from broker.engines.postgres.scope_looks import ScopeNotAsPlanned, try_out
from broker.engines.postgres.scopes import Scope, drop_scope, make_scope
from broker.labels import Label
from tests.engines.registered import (
    LABEL_KEY,
    Registered,
    label_text,
    masked_scope,
    new_lease,
    new_scope_name,
    register,
)


@pytest.fixture(scope="module")
def live(live_server: EmbeddedServer) -> Registered:
    return register(live_server)


@pytest.fixture
def scope(live: Registered) -> Iterator[Scope]:
    made = masked_scope(new_scope_name())
    (view,) = made.views
    scope = replace(made, views=(replace(view, columns=("id", "email")),))
    make_scope(live.target, scope, label_text(scope.name, "scope"), keyed=True)
    yield scope
    drop_scope(live.target, scope.name)


def tried(live: Registered, scope: Scope, *, shared: bool = False) -> None:
    role = f"sab_l_{scope.name[6:]}_try"
    end = datetime.now(UTC) + timedelta(minutes=5)
    label = Label("lease", "lse_" + "a" * 26, end, role)
    try:
        try_out(live.target, scope, label, LABEL_KEY, shared=shared)
    finally:
        assert role not in [found.name for found in list_marked_roles(live.target)]


def test_a_scope_that_is_as_planned_passes(live: Registered, scope: Scope) -> None:
    tried(live, scope)


def test_what_a_crash_left_of_the_login_is_ended_first(live: Registered, scope: Scope) -> None:
    left = new_lease(scope.name).role
    role = f"sab_l_{scope.name[6:]}_try"
    issue(live.target, replace(left, role=role, label_text=label_text(role)))
    tried(live, scope)


# What somebody did to the scope or beside it, what undoes it, and what is said. `{s}` is the scope.
WRONG = [
    ("ALTER VIEW {s}.customer RESET (security_barrier)", "", "it differs in customer"),
    (
        "CREATE VIEW {s}.more AS SELECT * FROM app.customer; GRANT SELECT ON {s}.more TO {s}",
        "DROP VIEW {s}.more",
        "it differs in more",
    ),
    (
        "REVOKE SELECT ON app.customer FROM sab_reader",
        "GRANT SELECT ON app.customer TO sab_reader",
        "customer can't be read (SQLSTATE 42501)",
    ),
    (
        "CREATE FUNCTION public.peek() RETURNS int SECURITY DEFINER RETURN 1",
        "DROP FUNCTION public.peek()",
        "1 functions that run with their owner's rights that lead around it (public.peek())",
    ),
    (
        (
            "CREATE FOREIGN DATA WRAPPER far; CREATE SERVER far FOREIGN DATA WRAPPER far;"
            " GRANT USAGE ON FOREIGN SERVER far TO PUBLIC"
        ),
        "DROP FOREIGN DATA WRAPPER far CASCADE",
        "1 foreign servers that lead around it (far)",
    ),
    (
        "SELECT lo_create(4242); GRANT SELECT ON LARGE OBJECT 4242 TO PUBLIC",
        "SELECT lo_unlink(4242)",
        "1 large objects that lead around it (4242)",
    ),
]


@pytest.mark.parametrize(("wrong", "undo", "said"), WRONG)
def test_a_scope_that_is_not_as_planned_gives_no_login(
    live: Registered, scope: Scope, wrong: str, undo: str, said: str
) -> None:
    with live.admin() as connection:
        connection.execute(wrong.format(s=scope.name))
        try:
            with pytest.raises(ScopeNotAsPlanned) as refused:
                tried(live, scope)
        finally:
            connection.execute(undo.format(s=scope.name))
    assert said in refused.value.message


def test_the_sql_that_is_told_closes_the_ways_around(live: Registered, scope: Scope) -> None:
    with live.admin() as connection:
        connection.execute("CREATE FUNCTION public.peek() RETURNS int SECURITY DEFINER RETURN 1")
        with pytest.raises(ScopeNotAsPlanned) as refused:
            tried(live, scope)
        connection.execute(refused.value.facts["sql"])
        tried(live, scope)
        connection.execute("DROP FUNCTION public.peek()")


def test_where_tenants_share_no_name_is_told(live: Registered, scope: Scope) -> None:
    with live.admin() as connection:
        connection.execute("CREATE FUNCTION public.zq77() RETURNS int SECURITY DEFINER RETURN 1")
        with pytest.raises(ScopeNotAsPlanned) as refused:
            tried(live, scope, shared=True)
        connection.execute("DROP FUNCTION public.zq77()")
    assert "zq77" not in f"{refused.value.message} {refused.value.facts}"


def test_a_key_that_can_be_read_is_more_than_the_scope(live: Registered, scope: Scope) -> None:
    with live.admin() as connection:
        connection.execute(f"GRANT SELECT ON {scope.name}.masking_key TO {scope.name}")
    with pytest.raises(ScopeExceeded, match="masking_key"):
        tried(live, scope)


def test_who_is_not_let_in_leaves_nothing(live: Registered, scope: Scope) -> None:
    """A way in that is closed is told, and the login that found it does not stay."""
    with live.admin() as connection:
        connection.execute(f"SET ROLE {live.target.user}")  # who gave it takes it away
        connection.execute(f"REVOKE CONNECT ON DATABASE {live.target.dbname} FROM {scope.name}")
    with pytest.raises(ServerUnavailable, match="does not have CONNECT privilege"):
        tried(live, scope)
