"""Access rests on a live consent for its purpose: asked, approved, used, swept, explained."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from broker import lifecycle, mail, sweeps, unconsented
from broker.audit.integrate import integrate_all
from broker.consents import ledger, nightly, queries, why
from broker.consents.ledger import Consent, ConsentMissing
from broker.consents.purposes import (
    LIVE_ACCESS,
    TEST_COPY,
    PurposeRow,
    get_purpose,
    load_purposes,
)
from broker.errors import Conflict, Denied, Invalid, SettingsError
from broker.grants import grounds, in_force
from broker.grants.consented import WHY, ConsentGone
from broker.grants.narrowing import Narrowing
from broker.ids import PersonId, TenantId
from broker.tx import Actor, Tx, system
from tests.consents.test_purposes import FILE
from tests.stories import control_superuser, skip
from tests.world import World, add_person, consent, enrol


@pytest.fixture
def agreed(afresh: World) -> World:
    """Both consents are live, whatever an earlier test withdrew."""
    with afresh.as_(afresh.admin) as tx:
        for purpose in ledger.list_missing(tx, afresh.tenant, [LIVE_ACCESS, TEST_COPY]):
            consent(tx, afresh.tenant, purpose)
    return afresh


def withdraw(world: World, purpose: str, actor: Actor | None = None) -> int:
    with world.as_(actor or world.admin) as tx:
        return lifecycle.withdraw_consent(tx, Consent(world.tenant, purpose), world.broker.queue)


def sweep(world: World) -> int:
    return sweeps.sweep_ends(world.broker.database, world.broker.queue, 0)


def give(tx: Tx, tenant_id: TenantId, purpose: str, **more: str) -> None:
    wanted = Consent(tenant_id, purpose, **more)  # type: ignore[arg-type]
    ledger.give(tx, wanted, get_purpose(tx, purpose).digest("fr"))


def test_nothing_is_asked_for_without_the_consent_to_it(agreed: World) -> None:
    withdraw(agreed, TEST_COPY)
    with pytest.raises(ConsentMissing, match="test_copy") as refused:
        agreed.request(live_s=60, copy_s=60)
    assert refused.value.facts == {"purposes": ["test_copy"]}
    grant_id = agreed.request(live_s=60, copy_s=0)
    assert agreed.grant(grant_id).state == "requested"


def test_a_withdrawal_ends_all_that_rests_on_it_and_nothing_else(agreed: World) -> None:
    """In its own transaction: the entry of the withdrawal is the last."""
    both, live, waiting = agreed.approved(), agreed.approved(copy_s=0), agreed.request()
    agreed.work()
    lease_id, _ = agreed.lease(both)
    snapshot_id = agreed.order(both)
    assert withdraw(agreed, TEST_COPY) == 1
    assert agreed.snapshot(snapshot_id).state == "condemned"
    assert agreed.snapshot(snapshot_id).condemned_why == WHY
    assert {agreed.grant(one).state for one in (both, live)} == {"approved"}
    assert agreed.find_lease(lease_id).state == "pending"
    assert agreed.grant(waiting).state == "requested"
    assert withdraw(agreed, LIVE_ACCESS) >= 3
    for ended in (both, live, waiting):
        assert (agreed.grant(ended).state, agreed.grant(ended).end_reason) == ("ended", WHY)
    assert agreed.find_lease(lease_id).state == "revoking"
    assert agreed.kinds()[-1] == "consent.withdrawn"
    agreed.work()
    assert agreed.find_lease(lease_id).state == "revoked"


@pytest.mark.long
def test_a_standing_approval_ends_with_the_consent_to_what_it_gives(agreed: World) -> None:
    from tests.web.conftest import give_in_advance

    standing_id = give_in_advance(agreed, agreed.approved())
    withdraw(agreed, TEST_COPY)
    with agreed.as_(agreed.admin) as tx:
        states = dict(tx.session.execute(sa.text("SELECT id, state FROM standing_approval")).all())
    assert states[standing_id] == "given"  # it gives no copy
    withdraw(agreed, LIVE_ACCESS)
    with agreed.as_(agreed.admin) as tx:
        states = dict(tx.session.execute(sa.text("SELECT id, state FROM standing_approval")).all())
    assert states[standing_id] == "ended"


def test_what_is_approved_can_be_narrowed_to_what_is_consented_to(agreed: World) -> None:
    grant_id = agreed.request(live_s=60, copy_s=60)
    agreed.work()
    withdraw(agreed, TEST_COPY)
    with pytest.raises(ConsentMissing):
        agreed.approve(grant_id)
    agreed.approve(grant_id, Narrowing(copy_s=0))
    assert agreed.grant(grant_id).state == "approved"


def test_a_consent_that_is_over_opens_nothing_and_the_sweep_ends_what_rested_on_it(
    agreed: World,
) -> None:
    """Level-triggered: nobody withdrew anything, and no job was there to remember it."""
    with agreed.as_(agreed.admin) as tx:
        give(tx, agreed.tenant, TEST_COPY)  # renewed: both lapse at their own time
    skip(agreed, timedelta(days=365))
    with agreed.as_(agreed.admin) as tx:
        give(tx, agreed.tenant, LIVE_ACCESS)
    grant_id = agreed.approved(live_s=3 * 86400 // 4, copy_s=3 * 86400)
    lease_id, _ = agreed.lease(grant_id)
    snapshot_id = agreed.order(grant_id)
    skip(agreed, timedelta(days=366, minutes=10))
    with agreed.as_(system("tests")) as tx:
        with pytest.raises(ConsentGone):
            in_force.check_usable(tx, agreed.grant(grant_id), kind="copy")
        with pytest.raises(ConsentGone):
            grounds.prove(tx, agreed.ports.keys, agreed.grant(grant_id), "copy")
    sweep(agreed)
    assert agreed.snapshot(snapshot_id).condemned_why == WHY
    assert agreed.find_lease(lease_id).state == "revoking"
    with agreed.as_(agreed.admin) as tx:
        acts = [(act.purpose, act.act) for act in queries.list_acts(tx, agreed.tenant)]
        told = tx.session.scalars(
            sa.select(mail.Mail.subject).where(mail.Mail.person_id == agreed.admin.person_id)
        ).all()
    assert acts[0] == (TEST_COPY, "lapsed")
    assert "Consent over: test_copy" in told
    sweep(agreed)
    with agreed.as_(agreed.admin) as tx:
        assert [a.act for a in queries.list_acts(tx, agreed.tenant)].count("lapsed") == 1


@pytest.mark.long
def test_a_new_substance_is_consented_to_afresh(agreed: World, tmp_path: Path) -> None:
    old, file = FILE.read_text(), tmp_path / "purposes.toml"
    grant_id = agreed.approved(live_s=0)
    file.write_text(old.replace("Masked copies for tests", "Masked copies"))
    with agreed.as_(system("migrate")) as tx, pytest.raises(SettingsError, match="raise its"):
        load_purposes(tx, file)
    first, _, rest = old.partition("[test_copy]\n")
    assert "version = 1\ncounts_from = 1" in rest
    for counts_from, state in ((1, "approved"), (2, "ended")):
        version = counts_from + 1
        raised = f"version = {version}\ncounts_from = {counts_from}"
        changed = rest.replace("version = 1\ncounts_from = 1", raised, 1)
        file.write_text(f"{first}[test_copy]\n{changed}")
        with agreed.as_(system("migrate")) as tx:
            load_purposes(tx, file)
        sweep(agreed)
        assert agreed.grant(grant_id).state == state
    with agreed.as_(system("migrate")) as tx, pytest.raises(SettingsError, match="at version 3"):
        load_purposes(tx, FILE)
    with agreed.as_(agreed.admin) as tx:
        (view,) = [v for v in queries.list_consents(tx, agreed.tenant) if v.name == TEST_COPY]
        assert view.state == "lapsed"
        with pytest.raises(Conflict, match="read it again"):
            ledger.give(tx, Consent(agreed.tenant, TEST_COPY), "0" * 64)
        give(tx, agreed.tenant, TEST_COPY)


def test_each_speaks_for_whom_they_may(agreed: World) -> None:
    with agreed.as_(system("tests")) as tx:
        auditor = add_person(tx, "auditor", agreed.tenant)
    mine = {"person_id": auditor.person_id}
    with agreed.as_(auditor) as tx:
        give(tx, agreed.tenant, "marketing_messages", **mine)
        own = Consent(agreed.tenant, "marketing_messages", PersonId(auditor.person_id))
        assert ledger.is_live(tx, own)
        with pytest.raises(Denied):
            give(tx, agreed.tenant, LIVE_ACCESS)
        with pytest.raises(Invalid, match="given by an admin"):
            give(tx, agreed.tenant, LIVE_ACCESS, **mine)
    with agreed.as_(agreed.admin) as tx:
        with pytest.raises(Denied, match="for another person"):
            give(tx, agreed.tenant, "marketing_messages", **mine)
        with pytest.raises(Invalid, match="given by each person"):
            give(tx, agreed.tenant, "marketing_messages")
        with pytest.raises(Invalid, match="rests on contract"):
            give(tx, agreed.tenant, "service_messages")
        with pytest.raises(Invalid, match="by itself"):
            give(tx, agreed.tenant, LIVE_ACCESS, about="everything")
        assert "marketing_messages" not in {a.purpose for a in queries.list_acts(tx, agreed.tenant)}
    with agreed.as_(auditor) as tx:
        lifecycle.withdraw_consent(tx, own, agreed.broker.queue)
        assert not ledger.is_live(tx, own)
        with pytest.raises(Conflict, match="to withdraw"):
            lifecycle.withdraw_consent(tx, own, agreed.broker.queue)
    with agreed.as_(agreed.operator) as tx, pytest.raises(Denied):
        give(tx, agreed.tenant, LIVE_ACCESS)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE consent_act SET lapses_at = lapses_at + interval '1 year'",
        "DELETE FROM consent_act",
        "TRUNCATE consent_act",
        "UPDATE purpose SET counts_from = 1",
        "DELETE FROM purpose",
    ],
)
def test_the_ledger_is_only_ever_added_to(agreed: World, change: str) -> None:
    """Not by the application's role, and not by whoever owns the tables."""
    with agreed.as_(system("tests")) as tx, pytest.raises(sa.exc.ProgrammingError, match="denied"):
        tx.session.execute(sa.text(change))
    owned = pytest.raises(psycopg.errors.RaiseException, match="only ever added to")
    with control_superuser(agreed) as connection, owned:
        connection.execute(change.replace("TRUNCATE consent_act", "TRUNCATE consent_act CASCADE"))


