"""Dates are moved by their subject: its order and intervals stay in all tables, no date does."""

from __future__ import annotations

import hashlib
import hmac
from contextlib import closing
from datetime import date, timedelta

import pytest

from broker.embedded import EmbeddedServer
from broker.engines import Column, Fate, Table
from broker.engines.postgres.catalogue import read_catalogue
from broker.engines.postgres.connect import connect
from broker.engines.postgres.masks import SESSION_KEY, masked_select, session_options
from broker.errors import Invalid
from broker.secret import Secret
from tests.conftest import admin, new_database, superuser

KEY = b"k" * 32
LABEL = "shift by public.people.id"
SCRIPT = """
    CREATE TABLE public.people (id bigint PRIMARY KEY, born date);
    CREATE TABLE public.visits (id int, came timestamptz, went timestamptz);
    INSERT INTO public.people SELECT n, date '1980-01-01' + n FROM generate_series(1, 300) n;
    INSERT INTO public.visits SELECT n, '2024-03-30 12:00Z', '2024-10-27 12:00:00.000001Z'
      FROM generate_series(1, 300) n"""


def days(subject: int) -> int:
    """By how many days this subject's dates move, by Python's own HMAC."""
    digest = hmac.new(KEY, f"{LABEL}\0{subject}".encode(), hashlib.sha256).hexdigest()
    return (int(digest[:12], 16) % 60 + 1) * (1 - 2 * (int(digest[13:25], 16) % 2))


def test_all_dates_of_a_subject_move_alike_in_every_table_and_none_stays(
    live_server: EmbeddedServer,
) -> None:
    name = new_database(live_server)
    with admin(live_server, name) as owner:
        owner.execute(SCRIPT)
    shift = Fate("shift", LABEL, "", subject="id")
    fates = {"id": Fate("keep", "", ""), **dict.fromkeys(("born", "came", "went"), shift)}
    target = superuser(live_server, name)
    with closing(connect(target, options=session_options(Secret(KEY)))) as reader:
        people, visits = (
            reader.execute(masked_select(table, fates, SESSION_KEY)[0]).fetchall()
            for table in read_catalogue(reader).tables
        )
    moved = {n: days(n) for n in range(1, 301)}
    assert 0 not in moved.values()
    assert len(set(moved.values())) > 60
    first = date(1980, 1, 1)
    assert people == [(n, first + timedelta(days=n + moved[n])) for n in range(1, 301)]
    for n, came, went in visits:
        assert came.date() == date(2024, 3, 30) + timedelta(days=moved[n])
        assert went - came == timedelta(days=211, microseconds=1)


def test_a_shift_without_a_subject_is_refused() -> None:
    table = Table("public", "t", "table", (Column("d", "date", "date"),))
    with pytest.raises(Invalid, match="whose a row is"):
        masked_select(table, {"d": Fate("shift", "l", "")}, SESSION_KEY)
