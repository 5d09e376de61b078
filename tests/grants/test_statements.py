"""Decisions and ends of access as signed statements: what they say, and that they verify alone."""

from __future__ import annotations

import hashlib
import json

import pytest
import sqlalchemy as sa

from broker import lifecycle, people, tenants
from broker.audit.note import VerifierKey
from broker.audit.promises import Promises
from broker.audit.statements import read_promise, verify_signed
from broker.entries import canonical, parse_entry
from broker.errors import Conflict, NotFound
from broker.grants import deciding, decisions, statements
from broker.grants.narrowing import Narrowing
from broker.ids import new_id
from broker.tx import system
from tests.stories import pinned
from tests.world import REASON, World, enrol

NOTE = "only what the ticket is about, says Ada"


def sign(world: World) -> int:
    return statements.sign_due(world.broker.database, world.ports.keys)


def envelope_of(world: World, grant_id: str, verdict: str) -> bytes:
    with world.as_(world.admin) as tx:
        (found,) = [d for d in decisions.list_decisions(tx, grant_id) if d.verdict == verdict]
        return decisions.read_decision_envelope(tx, found.id)


def said(world: World, envelope: bytes) -> dict:
    report = verify_signed(envelope, pinned(world))
    assert report.ok, report.findings
    assert report.statement is not None
    return dict(report.statement)


def check_promises(world: World, envelopes: list[bytes]) -> None:
    """Each names an act and itself as they stand in the log (docs/decisions.md)."""
    promised = [read_promise(envelope, pinned(world)) for envelope in envelopes]
    promises = Promises(promised[0].log, promised)
    for entry in world.entries():
        promises.note(parse_entry(canonical(entry)))
    found = list(promises.check(max(one.by for one in promised)))
    assert all(finding.ok and "as promised" in finding.text for finding in found), found


def test_an_approval_says_what_was_shown_what_was_given_and_by_whom(world: World) -> None:
    grant_id = world.approved(Narrowing(tables_out=frozenset({"crm.notes"}), live_s=600))
    assert sign(world) == 1
    grant = world.grant(grant_id)
    statement = said(world, envelope_of(world, grant_id, "approved"))
    assert statement["verdict"] == "approved"
    assert statement["settles"] is True
    by = {"id": world.admin.person_id, "side": "tenant", "via": "password", "for": None}
    assert statement["by"] == by
    assert statement["shown"] == statement["asked"]["plan"] == grant.asked_digest
    windows = {"live_s": 600, "copy_s": 86400, "kind": "masked", "starts": None}
    assert statement["gives"] == {"plan": grant.given_digest, **windows}
    result = statement["result"]
    assert (result["plan"], result["live_s"]) == (grant.given_digest, 600)
    assert result["ends"] == grant.ends_at.isoformat().replace("+00:00", "Z")


def test_a_refusal_and_an_end_are_stated_too(world: World) -> None:
    refused, ended = world.request(), world.approved()
    world.work()
    with world.as_(world.admin) as tx:
        deciding.refuse(tx, refused, NOTE)
    with world.as_(world.engineer) as tx:
        lifecycle.end_grant_by_click(tx, ended, world.broker.queue)
    sign(world)
    envelopes = [envelope_of(world, refused, "refused"), envelope_of(world, ended, "approved")]
    envelopes.append(envelope_of(world, ended, "ended"))
    check_promises(world, envelopes)
    refusal = said(world, envelopes[0])
    assert (refusal["verdict"], refusal["gives"], refusal["result"]) == ("refused", None, None)
    end = said(world, envelopes[-1])
    assert (end["by"]["id"], end["by"]["side"]) == (world.engineer.person_id, "vendor")


def test_what_the_machinery_ends_is_no_persons_decision(world: World) -> None:
    grant_id = world.approved()
    world.close_ticket(world.grant(grant_id).ticket_id)
    with world.as_(world.admin) as tx:
        found = decisions.list_decisions(tx, grant_id)
    assert [decision.verdict for decision in found] == ["approved"]


def test_the_log_names_each_statement_by_its_digest(world: World) -> None:
    grant_id = world.approved()
    sign(world)
    digest = hashlib.sha256(envelope_of(world, grant_id, "approved")).hexdigest()
    (entry,) = [e for e in world.entries() if e["kind"] == "decision.signed"]
    assert entry["facts"] == {"grant": grant_id, "digest": digest}


def test_nothing_is_signed_twice(world: World) -> None:
    world.approved()
    assert sign(world) == 1
    assert sign(world) == 0


