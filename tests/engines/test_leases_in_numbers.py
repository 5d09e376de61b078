"""Many leases of one database: none leaves a trace, none is in another's way (cases 22, 23)."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from broker.embedded import EmbeddedServer
from broker.engines.postgres import together
from broker.engines.postgres.leases import issue
from broker.engines.postgres.looks import look, session
from broker.engines.postgres.revoking import revoke
from broker.engines.postgres.scopes import Scope, make_scope
from tests.engines.registered import (
    Registered,
    label_text,
    masked_scope,
    new_lease,
    new_scope_name,
    register,
)
from tests.engines.test_leases import NOTHING

pytestmark = pytest.mark.long

AT_ONCE = 50
ROUNDS = 60 if os.environ.get("SOAK") else 2  # of 50: 3,000 with SOAK=1

# Every grant in the database, and the roles that any of them, or any object, still names.
_GRANTS = """
    SELECT (SELECT sum(cardinality(relacl)) FROM pg_class),
           (SELECT sum(cardinality(nspacl)) FROM pg_namespace),
           (SELECT sum(cardinality(datacl)) FROM pg_database),
           (SELECT count(*) FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid
             WHERE r.rolname ~ '^sab_l_')
"""


@pytest.fixture(scope="module")
def live(live_server: EmbeddedServer) -> Registered:
    return register(live_server)


@pytest.fixture(scope="module")
def scope(live: Registered) -> Scope:
    scope = masked_scope(new_scope_name())
    make_scope(live.target, scope, label_text(scope.name, "scope"), keyed=True)
    return scope


def grants(live: Registered) -> tuple[int, ...] | None:
    with live.admin() as connection:
        return connection.execute(_GRANTS).fetchone()


def test_no_number_of_leases_grows_what_the_database_grants(live: Registered, scope: Scope) -> None:
    """Case 22: where peers grant tables to each login, the 2,444th login of a table fails."""
    before = grants(live)
    for _ in range(ROUNDS):
        leases = [new_lease(scope.name).role for _ in range(AT_ONCE)]
        together.issue(live.target, leases, bounded=True, open_session=session)
        assert grants(live) == before
        names = [lease.role for lease in leases]
        ended = together.revoke(live.target, names, open_session=session)
        for name in set(names) - set(ended):
            revoke(live.target, name)
    assert grants(live) == before


def test_fifty_issued_and_ended_at_the_same_moment_are_all_issued_and_all_ended(
    live: Registered, scope: Scope
) -> None:
    """Case 23: no "tuple concurrently updated" reaches anybody."""
    leases = [new_lease(scope.name) for _ in range(AT_ONCE)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda lease: issue(live.target, lease.role), leases))
        for lease in leases[:3]:
            live.connect(lease).close()
        list(pool.map(lambda lease: revoke(live.target, lease.role.role), leases))
    assert all(look(live.target, lease.role.role) == NOTHING for lease in leases)
