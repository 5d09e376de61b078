"""The reaper on real servers and a real store. It has no control database; `now` is a parameter."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from broker import tenants
from broker.engines import Target
from broker.engines.postgres.copying import sandbox
from broker.engines.postgres.scram import make_verifier, new_password
from broker.errors import Invalid, Unavailable
from broker.grants.targets import live_target, server_target
from broker.ids import new_id
from broker.labels import Label
from broker.reap import (
    check_host_clock,
    read_label_key,
    read_server_clock,
    reap_server,
    reap_store,
)
from broker.secret import Secret
from broker.stores import StoredObject, StoreUnavailable
from broker.stores.folder import FolderStore
from broker.tx import system
from tests.stories import control_superuser
from tests.world import World, connect

LATER = timedelta(days=400)
OURS = "SELECT rolname FROM pg_roles WHERE rolname ~ '^sab_(l|s|o|u)_' ORDER BY 1"
DATABASES = "SELECT datname FROM pg_database WHERE datname ~ '^sab_[a-z2-7]{26}$'"


def live(world: World) -> Target:
    with world.as_(system("tests")) as tx:
        return live_target(world.ports.keys, tenants.get_database(tx, world.database_id))


def test_target(world: World) -> Target:
    with world.as_(system("tests")) as tx:
        return server_target(world.ports.keys, tenants.get_server(tx, world.server_id))


test_target.__test__ = False  # type: ignore[attr-defined]  # a function about the test server


@dataclass
class Full:
    """A grant with everything that it can give, all of it in use."""

    world: World
    live_session: psycopg.Connection
    sandbox_session: psycopg.Connection
    live_end: datetime
    copy_end: datetime
    snapshot_id: str


@pytest.fixture
def full(world: World) -> Iterator[Full]:
    grant_id = world.approved(live_s=3600, copy_s=7200)
    lease_id, password = world.lease(grant_id)
    snapshot_id = world.order(grant_id)
    world.work()
    sandbox_lease, sandbox_password = world.sandbox_lease(snapshot_id)
    world.work()
    with (
        world.login(lease_id, password) as live_session,
        world.login(sandbox_lease, sandbox_password) as sandbox_session,
    ):
        ends = [world.find_lease(lease).ends_at for lease in (lease_id, sandbox_lease)]
        yield Full(world, live_session, sandbox_session, ends[0], ends[1], snapshot_id)


def is_dead(session: psycopg.Connection) -> bool:
    try:
        session.execute("SELECT 1")
    except psycopg.OperationalError:
        return True
    return False


def test_on_a_tenants_server_logins_and_scopes_end_at_their_end_and_not_before(full: Full) -> None:
    target, key = live(full.world), full.world.ports.keys.label_key()
    before = full.world.find_on_server(full.world.live, OURS)
    early = reap_server(target, key, full.live_end)
    assert (early.ended, early.failed, early.not_yet) == ([], {}, 3)
    assert full.world.find_on_server(full.world.live, OURS) == before
    assert not is_dead(full.live_session)

    late = reap_server(target, key, full.live_end + timedelta(seconds=2))
    assert late.failed == {}
    assert [what.partition(" ")[0] for what in late.ended] == ["role", "scope"]
    assert is_dead(full.live_session)
    assert full.world.find_on_server(full.world.live, OURS) == []
    schemas = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'sab%'"
    with connect(full.world.live, full.world.crm) as connection:
        assert connection.execute(schemas).fetchall() == []


def test_on_a_test_server_copies_end_at_their_end_and_not_before(full: Full) -> None:
    target, key = test_target(full.world), full.world.ports.keys.label_key()
    early = reap_server(target, key, full.copy_end)
    assert (early.ended, early.failed) == ([], {})
    assert not is_dead(full.sandbox_session)

    late = reap_server(target, key, full.copy_end + timedelta(seconds=2))
    assert late.failed == {}
    assert is_dead(full.sandbox_session)
    assert full.world.find_on_server(full.world.test, OURS) == []
    assert full.world.find_on_server(full.world.test, DATABASES) == []
    again = reap_server(target, key, full.copy_end + timedelta(seconds=2))
    assert (again.ended, again.failed) == ([], {})


def test_in_a_store_objects_end_at_their_end_and_not_before(full: Full) -> None:
    store, key = full.world.ports.store, full.world.ports.keys.label_key()
    before = list(store.list_all("snapshots/"))
    assert len(before) > 3
    early = reap_store(store, key, full.copy_end)
    assert (early.ended, early.failed, early.not_yet) == ([], {}, 1)
    assert list(store.list_all("snapshots/")) == before

    late = reap_store(store, key, full.copy_end + timedelta(seconds=2))
    assert late.failed == {}
    assert list(store.list_all("snapshots/")) == []


def test_what_carries_no_true_label_on_a_server_is_counted_and_left_alone(world: World) -> None:
    """No label, another broker's, one that was made for another place, and one with a new end."""
    key, end = world.ports.keys.label_key(), datetime(2020, 1, 1, tzinfo=UTC)
    identity = new_id("snp")
    true = Label("sandbox", identity, end, "sab_elsewhere").text(key)
    foreign = Label("sandbox", identity, end, "sab_foreign")
    comments = {
        "sab_bare": None,
        "sab_copied": true,
        "sab_foreign": foreign.text(Secret(secrets.token_bytes(32))),
        "sab_altered": Label("sandbox", identity, end + LATER, "sab_altered")
        .text(key)
        .replace("2021", "2020"),
    }
    with connect(world.test) as connection:
        for name, comment in comments.items():
            place = sql.Identifier(name)
            connection.execute(sql.SQL("CREATE DATABASE {}").format(place))
            connection.execute(
                sql.SQL("COMMENT ON DATABASE {} IS {}").format(place, sql.Literal(comment))
            )
            role = sql.Identifier(f"sab_l_{name}")
            connection.execute(sql.SQL("CREATE ROLE {} IN ROLE sab_managed").format(role))
            connection.execute(
                sql.SQL("COMMENT ON ROLE {} IS {}").format(role, sql.Literal(comment))
            )
    done = reap_server(test_target(world), key, datetime.now(UTC) + LATER)
    assert (done.ended, done.failed) == ([], {})
    assert done.unknown >= 2 * len(comments)
    left = world.find_on_server(world.test, "SELECT datname FROM pg_database")
    assert {name for (name,) in left} >= set(comments)
    roles = world.find_on_server(world.test, "SELECT rolname FROM pg_roles")
    assert {name for (name,) in roles} >= {f"sab_l_{name}" for name in comments}


