"""Registers and the notice: made from what is configured; breaches by the clock and by the logs."""

from __future__ import annotations

from datetime import timedelta

import pytest

from broker import lateness, mail, trail
from broker.consents import recipients
from broker.consents.recipients import About
from broker.errors import Conflict, Denied, Invalid
from broker.registers import breaches, processing
from broker.registers.breaches import CLOCK, Known
from broker.retention import running, schedule
from broker.tx import system
from tests.verify.conftest import vendor
from tests.verify.vendor import Vendor

__all__ = ["vendor"]


def read_notice(vendor: Vendor, language: str = "en") -> str:
    with vendor.as_(vendor.operator) as tx:
        notice = processing.make_notice(tx, "Invented SaaS", language)
    return "\n".join([notice.title, *(line for part in notice.sections for line in part.lines)])


def test_the_notice_says_what_is_configured_and_changes_with_it(vendor: Vendor) -> None:
    before = read_notice(vendor)
    assert "Invented SaaS" in before
    assert "not carried out yet" in before
    assert "Nobody." in before
    assert "90 days, then erased" in before
    with vendor.as_(vendor.officer) as tx:
        host = About("Invented Hosts SA", "FR", "hosts us", "everything, sealed")
        recipients.add(tx, "sub_processor", host)
        found = running.read(tx)
        assert found is not None
        schedule.confirm(tx, found.digest)
    after = read_notice(vendor)
    assert "Invented Hosts SA (FR)" in after
    assert "not carried out yet" not in after
    french = read_notice(vendor, "fr")
    assert "90 jours, puis effacé" in french
    with vendor.as_(vendor.operator) as tx, pytest.raises(Invalid):
        processing.make_notice(tx, "Invented SaaS", "de")


def test_the_notice_names_every_purpose_term_and_recipient(vendor: Vendor) -> None:
    with vendor.as_(vendor.officer) as tx:
        found = processing.read(tx)
        rows = processing.list_processing(tx)
    said = read_notice(vendor)
    for purpose in found.purposes:
        assert purpose.texts["en"].text in said
    for term in found.terms:
        assert term.what["en"] in said
    assert {row.name for row in rows} == {purpose.name for purpose in found.purposes}
    with vendor.as_(vendor.operator) as tx, pytest.raises(Denied):
        processing.list_processing(tx)


def test_a_breach_hits_whose_log_names_it_in_that_window_and_no_other(vendor: Vendor) -> None:
    (hit, admin), (spared, _) = vendor.enrol(), vendor.enrol()
    with vendor.as_(system("tests")) as tx:
        for tenant in (hit, spared):
            asked = {"grant": "grt_1", "on": f"dbs_{tenant}"}
            trail.record(tx, tenant, "lease.asked", f"lse_{tenant}", asked)
        now = tx.at
    vendor.database._clock = lambda: now + timedelta(hours=1)

    def known(since: timedelta, *things: str) -> Known:
        at = now + timedelta(minutes=30)
        return Known("a laptop was taken", things, now + since, at, at)

    with vendor.as_(vendor.officer) as tx:
        whole = breaches.record(tx, known(-timedelta(hours=2), f"dbs_{hit}", "srv_none"))
        later = breaches.record(tx, known(timedelta(minutes=5), f"dbs_{hit}"))
        assert breaches.get_view(tx, whole).tenants == (hit,)
        assert breaches.get_view(tx, later).tenants == ()
        assert breaches.tell(tx, whole, "change the passwords that you keep there") == 1
        with pytest.raises(Conflict):
            breaches.tell(tx, whole, "and once more, for nobody heard")
        mails = tx.session.query(mail.Mail).filter_by(person_id=admin).all()
        assert any("change the passwords" in one.text for one in mails)


def test_the_clock_of_a_breach_is_72_hours_and_late_is_said(vendor: Vendor) -> None:
    with vendor.as_(vendor.officer) as tx:
        now = tx.at
        at = now - timedelta(hours=1)
        known = Known("a laptop was taken", ("srv_1",), at - timedelta(days=1), at, at)
        first, second = breaches.record(tx, known), breaches.record(tx, known)
        assert breaches.get_view(tx, first).due_at == at + CLOCK
        breaches.notify(tx, first, reference="CNIL 1")
        with pytest.raises(Conflict):
            breaches.notify(tx, first, why_not="it was nothing")
        with pytest.raises(Invalid):
            breaches.notify(tx, second)
    vendor.database._clock = lambda: now + CLOCK
    with vendor.as_(vendor.operator) as tx:
        late = [item.id for item in lateness.list_late(tx, 0) if item.what == "breach"]
    assert late == [second]


@pytest.mark.parametrize(
    ("since", "until", "known"), [(-1, 1, 1), (-1, -2, -1), (-3, -1, -4), (-9000, -1, -1)]
)
def test_a_window_that_can_not_be_is_refused(
    vendor: Vendor, since: int, until: int, known: int
) -> None:
    with vendor.as_(vendor.officer) as tx:
        hours = [tx.at + timedelta(hours=hour) for hour in (since, until, known)]
        with pytest.raises(Invalid):
            breaches.record(tx, Known("a laptop was taken", ("srv_1",), *hours))
