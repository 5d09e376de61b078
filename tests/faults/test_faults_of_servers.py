"""What the tenant's server, the test server and the control database do wrong, behind real doors.

Each cell of the matrix (`tests.faults.matrix`): a copy or a login is to end, the fault is there
meanwhile, and then it is over. Whatever was said meanwhile was true, and in the end all is gone.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from broker.engines.postgres import line
from broker.engines.postgres.connect import StandbyAnswers
from broker.engines.postgres.copying.sandbox import list_sandboxes
from broker.snapshots import certificates, destroying
from tests.engines.standby import lagging, standby_of
from tests.faults.behind import Behind
from tests.faults.door import (
    Cut,
    Fault,
    Hung,
    NthCommit,
    Refused,
    SaidDone,
    SaidFailed,
    Slow,
    refusal,
    said,
    socket_of,
)
from tests.stories import DEADLINE_S, control_database, control_superuser, live_database
from tests.world import connect

pytestmark = pytest.mark.long

DROP_DATABASE, DROP_ROLE = b"DROP DATABASE", b"DROP ROLE"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for in vain for longer than this."""
    monkeypatch.setattr(line, "LIMIT_S", 1.0)


FULL = b"53100"
OF_TEST: dict[str, Callable[[], list[Fault]]] = {
    "refused": lambda: [Refused()],
    "hung": lambda: [Hung(), Hung(DROP_DATABASE)],
    "cut at byte n": lambda: [Cut(n) for n in (0, 1, 9, 400, 700, 900, 1200)],
    "said done, not done": lambda: [SaidDone(DROP_DATABASE, said(DROP_DATABASE))],
    "out of space": lambda: [SaidDone(DROP_DATABASE, refusal(FULL))],
}


@pytest.mark.parametrize("fault", OF_TEST)
def test_a_test_server_that_ends_nothing_keeps_the_copy_condemned_until_it_does(
    behind: Behind, fault: str
) -> None:
    snapshot_id = behind.condemned()
    for wrong in OF_TEST[fault]():
        with behind.test.misbehaving(wrong):
            behind.end(snapshot_id)
            assert behind.is_stuck(snapshot_id)
        key = f"snapshot/{snapshot_id}"
        assert key not in behind.world.ports.keys.list_names("snapshot/")  # whatever else is stuck
    behind.finish(snapshot_id)


@pytest.mark.parametrize("fault", ["done, said failed", "slow"])
def test_a_test_server_that_does_it_and_says_little_of_it_ends_the_copy_once(
    behind: Behind, fault: str
) -> None:
    snapshot_id = behind.condemned()
    wrong = Slow() if fault == "slow" else SaidFailed(DROP_DATABASE)
    with behind.test.misbehaving(wrong):
        for _ in range(2):
            behind.end(snapshot_id)
    behind.finish(snapshot_id)


def test_a_test_server_that_only_reads_keeps_the_copy_condemned(behind: Behind) -> None:
    """As its operator sets it for a move."""
    snapshot_id = behind.condemned()
    setting = "default_transaction_read_only"
    with connect(behind.world.test) as connection:
        connection.execute(f"ALTER SYSTEM SET {setting} = on")
        connection.execute("SELECT pg_reload_conf()")
        try:
            behind.end(snapshot_id)
            assert "sandbox" in behind.is_stuck(snapshot_id)
        finally:
            connection.execute(f"SET {setting} = off")
            connection.execute(f"ALTER SYSTEM RESET {setting}")
            connection.execute("SELECT pg_reload_conf()")
    behind.finish(snapshot_id)


OF_LIVE: dict[str, Callable[[], list[Fault]]] = {
    "refused": lambda: [Refused()],
    "hung": lambda: [Hung(b"ALTER ROLE"), Hung(DROP_ROLE)],
    "cut at byte n": lambda: [Cut(n) for n in (0, 1, 9, 400, 700, 900, 1200)],
    "said done, not done": lambda: [SaidDone(DROP_ROLE, said(b"DROP ROLE"))],
    "out of space": lambda: [SaidDone(b"ALTER ROLE", refusal(FULL))],
}


@pytest.mark.parametrize("fault", OF_LIVE)
def test_a_tenants_server_that_ends_nothing_keeps_the_login_revoking_until_it_does(
    behind: Behind, fault: str
) -> None:
    lease_id = behind.revoking()
    for wrong in OF_LIVE[fault]():
        with behind.live.misbehaving(wrong):
            assert behind.revoke(lease_id) == "revoking"
            assert behind.world.find_lease(lease_id).stuck_reason
    assert behind.revoke(lease_id) == "revoked"


