"""A vendor with full control of its database, and of its keys, is caught (G10).

Each test plays one attack with the superuser's hand. What the customer has is what it was given:
the keys it pinned, and the checkpoint that it saw last.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from broker import trail
from broker.audit.integrate import LogForked
from broker.audit.merkle import Frontier, leaf_hash
from broker.ids import TenantId
from broker.tx import system
from tests.verify.standalone import verdict
from tests.verify.vendor import Vendor

MINE = "log_id = (SELECT id FROM audit_log WHERE tenant_id = %s)"


def act(vendor: Vendor, tenant_id: TenantId, count: int) -> None:
    for _ in range(count):
        with vendor.as_(system("tests")) as tx:
            trail.record(tx, tenant_id, "tenant.enrolled", tenant_id)


@pytest.fixture
def tenant(vendor: Vendor) -> TenantId:
    """A tenant whose log of seven entries was exported, verified and remembered."""
    tenant_id, _ = vendor.enrol()
    act(vendor, tenant_id, 6)
    vendor.integrate()
    assert verdict(vendor.export(tenant_id), vendor.pinned(tenant_id))
    return tenant_id


def delete(connection: psycopg.Connection, tenant_id: TenantId) -> None:
    connection.execute(
        f"DELETE FROM audit_opening WHERE entry_id IN (SELECT id FROM audit_entry WHERE {MINE})",
        [tenant_id],
    )
    connection.execute(f"DELETE FROM audit_entry WHERE {MINE} AND idx = 3", [tenant_id])
    connection.execute(
        f"UPDATE audit_entry SET idx = idx - 1 WHERE {MINE} AND idx > 3", [tenant_id]
    )


def cut_the_tail(connection: psycopg.Connection, tenant_id: TenantId) -> None:
    connection.execute(f"DELETE FROM audit_entry WHERE {MINE} AND idx = 6", [tenant_id])


def edit(connection: psycopg.Connection, tenant_id: TenantId) -> None:
    connection.execute(
        "UPDATE audit_entry SET entry = convert_to(replace(convert_from(entry, 'UTF8'), "
        f'\'"via":"tests"\', \'"via":"nobody"\'), \'UTF8\') WHERE {MINE} AND idx = 3',
        [tenant_id],
    )


def date_back(connection: psycopg.Connection, tenant_id: TenantId) -> None:
    connection.execute(
        "UPDATE audit_entry SET entry = convert_to(regexp_replace(convert_from(entry, 'UTF8'), "
        f"'\"at\":\"....', '\"at\":\"2020'), 'UTF8') WHERE {MINE} AND idx = 3",
        [tenant_id],
    )


def reorder(connection: psycopg.Connection, tenant_id: TenantId) -> None:
    for old, new in ((3, 99), (4, 3), (99, 4)):
        connection.execute(
            f"UPDATE audit_entry SET idx = %s WHERE {MINE} AND idx = %s", [new, tenant_id, old]
        )


Attack = Callable[[psycopg.Connection, TenantId], None]
ATTACKS: list[Attack] = [delete, cut_the_tail, edit, date_back, reorder]


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_entry_that_was_changed_under_a_signed_root_is_caught(
    vendor: Vendor, tenant: TenantId, attack: Attack
) -> None:
    with vendor.superuser() as connection:
        attack(connection, tenant)
    assert not verdict(vendor.export(tenant), vendor.pinned(tenant))


def rewrite(vendor: Vendor, tenant_id: TenantId) -> None:
    """Make tree and frontier fit what stands in the table, and forget every checkpoint."""
    with vendor.superuser() as connection:
        rows = connection.execute(
            f"SELECT id, entry FROM audit_entry WHERE {MINE} ORDER BY idx", [tenant_id]
        ).fetchall()
        frontier = Frontier()
        for identity, entry in rows:
            leaf = leaf_hash(entry)
            connection.execute(
                "UPDATE audit_entry SET leaf_hash = %s WHERE id = %s", [leaf, identity]
            )
            frontier.append(leaf)
        connection.execute(
            "UPDATE audit_log SET size = %s, frontier = %s WHERE tenant_id = %s",
            [frontier.size, frontier.hashes, tenant_id],
        )
        connection.execute(f"DELETE FROM audit_checkpoint WHERE {MINE}", [tenant_id])


@pytest.mark.parametrize("attack", [delete, cut_the_tail, edit, date_back, reorder])
def test_the_signer_signs_nothing_that_does_not_continue_what_it_signed(
    vendor: Vendor, tenant: TenantId, attack: Attack
) -> None:
    """The database is made to fit as a whole; the last head lies outside it (I22)."""
    with vendor.superuser() as connection:
        attack(connection, tenant)
    rewrite(vendor, tenant)
    act(vendor, tenant, 1)
    if attack in {delete, cut_the_tail}:
        act(vendor, tenant, 1)
    with pytest.raises(LogForked):
        vendor.integrate()


@pytest.mark.parametrize("attack", [delete, edit, reorder])
def test_a_fork_that_the_vendors_own_key_signed_is_caught_by_a_kept_checkpoint(
    vendor: Vendor, tenant: TenantId, attack: Attack, tmp_path: Path
) -> None:
    """The vendor forgets its heads too: then only the reader's memory is left, and is enough."""
    seen = vendor.last_checkpoint(tenant)
    with vendor.superuser() as connection:
        attack(connection, tenant)
    rewrite(vendor, tenant)
    for head in (tmp_path / "keyring" / "heads").iterdir():
        head.unlink()
    act(vendor, tenant, 2)
    vendor.integrate()
    forged = vendor.export(tenant)
    assert verdict(forged, vendor.pinned(tenant))
    assert not verdict(forged, vendor.pinned(tenant), [seen])


