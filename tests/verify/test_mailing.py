"""Checkpoints by mail: every week to a tenant's readers, at once to who asks."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from broker.audit import mailing
from broker.errors import Denied, NotFound
from broker.mail import Mail
from broker.tx import Actor, system
from tests.verify.standalone import verdict
from tests.verify.vendor import Vendor


def mails(vendor: Vendor) -> list[Mail]:
    with vendor.as_(system("tests")) as tx:
        return list(tx.session.scalars(sa.select(Mail).where(Mail.subject.like("Checkpoint%"))))


def age(vendor: Vendor, days: int) -> None:
    with vendor.superuser() as connection:
        for change in ("tenant SET created_at = created_at", "audit_log SET mailed_at = mailed_at"):
            connection.execute(f"UPDATE {change} - %s", [timedelta(days=days)])


def test_readers_get_the_checkpoint_every_week_and_it_can_be_kept(vendor: Vendor) -> None:
    tenant_id, admin = vendor.enrol()
    assert mailing.mail_due(vendor.database) == 0
    age(vendor, 8)
    assert mailing.mail_due(vendor.database) == 0  # nothing is signed yet
    vendor.integrate()
    assert mailing.mail_due(vendor.database) == 1
    assert mailing.mail_due(vendor.database) == 0
    (sent,) = mails(vendor)
    assert (sent.person_id, sent.tenant_id) == (admin, tenant_id)
    kept = sent.text.split("-----\n")[1]
    assert verdict(vendor.export(tenant_id), vendor.pinned(tenant_id), [kept])
    age(vendor, 7)
    assert mailing.mail_due(vendor.database) == 1


def test_who_may_read_the_log_gets_it_at_once(vendor: Vendor) -> None:
    tenant_id, admin = vendor.enrol()
    with pytest.raises(NotFound), vendor.as_(Actor("tenant", "tests", admin)) as tx:
        mailing.mail_checkpoint(tx, tenant_id)
    vendor.integrate()
    with vendor.as_(Actor("tenant", "tests", admin)) as tx:
        mailing.mail_checkpoint(tx, tenant_id)
    with pytest.raises(Denied), vendor.as_(vendor.operator) as tx:
        mailing.mail_checkpoint(tx, tenant_id)
    assert [mail.person_id for mail in mails(vendor)] == [admin]
