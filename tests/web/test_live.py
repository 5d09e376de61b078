"""Pause, Resume and End now on the page of what is live: what they do to a session that is open."""

from __future__ import annotations

import psycopg
import pytest

from broker.grants import glass
from tests.stories import is_dead
from tests.web.browser import Browser
from tests.world import World


def test_pause_cuts_resume_lets_in_again_and_end_is_for_good(
    world: World, admin: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(glass, "WAIT_S", 0.0)  # no worker looks; nobody waits for one
    lease_id, password = world.lease(world.approved(copy_s=0))
    world.work()
    with world.login(lease_id, password) as session:
        admin.submit("/live", f"/leases/{lease_id}/pause")
        world.work()
        assert is_dead(session)
    with pytest.raises(psycopg.OperationalError):
        world.login(lease_id, password)
    assert ">paused</span>" in admin.page("/live")

    admin.submit("/live", f"/leases/{lease_id}/resume")
    world.work()
    with world.login(lease_id, password) as session:
        admin.submit("/live", f"/leases/{lease_id}/end")
        world.work()
        assert is_dead(session)
    assert world.find_lease(lease_id).state == "revoked"
    assert f"/leases/{lease_id}/end" not in admin.page("/live")