def test_a_statement_holds_no_name_and_no_free_text(world: World) -> None:
    """G13: erasing a person breaks no signature, for there is nothing to erase."""
    grant_id = world.request()
    world.work()
    with world.as_(world.admin) as tx:
        deciding.approve(tx, grant_id, world.grant(grant_id).asked_digest or "", Narrowing(), NOTE)
    world.lease(grant_id)
    world.work()
    with world.as_(world.admin) as tx:
        lifecycle.end_grant_by_click(tx, grant_id, world.broker.queue)
    world.work()
    sign(world)
    with world.as_(system("tests")) as tx:
        signed = tx.session.scalars(sa.text("SELECT envelope FROM statement")).all()
        people_named = [
            text
            for actor in (world.admin, world.engineer)
            for person in [people.get_person(tx, actor.person_id or "")]
            for text in (person.name, person.email)
        ]
    assert len(signed) == 3  # approved, ended, and the login's end
    for envelope in signed:
        text = json.dumps(said(world, envelope))
        for private in (*people_named, REASON, NOTE, "Totals are wrong"):
            assert private not in text


def test_one_changed_byte_or_another_vendors_key_is_refused(world: World) -> None:
    grant_id = world.approved()
    sign(world)
    envelope = envelope_of(world, grant_id, "approved")
    at = len(envelope) // 2
    changed = envelope[:at] + bytes([envelope[at] ^ 1]) + envelope[at + 1 :]
    assert not verify_signed(changed, pinned(world)).ok
    foreign = [VerifierKey("evil.test/statements", key.public) for key in pinned(world)]
    assert not verify_signed(envelope, foreign).ok


def test_the_end_of_each_login_is_stated_with_its_three_instants(world: World) -> None:
    """Those that ended together are signed together, each by its own digest in the log."""
    grant_id = world.approved()
    lease_ids = [world.lease(grant_id)[0] for _ in range(2)]
    world.work()
    with world.as_(world.admin) as tx, pytest.raises(Conflict, match="once it is revoked"):
        decisions.read_end_envelope(tx, lease_ids[0])
    for lease_id in lease_ids:
        with world.as_(world.admin) as tx:
            lifecycle.end_lease_by_click(tx, lease_id, world.broker.queue)
    world.work()
    sign(world)
    signed = {e["subject"]: e["facts"] for e in world.entries() if e["kind"] == "lease.end_signed"}
    for lease_id in lease_ids:
        with world.as_(world.admin) as tx:
            envelope = decisions.read_end_envelope(tx, lease_id)
        digest = hashlib.sha256(envelope).hexdigest()
        assert signed.pop(lease_id) == {"grant": grant_id, "digest": digest}
        check_end(world, lease_id, said(world, envelope))
    assert not signed


def check_end(world: World, lease_id: str, statement: dict) -> None:
    lease = world.find_lease(lease_id)
    assert statement["lease"] == lease_id
    assert (statement["server"], statement["role"]) == (world.database_id, lease.role_name)
    with world.as_(world.operator) as tx:
        database = tenants.get_database(tx, world.database_id)
        here = {"cluster": database.cluster, "timeline": database.timeline, "standby": False}
    assert statement["looked_at"] == [here]
    instants = (lease.login_refused_at, lease.last_session_dead_at, lease.role_gone_at)
    names = ("login_refused", "last_session_dead", "role_gone")
    for name, at in zip(names, instants, strict=True):
        assert at is not None
        assert statement["at"][name] == at.isoformat().replace("+00:00", "Z")


def test_what_is_not_signed_yet_is_a_conflict_and_what_is_anothers_is_not_there(
    world: World,
) -> None:
    grant_id = world.approved()
    with pytest.raises(Conflict, match="not signed yet"):
        envelope_of(world, grant_id, "approved")
    _, stranger = enrol(world, "Other tenant")
    with world.as_(world.admin) as tx:
        (decision,) = decisions.list_decisions(tx, grant_id)
    for identity in (decision.id, new_id("dec")):
        with world.as_(stranger) as tx, pytest.raises(NotFound, match="no such thing"):
            decisions.read_decision_envelope(tx, identity)


def test_while_no_key_answers_nothing_is_signed_and_later_it_is(world: World) -> None:
    world.approved()
    keyring = world.broker.settings.keys.keyring
    assert keyring is not None
    away = keyring.with_name("away")
    keyring.rename(away)
    assert sign(world) == 0
    away.rename(keyring)
    assert sign(world) == 1
