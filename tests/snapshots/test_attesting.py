"""What was taken out of a copy by hand is said, not verified: kept apart, and told."""

from __future__ import annotations

import psycopg
import pytest

from broker import lifecycle
from broker.errors import Conflict, Denied, Invalid
from broker.snapshots import attesting, certificates
from broker.snapshots.certificate_pdf import Names, Shown, make_pdf
from broker.snapshots.remnants import find_certificate
from broker.tx import Actor, system
from tests.snapshots.test_certificate_pdf import text_of
from tests.stories import control_superuser, ready_copy
from tests.world import World, add_person


def say(world: World, snapshot_id: str, took: str, actor: Actor | None = None) -> None:
    with world.as_(actor or world.engineer) as tx:
        lifecycle.attest(tx, snapshot_id, took, world.broker.queue)


def test_who_is_done_says_what_was_taken_and_the_copy_ends_with_it_in_its_certificate(
    world: World,
) -> None:
    _, snapshot_id = ready_copy(world)
    with world.as_(system("tests")) as tx:
        colleague = add_person(tx, "engineer", None)
    with pytest.raises(Denied, match="made for another person"):
        say(world, snapshot_id, "nothing", colleague)
    with pytest.raises(Invalid):
        say(world, snapshot_id, "much")
    assert world.snapshot(snapshot_id).state == "ready"
    say(world, snapshot_id, "erased")
    assert world.snapshot(snapshot_id).condemned_why == "its requester is done with it"
    with pytest.raises(Conflict, match="already"):
        say(world, snapshot_id, "erased")
    world.work()
    say(world, snapshot_id, "kept")  # later than the certificate: in the log and on the page
    with world.as_(world.admin) as tx:
        row = find_certificate(tx, snapshot_id)
        assert row is not None
        statement = certificates.read_statement(row.envelope)
        assert [view.took for view in attesting.list_views(tx, snapshot_id)] == ["erased", "kept"]
    assert [(said["by"], said["took"]) for said in statement["attested"]] == [
        (world.engineer.person_id, "erased")
    ]
    text = text_of(make_pdf(Shown(statement, "0" * 64, Names("V", "T", "D", "R")), "fr"))
    assert "avoir tout effacé" in text


def test_a_customer_is_told_of_what_is_kept_and_nobody_takes_back_what_they_said(
    world: World,
) -> None:
    _, snapshot_id = ready_copy(world)
    say(world, snapshot_id, "kept")
    with world.as_(system("tests")) as tx:
        mails = tx.session.connection().exec_driver_sql("SELECT subject FROM mail").scalars()
        assert f"Something of your copy {snapshot_id} was kept" in list(mails)
    with (
        control_superuser(world) as connection,
        pytest.raises(psycopg.errors.RaiseException, match="only ever added to"),
    ):
        connection.execute("UPDATE attestation SET took = 'nothing'")
