"""Copies on encrypted volumes of their own, with real gocryptfs (G6, G8): on the disk lies
ciphertext alone, the volume opens with no key but its own, and whatever a kill leaves goes.
"""

from __future__ import annotations

import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.demo.canaries import KEPT_IN_COLUMN, needles
from broker.demo.scan import must_find, must_find_nothing, scan
from broker.engines.postgres.dedicated import HostUnavailable, Seen
from broker.engines.postgres.dedicated.host import SandboxHost
from broker.faults import CRASH_VARIABLE
from broker.keys import KeyErased
from broker.secret import Secret
from broker.snapshots import ordering
from broker.snapshots.dedicated import open_volume_key
from tests.dedicated_hosts import dedicated_grant, host_of
from tests.faults.processes import ROOT, environment
from tests.stories import retry
from tests.system.conftest import need_package
from tests.world import World

MAKING = ("volume-key-made", "volume-labelled", "volume-made", "volume-mounted", "server-made")
ENDING = ("after-volume-key", "server-stopped", "volume-unmounted", "volume-removed")
STEP = """
import sys
from broker import bootstrap
from broker.settings import load_settings
from broker.snapshots import destroying, making
broker = bootstrap.build(load_settings())
{act}(bootstrap.build_ports(broker), sys.argv[1])
"""


@pytest.fixture
def host(world: World) -> Iterator[SandboxHost]:
    need_package("gocryptfs", Path("/usr/bin/gocryptfs"))
    need_package("fuse3", Path("/usr/bin/fusermount3"))
    with host_of(world, plain=False) as host:
        yield host


def act(world: World, what: str, snapshot_id: str, point: str = "") -> int:
    """`making.copy` or `destroying.destroy` in a process of its own, killed at `point`."""
    settings = world.broker.settings
    more = {
        "BROKER_HOST__FOLDER": str(settings.host.folder),
        "BROKER_TOOLS__CONFIG": str(ROOT / "config"),
        CRASH_VARIABLE: point,
    }
    done = subprocess.run(
        [sys.executable, "-c", STEP.format(act=what), snapshot_id],
        cwd=ROOT,
        env=environment(world, **more),
        check=False,
    )
    return done.returncode


def ordered(world: World) -> str:
    return world.order(dedicated_grant(world))


def condemn(world: World, snapshot_id: str) -> None:
    with world.as_(world.engineer) as tx:
        ordering.condemn(tx, ordering.get_snapshot(tx, snapshot_id), "tests", world.broker.queue)


def test_on_the_disk_lies_ciphertext_and_no_other_key_opens_it(
    world: World, host: SandboxHost, tmp_path: Path
) -> None:
    snapshot_id = ordered(world)
    world.work()
    snapshot = world.snapshot(snapshot_id)
    assert snapshot.state == "ready", snapshot.stuck_reason
    place, marks = host.folder / snapshot.sandbox, needles(world.marks.kept)
    kept = {KEPT_IN_COLUMN: marks[KEPT_IN_COLUMN]}
    host._cluster(snapshot.sandbox).stop()  # all that it wrote is in its files
    must_find(scan({"clear": place / "clear"}, kept), "clear", kept)
    must_find_nothing(scan({"sealed": place / "sealed", "sockets": place / "sockets"}, kept))
    stolen = tmp_path / "stolen"
    shutil.copytree(place / "sealed", stolen)
    key = open_volume_key(world.ports.keys, snapshot)
    condemn(world, snapshot_id)
    world.work()
    assert world.snapshot(snapshot_id).state == "destroyed", world.snapshot(
        snapshot_id
    ).stuck_reason
    assert host.see(snapshot.sandbox) == Seen.nothing(snapshot.sandbox)
    with pytest.raises(KeyErased):
        open_volume_key(world.ports.keys, snapshot)
    aside = tmp_path / "aside"
    aside.mkdir()
    with pytest.raises(HostUnavailable, match="not mounted"):
        host.volume.mount(str(stolen), str(aside), Secret(secrets.token_bytes(32)))
    # The look is not blind: with the key, which was erased, it would have opened.
    host.volume.mount(str(stolen), str(aside), key)
    try:
        must_find(scan({"aside": aside}, kept), "aside", kept)
    finally:
        host.volume.unmount(str(aside))


def test_what_a_kill_leaves_at_any_point_is_made_anew_or_goes(
    world: World, host: SandboxHost
) -> None:
    """Each next try meets what the one before left, and dies a step further."""
    snapshot_id = ordered(world)
    name = world.snapshot(snapshot_id).sandbox
    for point in MAKING:
        assert act(world, "making.copy", snapshot_id, point) == -signal.SIGKILL, point
        assert world.snapshot(snapshot_id).state == "copying"
    assert host.see(name).is_running  # it outlives its worker
    assert act(world, "making.copy", snapshot_id) == 0
    assert world.snapshot(snapshot_id).state == "ready", world.snapshot(snapshot_id).stuck_reason
    condemn(world, snapshot_id)
    for point in ENDING:
        assert act(world, "destroying.destroy", snapshot_id, point) == -signal.SIGKILL, point
        assert world.snapshot(snapshot_id).state == "condemned"
    retry(world)
    world.work()
    assert world.snapshot(snapshot_id).state == "destroyed", world.snapshot(
        snapshot_id
    ).stuck_reason
    assert host.see(name) == Seen.nothing(name)
