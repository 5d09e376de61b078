"""Choosing entries and writing them for other systems: pure rules."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta

import pytest

from broker.audit.formats import FORMATS, write_entries
from broker.audit.merkle import leaf_hash
from broker.audit.selecting import Chosen, Filter, Wanted
from broker.entries import parse_entry
from tests.audit.world import AT, ORIGIN, Log


def log_of_two_tickets() -> list[Chosen]:
    log = Log()
    log.record("grant.requested", "grt_a", facts={"ticket": "tkt_1", "database": "dbs_x"})
    log.record("grant.requested", "grt_b", facts={"ticket": "tkt_2"}, who="psn_b")
    log.record("grant.approved", "grt_a")
    log.record("lease.issued", "lse_a", facts={"grant": "grt_a"})
    log.record("lease.revoked", "lse_a", who="psn_b")
    log.record("database.registered", "dbs_x")
    log.record("grant.ended", "grt_b")
    return [
        Chosen(index, index, leaf_hash(data), parse_entry(data))
        for index, data in enumerate(log.entries)
    ]


@pytest.mark.parametrize(
    ("wanted", "positions"),
    [
        (Wanted(), [0, 1, 2, 3, 4, 5, 6]),
        (Wanted(kind="grant"), [0, 1, 2, 6]),
        (Wanted(kind="grant.ended"), [6]),
        (Wanted(kind="gran"), []),
        (Wanted(person="psn_b"), [1, 4]),
        (Wanted(ticket="tkt_1"), [0, 2, 3, 4]),
        (Wanted(ticket="tkt_2"), [1, 6]),
        (Wanted(ticket="tkt_1", person="psn_b"), [4]),
        (Wanted(since=AT + timedelta(minutes=5)), [5, 6]),
        (Wanted(until=AT + timedelta(minutes=1)), [0]),
    ],
)
def test_entries_are_chosen_by_kind_person_ticket_and_time(
    wanted: Wanted, positions: list[int]
) -> None:
    """A database that a ticket's request names is not of that ticket alone."""
    chosen = Filter(wanted)
    taken = [row.position for row in log_of_two_tickets() if chosen.takes(row.entry)]
    assert taken == positions


def test_json_lines_hold_each_entry_with_its_place() -> None:
    rows = log_of_two_tickets()
    lines = [json.loads(line) for line in write_entries("jsonl", ORIGIN, rows).splitlines()]
    assert [line["position"] for line in lines] == list(range(7))
    assert lines[0]["facts"] == {"ticket": "tkt_1", "database": "dbs_x"}
    assert lines[3]["leaf_hash"] == rows[3].leaf_hash.hex()
    assert "Zoë" not in write_entries("jsonl", ORIGIN, rows).decode()  # personal values stay here


def test_csv_reads_back_with_its_header() -> None:
    rows = log_of_two_tickets()
    read = list(csv.DictReader(io.StringIO(write_entries("csv", ORIGIN, rows).decode())))
    assert [row["kind"] for row in read] == [row.entry.kind for row in rows]
    assert json.loads(read[0]["facts"])["ticket"] == "tkt_1"


def test_ocsf_events_have_a_class_an_activity_and_their_proof() -> None:
    rows = log_of_two_tickets()
    events = [json.loads(line) for line in write_entries("ocsf", ORIGIN, rows).splitlines()]
    for row, event in zip(rows, events, strict=True):
        assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"]
        assert event["category_uid"] == event["class_uid"] // 1000
        assert event["activity_name"] == row.entry.kind
        assert event["time"] == int(row.entry.at.timestamp() * 1000)
        assert event["metadata"]["uid"] == f"{ORIGIN}/{row.position}"
        assert event["unmapped"]["log"]["leaf_hash"] == row.leaf_hash.hex()
    assert {event["class_uid"] for event in events} == {3003, 3004, 3005}


@pytest.mark.parametrize("form", FORMATS)
def test_nothing_chosen_is_an_empty_file(form: str) -> None:
    assert len(write_entries(form, ORIGIN, []).splitlines()) == (form == "csv")