def test_what_carries_no_true_label_in_a_store_is_counted_and_left_alone(world: World) -> None:
    store, key = world.ports.store, world.ports.keys.label_key()
    end = datetime(2020, 1, 1, tzinfo=UTC)
    prefixes = {name: f"snapshots/{new_id('snp')}/" for name in ("bare", "copied", "foreign")}
    texts = {
        "copied": Label("artifact", new_id("snp"), end, prefixes["bare"]).text(key),
        "foreign": Label("artifact", new_id("snp"), end, prefixes["foreign"]).text(
            Secret(secrets.token_bytes(32))
        ),
    }
    for name, prefix in prefixes.items():
        with store.create(prefix + "table-00000") as sink:
            sink.write(b"something")
        if name in texts:
            with store.create(prefix + "label") as sink:
                sink.write(texts[name].encode())
    before = list(store.list_all(""))
    done = reap_store(store, key, datetime.now(UTC) + LATER)
    assert (done.ended, done.failed, done.unknown) == ([], {}, 3)
    assert list(store.list_all("")) == before


def test_a_sandbox_that_got_no_label_goes_with_its_labelled_owner(world: World) -> None:
    """The broker died between CREATE DATABASE and its comment."""
    target, key = test_target(world), world.ports.keys.label_key()
    identity = new_id("snp")
    owner = f"sab_o_{identity[4:]}"
    end = datetime(2020, 1, 1, tzinfo=UTC)
    sandbox.create_role(target, owner, Label("sandbox", identity, end, owner).text(key))
    with connect(world.test) as connection:
        connection.execute(f"CREATE DATABASE sab_{identity[4:]} OWNER {target.user}")
    done = reap_server(target, key, datetime.now(UTC))
    assert done.failed == {}
    assert world.find_on_server(world.test, DATABASES) == []
    assert world.find_on_server(world.test, OURS) == []


class Refusing(FolderStore):
    """A store that refuses to delete one object: a folder run as root never does."""

    def delete(self, stored: StoredObject) -> None:
        if stored.name.endswith("table-00001"):
            raise StoreUnavailable("refused")
        super().delete(stored)


