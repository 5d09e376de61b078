"""G8, later: what comes back after a destruction is found, destroyed, and told."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from broker import janitor, lateness, sweeps
from broker.audit.revocation import verify_revocation
from broker.audit.verify import verify_bundle, verify_certificate
from broker.mail import Mail
from broker.snapshots import certificates
from broker.snapshots.later_looks import AFTER_S
from broker.snapshots.model import LaterLook, Remnant
from broker.snapshots.queries import get_snapshot_view, list_certificates
from broker.tx import system
from tests.janitor_world import make_sandbox, put_object
from tests.stories import (
    control_superuser,
    exported,
    pinned,
    ready_copy,
    shut_out,
    skip,
    sweep,
)
from tests.world import World

HOUR, DAY = timedelta(hours=1, seconds=1), timedelta(days=1, seconds=1)


def destroyed_copy(world: World) -> str:
    grant_id, snapshot_id = ready_copy(world)
    world.close_ticket(world.grant(grant_id).ticket_id)
    world.work()
    assert world.snapshot(snapshot_id).state == "destroyed"
    return snapshot_id


def remnants(world: World) -> list[Remnant]:
    with world.as_(system("tests")) as tx:
        return list(tx.session.scalars(sa.select(Remnant).order_by(Remnant.found_at)))


def looks_left(world: World) -> list[int]:
    with world.as_(system("tests")) as tx:
        query = sa.select(LaterLook.after_s).where(LaterLook.passed_at.is_(None))
        return sorted(tx.session.scalars(query))


def passed(world: World) -> list[int]:
    entries = [entry for entry in world.entries() if entry["kind"] == "look.passed"]
    return [entry["facts"]["after_s"] for entry in entries]


def put_back(world: World, snapshot_id: str, what: str) -> None:
    if what == "artifact":
        put_object(world, f"snapshots/{snapshot_id}/table-00000")
    elif what == "sandbox":
        make_sandbox(world, snapshot_id)
    else:
        folder = world.broker.settings.keys.keyring or Path()
        path = folder / "wrapping" / f"snapshot.{snapshot_id}.key"
        path.write_bytes(b"k" * 32)
        path.chmod(0o600)


def test_a_destroyed_copy_is_looked_at_again_after_an_hour_a_day_a_week_and_a_month(
    world: World,
) -> None:
    destroyed_copy(world)
    assert looks_left(world) == sorted(AFTER_S)
    sweep(world)
    assert passed(world) == []
    for number, after_s in enumerate(AFTER_S, start=1):
        skip(world, timedelta(seconds=after_s - 1800))
        sweep(world)
        assert len(passed(world)) == number - 1
        skip(world, timedelta(seconds=after_s + 60))
        sweep(world)
        assert passed(world) == list(AFTER_S[:number])
    assert looks_left(world) == []
    assert remnants(world) == []


@pytest.mark.long
def test_a_look_that_cannot_be_made_is_tried_again_and_never_skipped(world: World) -> None:
    snapshot_id = destroyed_copy(world)
    with shut_out(world, "test"):
        skip(world, DAY)
        sweep(world)
        assert passed(world) == []
        with world.as_(system("tests")) as tx:
            late = lateness.list_late(tx)
        late = [item for item in late if item.what != "log"]  # no worker signs logs here
        assert {(item.what, item.id) for item in late} == {("look", snapshot_id)}
        assert all("waiting" not in item.reason for item in late)
    assert remnants(world) == []
    skip(world, DAY + timedelta(seconds=301))
    sweep(world)
    assert passed(world) == [3600, 86400]


@pytest.mark.long
def test_what_came_back_is_a_remnant_and_its_certificate_is_revoked_and_replaced(
    world: World,
) -> None:
    snapshot_id = destroyed_copy(world)
    first = _certificates(world)[-1]
    before = world.snapshot(snapshot_id)
    for what in ("artifact", "sandbox", "data key"):
        put_back(world, snapshot_id, what)
    skip(world, HOUR)
    sweep(world)

    (remnant,) = remnants(world)
    assert (remnant.state, remnant.certificate_id) == ("destroyed", first.id)
    assert remnant.snapshot_id == snapshot_id
    assert remnant.kinds == ["artifact", "data key", "sandbox database", "sandbox role"]
    after = world.snapshot(snapshot_id)
    assert (after.state, after.state_at) == (before.state, before.state_at)
    second, old = _certificates(world)
    assert (old.id, old.revoked_at is None, second.revoked_at) == (first.id, False, None)
    with world.as_(world.admin) as tx:
        assert get_snapshot_view(tx, snapshot_id).certificate_id == second.id
    _check_statements(world, remnant, first.id, second.envelope)

    # The look itself stays due, and passes now; the remnant is looked at later as a copy is.
    skip(world, HOUR * 3)
    sweep(world)
    assert passed(world) == [3600, 3600]
    assert len(remnants(world)) == 1
    bundle = verify_bundle(exported(world), pinned(world))
    assert bundle.ok, [finding.text for finding in bundle.findings if not finding.ok]
    assert bundle.summary.certificates == (second.id,)


def _certificates(world: World) -> list:
    with world.as_(world.admin) as tx:
        return list_certificates(tx)


def _check_statements(world: World, remnant: Remnant, first: str, second: bytes) -> None:
    with world.as_(system("tests")) as tx:
        revocation = certificates.find_revocation(tx, first)
    assert revocation is not None
    told = verify_revocation(revocation.envelope, pinned(world))
    assert told.ok
    assert told.statement is not None
    assert (told.statement["certificate"], told.statement["remnant"]) == (first, remnant.id)
    forged = json.loads(revocation.envelope)
    payload = base64.b64decode(forged["payload"]).replace(b"crt_", b"crt-")
    forged["payload"] = base64.b64encode(payload).decode()
    assert not verify_revocation(json.dumps(forged).encode(), pinned(world)).ok

    report = verify_certificate(second, pinned(world))
    assert report.ok
    statement = dict(report.statement or {})
    assert statement["replaces"] == first
    found = [look["found"] for look in statement["looks"]]
    assert any(found)
    assert not any(found[-4:])
    kinds = world.kinds()
    order = ["remnant.condemned", "certificate.revoked", "remnant.destroyed"]
    assert min(kinds.index(kind) for kind in order) == kinds.index("remnant.condemned")
    assert max(i for i, kind in enumerate(kinds) if kind == "certificate.issued") > max(
        kinds.index(kind) for kind in order
    )
    with world.as_(system("tests")) as tx:
        mails = tx.session.scalars(
            sa.select(Mail.subject).where(Mail.person_id == world.admin.person_id)
        ).all()
    assert f"A part of the destroyed copy {remnant.snapshot_id} was found" in mails


@pytest.mark.long
def test_what_the_janitor_found_makes_a_remnant_too_and_once(world: World) -> None:
    snapshot_id = destroyed_copy(world)
    put_back(world, snapshot_id, "artifact")
    assert janitor.look_everywhere(world.ports) == 1
    sweep(world)
    (remnant,) = remnants(world)
    assert (remnant.state, remnant.kinds) == ("destroyed", ["artifact"])
    sweep(world)
    assert len(remnants(world)) == 1
    assert [row.revoked_at is None for row in _certificates(world)] == [True, False]
    with (
        control_superuser(world) as connection,
        pytest.raises(psycopg.errors.RaiseException, match="can't become"),
    ):
        connection.execute("UPDATE remnant SET state = 'condemned'")


@pytest.mark.long
def test_no_certificate_is_issued_while_a_part_is_known_to_be_left(world: World) -> None:
    snapshot_id = destroyed_copy(world)
    put_back(world, snapshot_id, "artifact")
    with shut_out(world, "test"):
        skip(world, HOUR)
        janitor.look_everywhere(world.ports)
        sweep(world)
        (remnant,) = remnants(world)
        assert (remnant.state, bool(remnant.stuck_reason)) == ("condemned", True)
        certificates.certify(world.ports, snapshot_id)
        certificates.certify(world.ports, remnant.id)
        assert [row.revoked_at is None for row in _certificates(world)] == [False]
        with world.as_(system("tests")) as tx:
            assert ("remnant", remnant.id) in {(x.what, x.id) for x in lateness.list_late(tx, 0)}
    skip(world, HOUR + timedelta(seconds=301))
    sweep(world)
    assert [row.revoked_at is None for row in _certificates(world)] == [True, False]
    assert world.kinds().count("remnant.stuck") == 1


@pytest.mark.long
def test_lost_jobs_lose_nothing_of_a_remnant(world: World) -> None:
    """G7: the tables are asked, also for a revocation and for a certificate."""
    snapshot_id = destroyed_copy(world)
    put_back(world, snapshot_id, "artifact")
    skip(world, HOUR)
    for _ in range(3):
        sweeps.sweep_retries(world.broker.database, world.broker.queue, 0)
        with control_superuser(world) as connection:
            connection.execute("DELETE FROM procrastinate_jobs WHERE task_name <> 'look_again'")
        world.work()
    with control_superuser(world) as connection:
        connection.execute("DELETE FROM procrastinate_jobs")
    skip(world, HOUR + timedelta(seconds=301))
    sweep(world)
    assert [row.state for row in remnants(world)] == ["destroyed"]
    assert [row.revoked_at is None for row in _certificates(world)] == [True, False]
