"""Batches of lease roles: memberships change in as few statements as there are scopes."""

from __future__ import annotations

from broker.engines.postgres.account import MARK
from broker.engines.postgres.leases import creation
from tests.engines.registered import new_lease

_SERVER = 170000


def test_a_batch_changes_memberships_once_for_the_mark_and_each_scope_after_all_else() -> None:
    """Each change makes PostgreSQL 16+ read all of our login's anew: one for every live lease."""
    scopes = ["sab_s_000000000001", "sab_s_000000000002"]
    leases = [new_lease(scopes[number % 2]).role for number in range(50)]
    texts = [one.as_string() for one in creation(leases, _SERVER, bounded=True, login=True)]
    grants = [text for text in texts if text.startswith("GRANT")]
    assert texts[-3:] == grants
    assert [text.split('"')[1] for text in grants] == [MARK, *scopes]
    assert all(grants[0].count(f'"{lease.role}"') == 1 for lease in leases)
    assert [text.count('"sab_l_') for text in grants] == [50, 25, 25]
    assert ["SET FALSE" in text for text in grants] == [True] * 3


def test_a_role_made_by_itself_may_not_log_in_before_it_was_checked() -> None:
    lease = new_lease("sab_s_000000000001").role
    made, *rest = [one.as_string() for one in creation([lease], _SERVER, bounded=True)]
    assert " NOLOGIN " in made
    assert not any("LOGIN" in text for text in rest)
