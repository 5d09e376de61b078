"""The command line sees that a log only grows, and keeps what it saw when it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker import tenants
from broker.audit.integrate import integrate_all
from broker.audit.note import Checkpoint, checkpoint_text, sign_note
from broker.cli.trust import find_seen, remember_seen
from broker.keys import LOG_KEY
from tests.cli.conftest import Desk


@pytest.mark.long
def test_a_log_is_seen_to_grow_and_a_fork_of_it_is_refused(desk: Desk, tmp_path: Path) -> None:
    world = desk.world
    admin = desk.terminal("admin", world.admin)
    tenant = str(world.tenant)
    integrate_all(world.broker.database, world.ports.keys)
    unpinned = admin.try_("log", "check", tenant)
    assert unpinned.exit_code == 9
    admin.run("tenants", "pin", tenant, stdin="y\n")
    assert "remembered" in admin.run("log", "check", tenant)
    world.approved()
    integrate_all(world.broker.database, world.ports.keys)
    assert "continue the" in admin.run("log", "check", tenant)

    proof = tmp_path / "first.tlog-proof"
    admin.run("log", "prove", tenant, "0", "-f", str(proof))
    assert "It is entry 0" in admin.run("log", "verify-proof", str(proof))
    proof.write_text(proof.read_text().replace("index 0", "index 1"))
    assert admin.try_("log", "verify-proof", str(proof)).exit_code == 9

    origin = _origin(desk)
    seen = find_seen(admin.home, origin)
    assert seen is not None
    size = int(seen.split("\n")[1])
    for claimed, why in ((size, "rewritten"), (size + 1, "it was cut")):
        fork = _sign(desk, origin, claimed)
        remember_seen(admin.home, origin, fork)
        refused = admin.try_("log", "check", tenant)
        assert refused.exit_code == 9
        assert why in refused.output
        assert find_seen(admin.home, origin) == fork  # kept, as evidence


def _origin(desk: Desk) -> str:
    with desk.world.as_(desk.world.admin) as tx:
        return tenants.get_tenant(tx, desk.world.tenant).log_origin


def _sign(desk: Desk, origin: str, size: int) -> str:
    keys = desk.world.ports.keys
    text = checkpoint_text(Checkpoint(origin, size, b"\1" * 32))
    return sign_note(text, origin, keys.public(LOG_KEY), lambda m: keys.sign(LOG_KEY, m))
