"""All that is held of a person is exported, and erased: an independent scan finds nothing more.

Rows are made from the schema, in every table that can refer to somebody, so a table that is added
and forgotten in `rights.held` fails here.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import string
import zipfile
from collections.abc import Iterable

import pytest

from broker import erasing, mail, people, signin
from broker.errors import Conflict, Denied
from broker.ids import PersonId
from broker.letters import Letter, own
from broker.rights import exporting
from broker.rights.held import HOLDINGS
from broker.tx import Actor, system
from tests.rights.scan import Hit, fill_every_table, list_referring, scan
from tests.verify.standalone import verdict
from tests.verify.vendor import Vendor

MANY = 1000 if os.environ.get("SOAK") else 12
SPARED = 2  # who stay, and of whom nothing may be taken


def new_mark(number: int) -> str:
    return f"zq{number:05}" + "".join(secrets.choice(string.ascii_lowercase) for _ in range(8))


def make_people(vendor: Vendor, many: int) -> dict[str, str]:
    """Marks by id: people of two tenants and of the vendor, with what the product itself writes."""
    homes = [vendor.enrol()[0], vendor.enrol()[0], None]
    made: dict[str, str] = {}
    for number in range(many):
        home, mark = homes[number % 3], new_mark(number)
        side, role = ("tenant", "auditor") if home else ("vendor", "engineer")
        with vendor.as_(vendor.operator) as tx:
            person = people.add_person(
                tx, side=side, email=f"{mark}@people.test", name=f"Person {mark}"
            )
            people.add_membership(tx, person, role, home)
            mail.write(tx, person, home, Letter(own(f"Hello {mark}"), [own("Dear you")]))
            for officer in people.list_recipients(tx, None, ["privacy_officer"]):
                said = Letter(own("Somebody came"), [own(f"It is Person {mark}.")])
                mail.write(tx, officer, None, said)
        with vendor.as_(Actor(side, "password", person)) as tx:
            signin.create_token(tx, f"token of {mark}", 1)
        made[person] = mark
    return made


def end_roles(vendor: Vendor, gone: Iterable[str]) -> None:
    with vendor.superuser() as connection:
        connection.execute(
            "UPDATE membership SET ended_at = now() WHERE person_id = ANY (%s)", [list(gone)]
        )


def hits_of(vendor: Vendor) -> list[Hit]:
    with vendor.superuser() as connection:
        return list(scan(connection))


def lacks(document: dict, hit: Hit) -> bool:
    """Whether the export says nothing of what the scan found."""
    rows = {
        (part["table"], one["key"]): one["row"]
        for part in document["parts"]
        for one in part["rows"]
    }
    if hit.table == "audit_entry":
        return hit.key not in {one["key"] for one in document["log"]}
    if (hit.table, hit.key) in rows and hit.what in json.dumps(rows[hit.table, hit.key]):
        return False
    return (hit.table, hit.key, hit.column) not in {
        (one["table"], one["key"], one["column"]) for one in document["mentions"]
    }


def check_logs(vendor: Vendor) -> None:
    """Every log still verifies, by both verifiers, with what names people gone from it."""
    vendor.integrate()
    with vendor.superuser() as connection:
        query = "SELECT tenant_id FROM audit_log WHERE NOT root ORDER BY 1"
        logs = [row[0] for row in connection.execute(query).fetchall()]
    assert len(logs) >= 3
    assert all(verdict(vendor.export(log), vendor.pinned(log)) for log in logs)


@pytest.mark.long
def test_every_person_is_exported_and_erased_completely(vendor: Vendor) -> None:
    """A thousand in `make soak`, a few less otherwise."""
    made = make_people(vendor, MANY + SPARED)
    with vendor.superuser() as connection:
        fill_every_table(connection, made)
    by_mark = {mark: person for person, mark in made.items()}
    found = [hit for hit in hits_of(vendor) if by_mark.get(hit.what, hit.what) in made]
    assert {hit.table for hit in found} >= {holding.table for holding in HOLDINGS} - {"erasure"}
    exported = {}
    with vendor.as_(vendor.officer) as tx:
        for person in made:
            exported[person] = exporting.read_document(tx, person)
    secret = ("address_key", "address_fold")  # said as the address itself
    lacking = [
        hit
        for hit in found
        if hit.column not in secret and lacks(exported[by_mark.get(hit.what, hit.what)], hit)
    ]
    assert lacking == []

    gone = list(made)[:MANY]
    end_roles(vendor, gone)
    kept: dict[str, set[tuple[str, str]]] = {}
    for person in gone:
        with vendor.as_(vendor.officer) as tx:
            erasing.erase_person(tx, person)
            report = erasing.get_report(tx, person)
            assert all(one["why"] for one in report["kept"])
            kept[person] = {(one["table"], one["key"]) for one in report["kept"]}
    left = [hit for hit in hits_of(vendor) if by_mark.get(hit.what, hit.what) in kept]
    unnamed = [
        hit for hit in left if (hit.table, hit.key) not in kept[by_mark.get(hit.what, hit.what)]
    ]
    assert unnamed == []
    nameless = {"person", "membership", "mail", "audit_opening", "api_token", "rights_case"}
    assert [hit for hit in left if hit.what in by_mark and hit.table in nameless] == []
    check_logs(vendor)
    spared = set(list(made)[MANY:])
    with vendor.as_(vendor.officer) as tx:
        for person in spared:
            again = exporting.read_document(tx, person)
            tables = [part["table"] for part in exported[person]["parts"]]
            assert [part["table"] for part in again["parts"]] == tables


def test_every_column_that_refers_to_a_person_is_in_the_list(vendor: Vendor) -> None:
    listed = {holding.table: set(holding.people) for holding in HOLDINGS}
    with vendor.superuser() as connection:
        referring = list_referring(connection)
        keys = connection.execute(
            "SELECT i.indrelid::regclass::text, array_agg(a.attname::text ORDER BY k.place) "
            "FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, place), "
            "pg_attribute a WHERE i.indisprimary AND a.attrelid = i.indrelid "
            "AND a.attnum = k.number GROUP BY 1"
        ).fetchall()
    for table, columns in referring.items():
        assert set(columns) <= listed.get(table, set()), table
    primary = dict(keys)
    assert all(list(one.key) == primary[one.table] for one in HOLDINGS)


def test_the_file_reads_for_people_and_for_programs(vendor: Vendor) -> None:
    (person, mark), *_ = make_people(vendor, 1).items()
    with vendor.as_(Actor("tenant", "password", PersonId(person))) as tx:
        made = exporting.export_person(tx, person)
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist()}
        assert all(one.compress_type == zipfile.ZIP_DEFLATED for one in archive.infolist())
    document, schema = json.loads(files["export.json"]), json.loads(files["schema.json"])
    assert set(schema["required"]) <= set(document)
    assert document["format"] == schema["properties"]["format"]["const"]
    page = files["export.html"]
    assert f"Person {mark}" in page
    assert "your API tokens" in page
    assert "http" not in page.replace("http-equiv", "")
    assert "token_digest" not in page + files["export.json"]
    assert vendor.as_  # the export itself is an entry of the vendor's log
    with vendor.as_(system("tests")) as tx:
        kinds = [row["entry"]["kind"] for row in exporting.read_document(tx, person)["log"]]
    assert kinds[-1] == "person.exported"


def test_the_page_to_read_ends_and_says_so(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asked a hundred thousand times gets a page that a browser opens."""
    monkeypatch.setattr(exporting, "_SHOWN", 1)
    (person, _), *_ = make_people(vendor, 1).items()
    with vendor.as_(Actor("tenant", "password", PersonId(person))) as tx:
        document = exporting.read_document(tx, person)
    page = "".join(exporting.write_page(document))
    entries = len(document["log"])
    assert entries > 1
    assert f"the first 1 of {entries}; export.json has them all" in page
    assert page.count("<dl>") <= len(document["parts"]) + 1


def test_nobody_gets_what_is_held_of_another(vendor: Vendor) -> None:
    first, second = list(make_people(vendor, 2))
    with vendor.as_(Actor("tenant", "password", PersonId(first))) as tx, pytest.raises(Denied):
        exporting.export_person(tx, second)
    with vendor.as_(vendor.operator) as tx, pytest.raises(Denied):
        exporting.export_person(tx, first)
    end_roles(vendor, [first])
    with vendor.as_(vendor.officer) as tx:
        erasing.erase_person(tx, first)
        with pytest.raises(Conflict, match="erased"):
            exporting.export_person(tx, first)