def test_no_act_is_kept_without_its_entry(agreed: World) -> None:
    """G9, by the second barrier."""
    copied = (
        "INSERT INTO consent_act (id, tenant_id, purpose, act, version, by_id, side, via, at) "
        "SELECT 'cns_x', tenant_id, purpose, 'withdrawn', version, by_id, side, via, at "
        "FROM consent_act LIMIT 1"
    )
    without = pytest.raises(psycopg.errors.RaiseException, match="without an audit entry")
    with control_superuser(agreed) as connection, without:
        connection.execute(copied)


def test_why_each_act_was_allowed_is_read_from_the_log(agreed: World) -> None:
    grant_id = agreed.approved(copy_s=0)
    lease_id, _ = agreed.lease(grant_id)
    withdraw(agreed, LIVE_ACCESS)
    with agreed.as_(agreed.admin) as tx:
        given = [act.id for act in queries.list_acts(tx, agreed.tenant) if act.act != "withdrawn"]
        reasons = why.list_reasons(tx, agreed.tenant, lease_id)
        decided = why.list_reasons(tx, agreed.tenant, grant_id)
    grounds_of = {reason.kind: reason.ground for reason in (*reasons, *decided)}
    assert grounds_of == {
        "lease.asked": "consent",
        "lease.revoking": "ending",
        "grant.requested": "consent",
        "plan.made": "registration",
        "grant.approved": "consent",
        "grant.ended": "ending",
    }
    assert all(act in given for reason in reasons for act in reason.consents)
    assert why.SAYS["consent"] == reasons[0].says