@pytest.mark.parametrize("fault", ["done, said failed", "slow"])
def test_a_tenants_server_that_does_it_and_says_little_of_it_ends_the_login_once(
    behind: Behind, fault: str
) -> None:
    lease_id = behind.revoking()
    with behind.live.misbehaving(Slow() if fault == "slow" else SaidFailed(DROP_ROLE)):
        behind.revoke(lease_id)
    assert behind.revoke(lease_id) == "revoked"
    kinds = [e["kind"] for e in behind.world.entries() if e["subject"] == lease_id]
    assert kinds.count("lease.revoked") == 1


def test_a_tenants_server_that_only_reads_keeps_the_login_revoking(behind: Behind) -> None:
    lease_id = behind.revoking()
    with connect(behind.world.live) as connection:
        connection.execute(
            f"ALTER DATABASE {behind.world.crm} SET default_transaction_read_only=on"
        )
        assert behind.revoke(lease_id) == "revoking"
        connection.execute(f"ALTER DATABASE {behind.world.crm} RESET default_transaction_read_only")
    assert behind.revoke(lease_id) == "revoked"


def test_an_old_replica_at_a_servers_name_counts_nothing_as_gone(
    behind: Behind, servers_folder: Path
) -> None:
    """It has never heard of the login, nor of the copy: that is no word about the primary."""
    primary, lease_id = behind.world.live, ""
    with standby_of(primary, servers_folder / "old") as standby, lagging(standby):
        lease_id = behind.revoking()
        with behind.live.leading_to(socket_of(standby.host, standby.port)):
            assert behind.revoke(lease_id) == "revoking"
            assert "standby" in str(behind.world.find_lease(lease_id).stuck_reason)
            with pytest.raises(StandbyAnswers):
                list_sandboxes(live_database(behind.world))
    assert behind.revoke(lease_id) == "revoked"


def test_another_cluster_at_a_test_servers_name_counts_nothing_as_gone(behind: Behind) -> None:
    """It lets us in, and lists no sandbox."""
    snapshot_id, other = behind.condemned(), behind.world.live
    with behind.test.leading_to(socket_of(other.host, other.port)):
        behind.end(snapshot_id)
        assert "another one" in behind.is_stuck(snapshot_id)
    behind.finish(snapshot_id)


# The control database: here nothing can be noted, so what stands is what was committed.


OF_CONTROL: dict[str, Callable[[], list[Fault]]] = {
    "refused": lambda: [Refused()],
    "cut at byte n": lambda: [Cut(n) for n in (0, 1, 9, 300, 1500, 4000, 9000)],
    "out of space": lambda: [SaidDone(b"INSERT INTO", refusal(FULL, b"E"))],
    "slow": lambda: [Slow()],
}


@pytest.mark.parametrize("fault", OF_CONTROL)
def test_a_control_database_that_fails_leaves_what_was_committed_and_no_more(
    behind: Behind, fault: str
) -> None:
    snapshot_id = behind.condemned()
    for wrong in OF_CONTROL[fault]():
        with behind.control.misbehaving(wrong):
            try_to_end(behind, snapshot_id)
    behind.finish(snapshot_id)


def test_each_commit_that_is_done_and_said_failed_is_met_again_and_done_once(
    behind: Behind,
) -> None:
    snapshot_id = behind.condemned()
    for number in range(1, 40):
        fault = NthCommit(number)
        with behind.control.misbehaving(fault):
            try_to_end(behind, snapshot_id)
        if fault.seen < number:
            break
    assert 3 < number < 39
    behind.finish(snapshot_id)


def test_a_control_database_that_hangs_is_waited_for_and_then_work_goes_on(
    behind: Behind,
) -> None:
    snapshot_id = behind.condemned()
    fault = Hung(b"audit_entry")
    thread = threading.Thread(target=try_to_end, args=(behind, snapshot_id), daemon=True)
    with behind.control.misbehaving(fault):
        thread.start()
        assert fault.seen.wait(DEADLINE_S)
        behind.check_truth(snapshot_id)
    thread.join()
    behind.finish(snapshot_id)


def test_a_control_database_that_only_reads_ends_nothing_and_says_nothing(behind: Behind) -> None:
    """A standby that was not promoted yet, as far as anybody sees."""
    snapshot_id = behind.condemned()
    database = control_database(behind.world)
    with control_superuser(behind.world) as connection:
        connection.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
        behind.broker.database.engine.dispose()
        try_to_end(behind, snapshot_id)
        connection.execute(f"ALTER DATABASE {database} RESET default_transaction_read_only")
        behind.broker.database.engine.dispose()
    assert not behind.is_certified(snapshot_id)
    behind.finish(snapshot_id)


def try_to_end(behind: Behind, snapshot_id: str) -> None:
    """As a worker's job: what it raises is logged, and met again by the sweep."""
    with contextlib.suppress(sa.exc.DBAPIError, psycopg.Error):
        destroying.destroy(behind.ports, snapshot_id)
        certificates.certify(behind.ports, snapshot_id)
    behind.check_truth(snapshot_id)