def test_a_round_that_is_cut_short_keeps_the_label_so_that_the_next_one_ends_the_rest(
    tmp_path: Path,
) -> None:
    FolderStore.create_folder(tmp_path / "store")
    store, key = Refusing(tmp_path / "store"), Secret(secrets.token_bytes(32))
    identity, end = new_id("snp"), datetime(2020, 1, 1, tzinfo=UTC)
    prefix = f"snapshots/{identity}/"
    contents = {
        "label": Label("artifact", identity, end, prefix).text(key).encode(),
        **{f"table-0000{number}": b"sealed" for number in range(3)},
    }
    for name, content in contents.items():
        with store.create(prefix + name) as sink:
            sink.write(content)
    now = datetime.now(UTC)
    cut = reap_store(store, key, now)
    assert list(cut.failed) == [f"objects {prefix}"]
    assert prefix + "label" in [stored.name for stored in store.list_all(prefix)]
    mended = FolderStore(tmp_path / "store")
    assert reap_store(mended, key, now).failed == {}
    assert list(mended.list_all("")) == []


def test_a_host_whose_clock_is_far_from_the_stores_is_refused(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    check_host_clock(tmp_path, now)
    for wrong in (timedelta(minutes=6), timedelta(minutes=-6)):
        with pytest.raises(Unavailable, match="nothing is ended"):
            check_host_clock(tmp_path, now + wrong)


def test_a_key_of_labels_that_others_may_read_or_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.key"
    with pytest.raises(Invalid, match="can't be read"):
        read_label_key(path)
    path.touch(mode=0o600)
    path.write_bytes(bytes(31))
    with pytest.raises(Invalid, match="no key of labels"):
        read_label_key(path)
    path.write_bytes(bytes(32))
    assert read_label_key(path) == Secret(bytes(32))
    path.chmod(0o640)
    with pytest.raises(Invalid, match="chmod 600"):
        read_label_key(path)


def write_private(path: Path, content: bytes) -> Path:
    path.touch(mode=0o600)
    path.write_bytes(content)
    return path


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from broker.reap import reap; reap()", *arguments]


def environment() -> dict[str, str]:
    """Nothing of the broker's: no settings, no control database."""
    return {name: value for name, value in os.environ.items() if not name.startswith("BROKER_")}


def test_the_command_ends_what_is_past_its_end_by_the_servers_clock_with_a_login_of_its_own(
    world: World, tmp_path: Path
) -> None:
    """The reaper's login is a member of the broker's, so either can be shut out alone."""
    with control_superuser(world) as connection:  # the story is told two hours ago
        connection.execute("UPDATE membership SET created_at = created_at - interval '3 hours'")
    world.broker.database._clock = lambda: datetime.now(UTC) - timedelta(hours=2)
    grant_id = world.approved(live_s=3600, copy_s=0)
    lease_id, _ = world.lease(grant_id)
    world.issue(lease_id)
    target, password = live(world), new_password()
    with connect(world.live) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE sab_host_reaper LOGIN CREATEROLE PASSWORD {} IN ROLE {}").format(
                sql.Literal(make_verifier(password)), sql.Identifier(target.user)
            )
        )
    arguments = [
        *("server", "--host", target.host, "--dbname", "postgres", "--user", "sab_host_reaper"),
        *("--password-file", str(write_private(tmp_path / "password", password.reveal().encode()))),
        "--label-key",
        str(write_private(tmp_path / "key", world.ports.keys.label_key().reveal())),
        "--once",
    ]
    done = subprocess.run(
        command(*arguments), check=False, capture_output=True, env=environment(), text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [what.partition(" ")[0] for what in json.loads(done.stdout)["ended"]] == [
        "role",
        "scope",
    ]
    assert world.find_on_server(world.live, OURS) == []


def test_the_command_goes_on_until_it_is_told_to_stop(world: World, tmp_path: Path) -> None:
    key = write_private(tmp_path / "key", world.ports.keys.label_key().reveal())
    folder = str(world.broker.settings.store.folder)
    with subprocess.Popen(
        command("store", "--folder", folder, "--label-key", str(key), "--every", "600"),
        stdout=subprocess.PIPE,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["failed"] == {}
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_a_place_that_does_not_answer_is_told_and_is_exit_8(tmp_path: Path) -> None:
    key = write_private(tmp_path / "key", bytes(32))
    (tmp_path / "store").mkdir()
    arguments = ["store", "--folder", str(tmp_path / "store"), "--label-key", str(key), "--once"]
    done = subprocess.run(command(*arguments), check=False, capture_output=True, env=environment())
    assert done.returncode == 8
    assert "volume is not mounted" in json.loads(done.stdout)["failed"]["round"]


def test_the_reaper_knows_no_control_database() -> None:
    code = "import sys, broker.reap; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert {"broker.labels"} <= set(done.stdout.split())
    assert not {"broker.db", "broker.settings", "sqlalchemy"} & set(done.stdout.split())


def test_the_servers_own_clock_decides(world: World) -> None:
    (before,), *_ = world.find_on_server(world.live, "SELECT clock_timestamp()")
    assert read_server_clock(live(world)) >= before
