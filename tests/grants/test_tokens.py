"""Platform tokens on the domain's own functions: G2, G3, G9, G11 and G12 for this kind of lease."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from datetime import timedelta

import pytest
import sqlalchemy as sa

from broker import lifecycle, platforms, watching
from broker.errors import Conflict, Denied, Invalid, NotFound
from broker.grants import glass, pausing, shown_plans, token_keys, tokens
from broker.grants.model import Lease, Statement
from broker.grants.narrowing import Narrowing
from broker.grants.requests import GrantRefused
from broker.grants.statements import sign_due
from broker.keys import TOKEN_KEY
from broker.lateness import list_late
from broker.tx import system
from tests.grants.platforms import (
    Registered,
    Waiting,
    granted,
    is_active,
    make_token,
    register,
    request,
)
from tests.stories import control_superuser, skip, sweep
from tests.world import World, add_person, enrol


@pytest.fixture
def platform(world: World) -> Registered:
    return register(world)


def end(world: World, grant_id: str) -> None:
    with world.as_(world.admin) as tx:
        lifecycle.end_grant_by_click(tx, grant_id, world.broker.queue)


def of_lease(world: World, lease_id: str) -> list[dict]:
    return [entry for entry in world.entries() if entry["subject"] == lease_id]


def test_a_token_says_who_acts_for_whom_where_and_under_which_grant(
    world: World, platform: Registered
) -> None:
    grant_id = granted(world, platform.id)
    lease_id, token = make_token(world, platform.audience)
    header, claims, _ = (_part(part) for part in token.reveal().split("."))
    lease = world.find_lease(lease_id)
    assert {"alg": "EdDSA", "typ": "at+jwt"}.items() <= header.items()
    assert claims == {
        "iss": world.broker.settings.web.public_url,
        "sub": world.tenant,
        "act": {"sub": world.engineer.person_id},
        "aud": platform.audience,
        "client_id": "support-access-broker",
        "scope": "support:read",
        "grant": grant_id,
        "jti": lease_id,
        "iat": claims["iat"],
        "exp": int(lease.ends_at.timestamp()),
    }
    assert 0 < claims["exp"] - claims["iat"] <= 300
    assert is_active(world, token, platform)


def _part(text: str) -> dict:
    raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return json.loads(raw) if raw.startswith(b"{") else {}


def test_an_end_makes_it_void_at_once_and_counts_as_done_only_past_its_own_end(
    world: World, platform: Registered
) -> None:
    """G3: `revoked` is not said while a verifier that asks nobody would still take it."""
    grant_id = granted(world, platform.id)
    lease_id, token = make_token(world, platform.audience)
    end(world, grant_id)
    assert not is_active(world, token, platform)
    sweep(world)
    assert world.find_lease(lease_id).state == "revoking"
    with world.as_(system("tests")) as tx:
        assert not [late for late in list_late(tx, after_s=0) if late.id == lease_id]

    ends_at = world.find_lease(lease_id).ends_at
    skip(world, tokens.LIFE + tokens.CLOCKS)
    sweep(world)
    gone = world.find_lease(lease_id)
    assert (gone.state, gone.sealed, gone.sealed_to) == ("revoked", None, None)
    kinds = [entry["kind"] for entry in of_lease(world, lease_id)]
    assert kinds == ["lease.asked", "lease.issued", "lease.revoking", "lease.expired"]
    facts = of_lease(world, lease_id)[-1]["facts"]
    assert facts["expired_at"] == ends_at.isoformat()
    assert facts["left"] is True
    sign_due(world.broker.database, world.ports.keys)
    with world.as_(system("tests")) as tx:
        assert tx.session.get(Statement, lease_id) is not None


def test_it_ends_by_itself_while_its_grant_goes_on(world: World, platform: Registered) -> None:
    granted(world, platform.id)
    lease_id, token = make_token(world, platform.audience)
    skip(world, tokens.LIFE)
    assert not is_active(world, token, platform)
    sweep(world)
    assert world.find_lease(lease_id).state == "revoking"
    make_token(world, platform.audience)


def test_a_token_of_a_grant_that_ended_before_it_was_signed_is_never_given(
    world: World, platform: Registered
) -> None:
    grant_id = granted(world, platform.id)
    waiting = Waiting(world, platform.audience)
    end(world, grant_id)
    world.work()
    assert waiting.fetch() is None
    lease = world.find_lease(waiting.lease_id)
    assert (lease.state, lease.token_digest) == ("revoked", None)
    assert of_lease(world, waiting.lease_id)[-1]["facts"]["left"] is False


def test_a_decision_narrows_the_platform_as_the_rest(world: World, platform: Registered) -> None:
    """G2: shorter, or not at all; never longer. The plan that is approved names the audience."""
    grant_id = request(world, platform.id, live_s=3600)
    with world.as_(world.admin) as tx:
        plan = shown_plans.get_plan(tx, grant_id, world.grant(grant_id).asked_digest)
    assert plan.platform is not None
    assert plan.platform.audience == platform.audience
    with pytest.raises(Invalid):
        world.approve(grant_id, Narrowing(platform_s=3601))
    world.approve(grant_id, Narrowing(platform_s=60))
    grant = world.grant(grant_id)
    assert (grant.given_platform_s, grant.given_live_s) == (60, 3600)
    waiting = Waiting(world, platform.audience)
    assert world.find_lease(waiting.lease_id).ends_at <= grant.platform_until

    without = request(world, platform.id, live_s=3600)
    world.approve(without, Narrowing(platform_s=0))
    with pytest.raises(GrantRefused):
        Waiting(world, platform.audience, without)


def test_neither_another_grant_nor_another_audience_nor_another_person_gives_a_token(
    world: World, platform: Registered
) -> None:
    """G12: refused in the same words as for an audience of which nothing exists."""
    granted(world, platform.id)
    other_tenant, _ = enrol(world, "Other tenant")
    other = register(world, other_tenant)
    said = set()
    for audience in (other.audience, "https://crm.example/nothing"):
        with pytest.raises(GrantRefused) as refused:
            Waiting(world, audience)
        said.add(refused.value.message)
    with world.as_(system("tests")) as tx:
        colleague = add_person(tx, "engineer", None)
    with pytest.raises(GrantRefused) as refused, world.as_(colleague) as tx:
        tokens.ask(tx, platform.audience, None, bytes(32), world.broker.queue)
    assert said == {refused.value.message}
    with pytest.raises(Denied), world.as_(world.admin) as tx:
        tokens.ask(tx, platform.audience, None, bytes(32), world.broker.queue)
    with pytest.raises(NotFound):
        request(world, other.id)


def test_a_token_is_fetched_once_by_who_asked_and_holds_for_one_platform_alone(
    world: World, platform: Registered
) -> None:
    granted(world, platform.id)
    waiting = Waiting(world, platform.audience)
    world.work()
    with world.as_(system("tests")) as tx:
        colleague = add_person(tx, "engineer", None)
    with pytest.raises(Denied), world.as_(colleague) as tx:
        tokens.fetch(tx, waiting.lease_id)
    token = waiting.fetch()
    assert token is not None
    assert waiting.fetch() is None
    assert not is_active(world, token, register(world))


def test_the_control_database_never_holds_a_token(world: World, platform: Registered) -> None:
    """G11: nor does anything that is enough to make one, not even between signing and fetching."""
    granted(world, platform.id)
    waiting = Waiting(world, platform.audience)
    world.work()
    dumped = _dump(world)
    token = waiting.fetch()
    assert token is not None
    head, payload, signature = token.reveal().split(".")
    for text in (dumped, _dump(world)):
        assert waiting.lease_id in text
        assert not [part for part in (head, payload, signature) if part in text]


def _dump(world: World) -> str:
    with world.as_(system("tests")) as tx:
        names = tx.session.scalars(
            sa.text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        ).all()
        readable = [n for n in names if n != "alembic_version"]
        rows = [
            str(row)
            for name in readable
            for row in tx.session.execute(sa.text(f'SELECT t::text FROM "{name}" t'))
        ]
    return "\n".join(rows)


def test_a_few_tokens_live_at_once_and_who_holds_one_may_end_it(
    world: World, platform: Registered
) -> None:
    granted(world, platform.id)
    _, token = make_token(world, platform.audience)
    for _ in range(tokens.OPEN_PER_GRANT - 1):
        Waiting(world, platform.audience)
    with pytest.raises(Conflict):
        Waiting(world, platform.audience)
    with world.as_(system("tests")) as tx:
        assert tokens.revoke(tx, token, world.broker.queue)
        assert not tokens.revoke(tx, token, world.broker.queue)
    assert not is_active(world, token, platform)
    Waiting(world, platform.audience)


def test_a_removed_platform_ends_what_rests_on_it(world: World, platform: Registered) -> None:
    grant_id = granted(world, platform.id)
    lease_id, _ = make_token(world, platform.audience)
    with world.as_(world.operator) as tx:
        lifecycle.remove_platform(tx, platform.id, world.broker.queue)
    assert world.grant(grant_id).state == "ended"
    assert world.find_lease(lease_id).state == "revoking"
    with world.as_(system("tests")) as tx:
        assert platforms.find_authenticated(tx, platform.id, platform.secret) is None


def test_withdrawn_keys_end_every_token_and_another_key_signs(
    world: World, platform: Registered
) -> None:
    granted(world, platform.id)
    _, token = make_token(world, platform.audience)
    with world.as_(system("tests")) as tx:
        before = token_keys.get_signing(tx)
    with pytest.raises(Denied), world.as_(world.engineer) as tx:
        token_keys.withdraw_all(tx, world.broker.queue)
    with world.as_(world.operator) as tx:
        token_keys.withdraw_all(tx, world.broker.queue)
    assert not is_active(world, token, platform)
    world.work()
    with world.as_(system("tests")) as tx:
        after = token_keys.get_signing(tx)
        assert [key.kid for key in token_keys.read_keys(tx)] == [after.kid]
    assert after.kid != before.kid
    make_token(world, platform.audience)


def test_a_key_that_the_port_erased_is_replaced_after_a_restore(
    world: World, platform: Registered
) -> None:
    """An old control database names a key that is gone: a worker makes another by itself."""
    granted(world, platform.id)
    with world.as_(system("tests")) as tx:
        before = token_keys.get_signing(tx)
    world.ports.keys.erase_signing(TOKEN_KEY + before.kid)
    waiting = Waiting(world, platform.audience)
    world.work()
    assert world.find_lease(waiting.lease_id).stuck_reason
    token_keys.turn(world.broker.database, world.ports.keys)
    skip(world, timedelta(seconds=10))
    sweep(world)
    assert waiting.fetch() is not None


def test_a_platform_is_asked_by_name_and_for_a_time_or_not_at_all(
    world: World, platform: Registered
) -> None:
    for identity, seconds in ((platform.id, 0), (None, 3600)):
        with pytest.raises(Invalid) as refused:
            request(world, identity, live_s=60, platform_s=seconds)
        assert "platform" in refused.value.facts["fields"]
    with world.as_(system("tests")) as tx:
        assert tx.session.scalar(sa.select(Lease.id)) is None


def test_in_a_quarantine_no_token_is_signed_and_none_holds(
    world: World, platform: Registered
) -> None:
    """A restored record may not know that a grant has ended."""
    granted(world, platform.id)
    _, token = make_token(world, platform.audience)
    assert watching.is_sound(world.ports, world.broker.settings)
    skip(world, timedelta(hours=-2))
    assert not watching.is_sound(world.ports, world.broker.settings)
    skip(world, timedelta())
    assert not is_active(world, token, platform)
    waiting = Waiting(world, platform.audience)
    world.work()
    assert waiting.fetch() is None
    assert "in quarantine" in (world.find_lease(waiting.lease_id).stuck_reason or "")


def test_a_token_has_no_session_to_look_at_and_keeps_nobody_from_looking(
    world: World, platform: Registered
) -> None:
    granted(world, platform.id)
    make_token(world, platform.audience)
    assert glass.look(world.broker.database, world.admin, world.broker.queue) == []


def test_an_audience_that_was_edited_by_hand_gives_no_token_and_is_told(
    world: World, platform: Registered
) -> None:
    """G2: the plan that was approved names it; no token is signed for another."""
    grant_id = granted(world, platform.id)
    elsewhere = "https://crm.example/another"
    with control_superuser(world) as connection:
        connection.execute(
            "UPDATE platform SET audience = %s WHERE id = %s", (elsewhere, platform.id)
        )
    waiting = Waiting(world, elsewhere)
    world.work()
    assert waiting.fetch() is None
    assert world.find_lease(waiting.lease_id).token_digest is None
    assert world.grant(grant_id).altered_at is not None


def test_a_paused_grant_has_no_tokens_and_gives_none(world: World, platform: Registered) -> None:
    grant_id = granted(world, platform.id)
    lease_id, token = make_token(world, platform.audience)
    waiting = Waiting(world, platform.audience)
    with pytest.raises(Conflict), world.as_(world.admin) as tx:
        pausing.pause_lease(tx, lease_id, world.broker.queue)
    with world.as_(world.admin) as tx:
        pausing.pause_grant(tx, grant_id, world.broker.queue)
    assert not is_active(world, token, platform)
    world.work()
    assert waiting.fetch() is None
    with pytest.raises(GrantRefused):
        Waiting(world, platform.audience)
    with world.as_(world.admin) as tx:
        pausing.resume_grant(tx, grant_id, world.broker.queue)
    make_token(world, platform.audience)