def test_every_night_an_act_without_a_ground_is_found_and_told_once(agreed: World) -> None:
    """Whoever takes a consent away past the ledger: as the owner of the database would."""
    database = agreed.broker.database
    other, admin = enrol(agreed, "Second tenant")
    integrate_all(database, agreed.ports.keys)
    assert nightly.check_all(database) == 0
    with control_superuser(agreed) as connection:  # an approval that no consent covers
        connection.execute(
            "INSERT INTO audit_entry (log_id, subject, entry) SELECT l.id, 'lse_x', "
            "convert_to(json_build_object('kind', 'lease.asked', 'at', '2999-01-01T00:00:00Z', "
            "'subject', 'lse_x', 'facts', json_build_object('on', 'dbs_x'))::text, 'UTF8') "
            "FROM audit_log l WHERE l.tenant_id = %s",
            [other],
        )
        connection.execute("UPDATE audit_entry SET idx = 1000000 WHERE subject = 'lse_x'")
    assert nightly.check_all(database) == 1
    assert nightly.check_all(database) == 0
    told = [e for e in agreed.entries(other) if e["kind"] == "act.unexplained"]
    assert [entry["facts"]["kind"] for entry in told] == ["lease.asked"]
    with agreed.as_(system("tests")) as tx:
        query = sa.select(mail.Mail.person_id).where(mail.Mail.subject.like("Acts without%"))
        assert {admin.person_id, agreed.operator.person_id} <= set(tx.session.scalars(query))


def test_who_lacks_a_consent_is_found_by_tenants_not_by_what_lives(agreed: World) -> None:
    with agreed.as_(system("tests")) as tx:
        assert agreed.tenant not in unconsented.list_lacking(tx)
    grant_id = agreed.request(copy_s=0)
    with control_superuser(agreed) as connection:
        connection.execute("ALTER TABLE consent_act DISABLE TRIGGER USER")
        connection.execute("DELETE FROM consent_act WHERE tenant_id = %s", [agreed.tenant])
    with agreed.as_(system("tests")) as tx:
        assert unconsented.list_lacking(tx)[agreed.tenant] == [LIVE_ACCESS, TEST_COPY]
        assert tx.session.scalar(sa.select(sa.func.count()).select_from(PurposeRow)) or 0
    sweep(agreed)
    assert agreed.grant(grant_id).end_reason == WHY


@pytest.fixture(autouse=True)
def true_time(shared: World) -> Iterator[None]:
    clock = shared.broker.database._clock
    yield
    shared.broker.database._clock = clock
