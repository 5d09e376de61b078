"""The picture of a grant's life: where its bars stand, and that its table says the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from broker import lifecycle
from broker.grants.queries import GrantView, LeaseView, get_grant_view, list_leases
from broker.web.timeline import WIDTH, draw
from tests.web.browser import Browser
from tests.world import World

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def read(world: World, grant_id: str) -> tuple[GrantView, LeaseView]:
    """A grant asked at START, decided after an hour, until two more; a login from 1:30 on."""
    with world.as_(world.admin) as tx:
        grant, (lease,) = get_grant_view(tx, grant_id), list_leases(tx, grant_id=grant_id)
    hour = timedelta(hours=1)
    grant = replace(grant, requested_at=START, decided_at=START + hour, ends_at=START + 3 * hour)
    return grant, replace(lease, asked_at=START + 1.5 * hour, ends_at=START + 3 * hour)


def test_bars_stand_on_one_scale_and_the_page_says_the_same(world: World, admin: Browser) -> None:
    grant_id = world.approved(copy_s=0)
    world.lease(grant_id)
    grant, lease = read(world, grant_id)
    drawn = draw(grant, [lease], [], START + timedelta(hours=2))
    assert [(b.span.what, b.x, b.done, b.ahead) for b in drawn.bars] == [
        ("asked", 0, 333, 0),
        ("given", 333, 334, 333),
        ("login", 500, 167, 333),
    ]
    assert drawn.now == 667
    page = admin.page(f"/grants/{grant_id}")
    assert page.count("<svg class") == 3
    assert page.count('aria-hidden="true" focusable="false"><line') == 3

    with world.as_(world.admin) as tx:
        lifecycle.end_grant_by_click(tx, grant_id, world.broker.queue)
    world.work()
    with world.as_(world.admin) as tx:
        grant, leases = get_grant_view(tx, grant_id), list_leases(tx, grant_id=grant_id)
    drawn = draw(grant, leases, [], START + timedelta(days=999))
    assert drawn.now is None
    assert not any(bar.ahead for bar in drawn.bars)
    assert max(bar.x + bar.done for bar in drawn.bars) == WIDTH
    assert "still to come" not in admin.page(f"/grants/{grant_id}")
