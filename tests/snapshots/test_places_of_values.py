"""No value of a row leaves the tenant's server, wherever in a row it stands (G4, G5).

A database with a mark in each of some eighty places is copied under the policy as it is shipped,
with a tap on everything that the tenant's server says.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from broker.demo.canaries import needles
from broker.demo.scan import must_find, scan
from broker.embedded import EmbeddedServer
from broker.engines import Catalogue
from broker.engines.ownership import find_owned
from broker.engines.postgres.catalogue import read_catalogue
from broker.engines.postgres.connect import connect
from broker.engines.postgres.masks import MASKS, TEXT_MASKS, find_obstacle
from broker.grants.plan import Plan, make_plan
from broker.grants.policy import load_policy
from broker.ids import new_id
from broker.sealing import Manifest, SealContext, Sealed, new_data_key, open_sealed
from broker.secret import Secret
from broker.snapshots import loading
from broker.snapshots.model import Snapshot
from broker.snapshots.places import Places
from broker.snapshots.progress import Watch
from broker.stores.folder import FolderStore
from broker.tenancy import Tenancy
from tests.conftest import admin, new_database, superuser
from tests.engines.copying_world import make_account
from tests.engines.wiretap import tapped
from tests.snapshots.places_of_values import COLUMNS, Marks

SCHEMAS = ("places",)
# In the source's files a search of bytes does not see what PostgreSQL compressed, what stands in
# bits of another order, and what no checkpoint writes. All the same it must not be elsewhere.
UNSEEN = {"a toasted text that is compressed", "varbit", "unlogged table"}


class Unwatched(Watch):
    """Progress of a copy that no control database knows."""

    def __init__(self) -> None:
        super().__init__(None, None, "", 0)  # type: ignore[arg-type]  # tick() asks neither

    def tick(self) -> None:
        pass


@dataclass
class Copied:
    """Where each part of the copy, and all that was said on its way, was written down."""

    marks: Marks
    roots: dict[str, Path]
    catalogue: Catalogue
    plan: Plan
    report: dict[str, Any]


@pytest.fixture(scope="module")
def copied(
    live_server: EmbeddedServer,
    test_server: EmbeddedServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Copied:
    folder = tmp_path_factory.mktemp("places")
    marks = Marks(new_database(live_server))
    with admin(live_server, marks.database) as connection:
        for statement in marks.script():
            connection.execute(statement.encode())
        connection.execute("CHECKPOINT")
    policy = load_policy(Path("config/masking.toml"), frozenset(MASKS), TEXT_MASKS)
    snapshot = Snapshot(id=new_id("snp"), ends_at=datetime.now(UTC) + timedelta(hours=1))
    places = Places(snapshot, make_account(test_server), Secret(bytes(32)))
    store, key = FolderStore.create_folder(folder / "store"), new_data_key()
    with tapped(superuser(live_server, marks.database), folder / "wire") as tap:
        with connect(tap.target) as connection:
            owned = find_owned(read_catalogue(connection, SCHEMAS), Tenancy(), SCHEMAS)
        # Reading the catalogue is what the tenant agreed to, literals and all: not searched.
        known = set((folder / "wire").iterdir())
        plan = make_plan(
            policy, owned.catalogue, find_obstacle, whose=owned.whose, tenancy=Tenancy().digest()
        )
        filled = loading.fill(
            loading.Job(
                *(places, plan, policy, tap.target, SCHEMAS, Tenancy(), store, key, Unwatched()),
                reserve=lambda _: None,
            )
        )
        for file in known:
            file.unlink()
    with admin(test_server) as connection:
        connection.execute("CHECKPOINT")
    unseal_tables(store, snapshot, key, filled.manifest, folder / "plain")
    roots = {
        "source": live_server.data,
        "wire": folder / "wire",
        "plain": folder / "plain",
        "sandbox": test_server.data,
    }
    return Copied(marks, roots, owned.catalogue, plan, filled.report)


def unseal_tables(
    store: FolderStore, snapshot: Snapshot, key: Secret[bytes], manifest: Sealed, into: Path
) -> None:
    def unseal(sealed: Sealed) -> bytes:
        with store.open(snapshot.prefix + sealed.name) as source:
            blocks = open_sealed(source, key, SealContext(snapshot.id, sealed.name), sealed)
            return b"".join(blocks)

    into.mkdir()
    for sealed in Manifest.from_bytes(unseal(manifest)).objects:
        content = unseal(sealed)
        # An archive without rows packs nothing: without its first word it is searched as it is.
        (into / sealed.name).write_bytes(content.removeprefix(b"PGDMP"))


def hits(copied: Copied, marks: dict[str, str], *roots: str) -> list[str]:
    report = scan({root: copied.roots[root] for root in roots}, needles(marks))
    assert report.problems == []
    return sorted({f"{hit.needle} in {hit.root}: {hit.file}" for hit in report.hits})


@pytest.mark.long
def test_no_value_of_a_row_leaves_the_tenants_server(copied: Copied) -> None:
    rows = copied.marks.rows
    assert len(rows) >= 60
    seen = {kind: mark for kind, mark in rows.items() if kind not in UNSEEN}
    source = scan({"source": copied.roots["source"]}, needles(seen))
    must_find(source, "source", seen)  # the search sees each of them where it is
    assert hits(copied, rows, "wire", "plain", "sandbox") == []


@pytest.mark.long
def test_the_tap_hears_what_is_said(copied: Copied) -> None:
    """What stands in definitions goes over the wire: the same search finds it there."""
    report = scan({"wire": copied.roots["wire"]}, needles(copied.marks.shown))
    must_find(report, "wire", copied.marks.shown)


@pytest.mark.long
def test_what_a_copy_needs_none_of_is_not_in_the_sandbox(copied: Copied) -> None:
    """pg_dump reads options of foreign servers before it knows what to leave out, and settings of
    the database (ALTER DATABASE … SET), whose text is then taken out of the archive.
    """
    setting, option = "setting of the database", "option of a foreign server"

    def found(root: str) -> set[str]:
        return {hit.partition(" in ")[0] for hit in hits(copied, copied.marks.dropped, root)}

    assert found("sandbox") == set()
    assert found("plain") == set()
    assert found("wire") <= {setting, option}


@pytest.mark.long
def test_what_stands_in_definitions_is_shown_with_the_plan(copied: Copied) -> None:
    texts = [literal.text for literal in copied.catalogue.literals]
    shown = copied.marks.shown.items()
    assert [kind for kind, mark in shown if not any(mark in text for text in texts)] == []


@pytest.mark.long
def test_most_kinds_of_columns_are_copied_and_not_left_out(copied: Copied) -> None:
    """Else nothing would be found because nothing was read."""
    read = {table.name for table in copied.plan.tables if table.rows}
    assert len([number for number in range(len(COLUMNS)) if f"t_{number}" in read]) > 40
    assert sum(copied.report["rows"].values()) > 2 * 40
