"""What a person asks, and its month: told, extended once, answered once, never lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from broker import lateness, mail, people, sweeps
from broker.errors import Conflict, Denied, Invalid, NotFound
from broker.ids import PersonId
from broker.jobs import Queue
from broker.rights import acting, cases
from broker.rights.cases import add_months
from broker.settings import Mail as MailSettings
from broker.tx import Actor
from tests.rights.test_everything_held import make_people
from tests.verify.vendor import Vendor

WHY = "the records of three systems have to be looked through"


@given(st.datetimes(datetime(2000, 1, 1), datetime(2090, 1, 1)), st.integers(1, 24))  # noqa: DTZ001  # any zone
def test_a_month_ends_on_its_own_day_or_the_months_last(at: datetime, months: int) -> None:
    due = add_months(at, months)
    assert (due.year * 12 + due.month) - (at.year * 12 + at.month) == months
    assert due.day == at.day or (due.day < at.day and (due + timedelta(days=1)).day == 1)
    assert due.time() == at.time()


def person_of(vendor: Vendor) -> Actor:
    (person, _), *_ = make_people(vendor, 1).items()
    return Actor("tenant", "password", PersonId(person))


def mails(vendor: Vendor, actor: Actor) -> list[str]:
    with vendor.as_(vendor.operator) as tx:
        query = sa.select(mail.Mail.subject).where(mail.Mail.person_id == actor.person_id)
        return list(tx.session.scalars(query.order_by(mail.Mail.id)))


def later(vendor: Vendor, days: int) -> None:
    vendor.database._clock = lambda: datetime.now(UTC) + timedelta(days=days)


def test_an_ask_is_on_the_list_told_reminded_extended_once_and_answered(vendor: Vendor) -> None:
    person = person_of(vendor)
    with vendor.as_(person) as tx:
        case_id = cases.ask(tx, "access", "everything, please")
        (mine,) = cases.list_cases(tx, own=True)
        with pytest.raises(Denied):
            cases.list_cases(tx)
    assert mine.proof == "signed in by password"
    assert mine.due_at == add_months(mine.received_at, 1)
    assert "A person asks: access" in mails(vendor, vendor.officer)
    later(vendor, 25)
    for _ in range(2):
        sweeps.sweep_ends(vendor.database, Queue(), 0)
    assert mails(vendor, vendor.officer).count("Soon due: access") == 1
    later(vendor, 32)
    with vendor.as_(vendor.officer) as tx:
        assert [late.id for late in lateness.list_late(tx) if late.what == "rights"] == [case_id]
        with pytest.raises(Invalid):
            cases.extend(tx, case_id, "no")
        cases.extend(tx, case_id, WHY)
        assert "rights" not in {late.what for late in lateness.list_late(tx)}
        with pytest.raises(Conflict, match="can be once"):
            cases.extend(tx, case_id, WHY)
        cases.answer(tx, case_id, "done", "the export was sent")
        with pytest.raises(Conflict, match="answered already"):
            cases.answer(tx, case_id, "refused", "after all not")
        view = cases.get_case(tx, case_id)
    assert view.due_at == add_months(mine.received_at, 3)
    assert (view.outcome, view.extended_why) == ("done", WHY)
    assert mails(vendor, person)[-3:] == [
        "Your request (access): received",
        "Your request (access): takes longer",
        "Your request (access): done",
    ]


def test_who_refuses_says_why_and_where_to_complain(vendor: Vendor) -> None:
    person = person_of(vendor)
    with vendor.as_(vendor.officer) as tx:
        with pytest.raises(Invalid, match="how you know"):
            cases.take_in(tx, person.person_id or "", "erasure", said="", proof="")
        case_id = cases.take_in(
            tx, person.person_id or "", "erasure", said="by letter", proof="the letter's signature"
        )
        cases.answer(tx, case_id, "refused", "a court needs it")
        text = tx.session.scalars(
            sa.select(mail.Mail.text).where(mail.Mail.person_id == person.person_id)
        ).all()[-1]
    assert "a court needs it" in text
    assert "complain to your supervisory authority" in text


def test_what_a_person_asked_is_theirs_and_the_officers_alone(vendor: Vendor) -> None:
    person, other = person_of(vendor), person_of(vendor)
    with vendor.as_(person) as tx:
        case_id = cases.ask(tx, "portability")
    for actor in (other, vendor.operator):
        with vendor.as_(actor) as tx, pytest.raises(NotFound):
            cases.get_case(tx, case_id)
        with vendor.as_(actor) as tx, pytest.raises(Denied):
            cases.answer(tx, case_id, "done", "not mine")


def test_an_objection_to_marketing_takes_effect_at_once(vendor: Vendor) -> None:
    from broker.consents import ledger
    from broker.consents.ledger import Consent
    from broker.consents.purposes import get_purpose

    person = person_of(vendor)
    with vendor.as_(person) as tx:
        (tenant_id,) = people.list_tenants_of_actor(tx)
        consent = Consent(tenant_id, acting.MARKETING, PersonId(person.person_id or ""))
        ledger.give(tx, consent, get_purpose(tx, acting.MARKETING).digest("en"))
        assert ledger.is_live(tx, consent)
    with vendor.as_(person) as tx:
        case_id = acting.object_to_marketing(tx, Queue())
        assert not ledger.is_live(tx, consent)
        assert cases.get_case(tx, case_id).outcome == "done"


@pytest.mark.long
def test_who_is_restricted_is_written_to_about_their_rights_alone(vendor: Vendor) -> None:
    from broker.consents import ledger
    from broker.consents.ledger import Consent
    from broker.consents.purposes import get_purpose

    person = person_of(vendor)
    with vendor.as_(person) as tx:
        (tenant_id,) = people.list_tenants_of_actor(tx)
        own = Consent(tenant_id, "testimonial", PersonId(person.person_id or ""))
        ledger.give(tx, own, get_purpose(tx, "testimonial").digest("fr"))
        case_id = cases.ask(tx, "restriction")
    with vendor.as_(vendor.officer) as tx:
        acting.restrict(tx, person.person_id or "", restricted=True)
        cases.answer(tx, case_id, "done", "it is stored, and put to no use")
        assert not ledger.is_live(tx, own)
        with pytest.raises(Conflict):
            acting.restrict(tx, person.person_id or "", restricted=True)

    def waiting() -> list[str]:
        with vendor.as_(vendor.operator) as tx:
            query = sa.select(mail.Mail.subject).where(
                mail.Mail.person_id == person.person_id, mail._may_be_sent()
            )
            return list(tx.session.scalars(query.order_by(mail.Mail.id)))

    assert [subject.partition(":")[0] for subject in waiting()] == [
        "Your request (restriction)"
    ] * 2
    with vendor.as_(vendor.officer) as tx:
        acting.restrict(tx, person.person_id or "", restricted=False)
    assert len(waiting()) > 2
    assert MailSettings().host  # nothing was sent here: no server listens


@pytest.mark.long
def test_a_case_goes_on_and_never_back(vendor: Vendor) -> None:
    """The second barrier, whoever writes SQL by hand."""
    with vendor.as_(person_of(vendor)) as tx:
        case_id = cases.ask(tx, "access")
    with vendor.as_(vendor.officer) as tx:
        cases.extend(tx, case_id, WHY)
        cases.answer(tx, case_id, "partly", "one system is left")
    for change in (
        "UPDATE rights_case SET outcome = 'done'",
        "UPDATE rights_case SET due_at = due_at + interval '1 day'",
        "UPDATE rights_case SET kind = 'erasure'",
    ):
        with vendor.superuser() as connection, pytest.raises(Exception, match="already"):
            connection.execute(change)
