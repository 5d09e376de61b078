"""G13. A person's data can be erased, and every log still verifies afterwards.

Thin here: what opens the log's commitments is erased. Export, and the account itself, come with
issue H.
"""

from __future__ import annotations

from broker import people, trail
from broker.audit.verify import verify_bundle
from broker.tx import system
from tests.stories import control_superuser, exported, pinned, ready_copy
from tests.world import World


def test_erasing_a_person_takes_the_values_away_and_leaves_a_log_that_verifies(
    world: World,
) -> None:
    ready_copy(world)
    assert world.admin.person_id is not None
    with world.as_(system("tests")) as tx:
        person = people.get_person(tx, world.admin.person_id)
        name, email = person.name, person.email
    before = exported(world)
    assert name.encode() in before
    assert email.encode() in before
    assert verify_bundle(before, pinned(world)).ok

    with world.as_(system("tests")) as tx:
        erased = trail.erase_person(tx, world.admin.person_id, [world.tenant])
    assert erased >= 2
    after = exported(world)
    assert name.encode() not in after
    assert email.encode() not in after
    report = verify_bundle(after, pinned(world))
    assert report.ok, [finding.text for finding in report.findings if not finding.ok]
    assert report.summary.entries > len(world.kinds()) - 1
    assert world.kinds()[-1] == "person.erased"
    with control_superuser(world) as connection:
        left = connection.execute(
            "SELECT 1 FROM audit_opening WHERE value LIKE %s OR value LIKE %s",
            [f"%{name}%", f"%{email}%"],
        ).fetchall()
        entries = connection.execute("SELECT entry FROM audit_entry").fetchall()
    assert left == []
    content = b"".join(entry for (entry,) in entries)
    assert name.encode() not in content
    assert email.encode() not in content


def test_entries_and_certificates_name_nobody(world: World) -> None:
    """So that there is nothing in them to erase: names and free text are commitments."""
    from broker.snapshots import certificates
    from tests.world import REASON

    grant_id, _ = ready_copy(world)
    world.close_ticket(world.grant(grant_id).ticket_id)
    world.work()
    with world.as_(world.admin) as tx:
        (certificate,) = certificates.list_of_tenant(tx, world.tenant)
        said = str(certificates.read_statement(certificate.envelope))
        names = [member for t in (world.tenant, None) for member in people.list_members(tx, t)]
    said += str(world.entries())
    assert len(names) >= 3
    for text in (REASON, "Totals are wrong", *(m.name for m in names), *(m.email for m in names)):
        assert text not in said