def test_a_log_that_withholds_its_last_entries_is_caught_by_a_kept_checkpoint(
    vendor: Vendor, tenant: TenantId
) -> None:
    older = vendor.export(tenant)
    act(vendor, tenant, 2)
    vendor.integrate()
    seen = vendor.last_checkpoint(tenant)
    assert verdict(vendor.export(tenant), vendor.pinned(tenant), [seen])
    assert verdict(older, vendor.pinned(tenant))
    assert not verdict(older, vendor.pinned(tenant), [seen])


def test_another_tenants_log_does_not_pass_for_mine(vendor: Vendor, tenant: TenantId) -> None:
    other, _ = vendor.enrol()
    vendor.integrate()
    assert verdict(vendor.export(other), vendor.pinned(other))
    assert not verdict(vendor.export(other), vendor.pinned(tenant))


def test_an_act_that_is_entered_with_an_old_date_is_caught(
    vendor: Vendor, tenant: TenantId
) -> None:
    """Signed by the vendor's own key, in the right place of the tree: only its date is a lie."""
    vendor.database._clock = lambda: datetime.now(UTC) - timedelta(hours=1)
    act(vendor, tenant, 1)
    vendor.database._clock = None
    vendor.integrate()
    assert not verdict(vendor.export(tenant), vendor.pinned(tenant))


def test_keys_made_afresh_sign_nothing_that_a_customer_takes(
    vendor: Vendor, tenant: TenantId, tmp_path: Path
) -> None:
    pinned = vendor.pinned(tenant)
    shutil.rmtree(tmp_path / "keyring")
    vendor.keys = type(vendor.keys).create_folder(tmp_path / "keyring")
    rewrite(vendor, tenant)
    act(vendor, tenant, 1)
    vendor.integrate()
    assert verdict(vendor.export(tenant), vendor.pinned(tenant))
    assert not verdict(vendor.export(tenant), pinned)


def test_the_application_itself_can_neither_change_nor_delete_an_entry(
    vendor: Vendor, tenant: TenantId
) -> None:
    dsn = vendor.template.dsn("broker_app", vendor.dbname).reveal()
    for statement in (
        "UPDATE audit_entry SET entry = 'x'",
        "DELETE FROM audit_entry",
        "UPDATE audit_checkpoint SET note = 'x'",
        "DELETE FROM audit_checkpoint",
        "UPDATE audit_opening SET value = 'x'",
        "TRUNCATE audit_entry CASCADE",
    ):
        with (
            psycopg.connect(dsn) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute(statement)
