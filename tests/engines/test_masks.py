"""Masks on a real server: what they give, what they refuse, and that nobody else's code runs."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any, Protocol
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from broker.embedded import EmbeddedServer
from broker.engines import Column, Fate, Table
from broker.engines.postgres.canaries import (
    PER_COLUMN,
    PROBE,
    Canary,
    count_canaries,
    take_canaries,
)
from broker.engines.postgres.catalogue import read_catalogue
from broker.engines.postgres.connect import connect
from broker.engines.postgres.constants import _CONSTANTS, find_constant
from broker.engines.postgres.masks import (
    MASKS,
    SESSION_KEY,
    find_obstacle,
    live_select,
    masked_select,
    session_options,
    table_key,
)
from broker.errors import Invalid
from broker.secret import Secret
from tests.conftest import admin, new_database, superuser

Connection = psycopg.Connection[tuple[Any, ...]]
KEY = Secret(bytes(range(32)))
OTHER_KEY = Secret(b"\xff" * 64)


class Reader(Protocol):
    def __call__(self, key: Secret[bytes] = KEY) -> Connection: ...


@pytest.fixture
def database(live_server: EmbeddedServer) -> str:
    return new_database(live_server)


@pytest.fixture
def owner(live_server: EmbeddedServer, database: str) -> Iterator[Connection]:
    with admin(live_server, database) as connection:
        yield connection


@pytest.fixture
def reader(live_server: EmbeddedServer, database: str) -> Iterator[Reader]:
    """Opens sessions as the broker does, the key's pads among their options."""
    with ExitStack() as stack:
        target = superuser(live_server, database)
        yield lambda key=KEY: stack.enter_context(connect(target, options=session_options(key)))


def table(connection: Connection, name: str = "t") -> Table:
    return next(t for t in read_catalogue(connection).tables if t.name == name)


def fates(masks: Mapping[str, str], label: str = "l") -> dict[str, Fate]:
    """A shift goes by the number in `e`."""
    return {
        column: Fate(mask, label, "", subject="e" if mask == "shift" else "")
        for column, mask in masks.items()
    }


def read(
    connection: Connection, masks: Mapping[str, str], name: str = "t", label: str = "l"
) -> list[tuple[Any, ...]]:
    select, _ = masked_select(table(connection, name), fates(masks, label), SESSION_KEY)
    return connection.execute(select).fetchall()


def mac(key: Secret[bytes], label: str, value: str) -> str:
    message = label.encode() + b"\0" + value.encode()
    return hmac.new(key.reveal(), message, hashlib.sha256).hexdigest()


@pytest.mark.parametrize("key", [KEY, OTHER_KEY])
@pytest.mark.parametrize("value", ["", "é🦊\n\\x41 %s", "x" * 5000])
def test_a_token_is_pythons_hmac(
    owner: Connection, reader: Reader, key: Secret[bytes], value: str
) -> None:
    owner.execute("CREATE TABLE t (a text, b uuid, c int, d bigint, e varchar(24))")
    uuid = UUID("12345678-1234-5678-1234-567812345678")
    owner.execute("INSERT INTO t VALUES (%s, %s, 7, 8, 'v')", (value, uuid))
    row = read(reader(key), dict.fromkeys("abcde", "token"), label="é'")
    assert row == [
        (
            mac(key, "é'", value)[:32],
            UUID(mac(key, "é'", str(uuid))[:32]),
            int(mac(key, "é'", "7")[:7], 16),
            int(mac(key, "é'", "8")[:13], 16),
            mac(key, "é'", "v")[:24],
        )
    ]


def test_an_email_reaches_nobody(owner: Connection, reader: Reader) -> None:
    owner.execute("CREATE TABLE t (a varchar(33)); INSERT INTO t VALUES ('jo@example.org')")
    expected = f"u{mac(KEY, 'l', 'jo@example.org')[:16]}@example.invalid"
    assert read(reader(), {"a": "email"}) == [(expected,)]


def test_filler_keeps_the_class_of_length(owner: Connection, reader: Reader) -> None:
    filled = {0: 0, 1: 1, 2: 2, 3: 4, 4: 4, 5: 8, 2048: 2048, 2049: 4096, 9999: 4096}
    owner.execute("CREATE TABLE t (n int, a text, b varchar(10000), c char(6))")
    owner.execute(
        "INSERT INTO t SELECT n, repeat('é', n), repeat('é', n), 'é' FROM unnest(%s) n",
        (list(filled),),
    )
    rows = read(reader(), {"n": "keep", **dict.fromkeys("abc", "filler")})
    assert {n: (len(a), len(b), len(c)) for n, a, b, c in rows} == {
        n: (length, length, 1) for n, length in filled.items()
    }
    assert "é" not in str(rows)


def test_filler_fits_its_column(owner: Connection, reader: Reader) -> None:
    owner.execute("CREATE TABLE t (a varchar(5)); INSERT INTO t VALUES ('abcde')")
    assert read(reader(), {"a": "filler"}) == [("lorem",)]


YEARS = [
    ("date", "2021-12-31", "2021-01-01"),
    ("date", "infinity", "infinity"),
    ("date", "-infinity", "-infinity"),
    ("date", "4714-12-01 BC", "4713-01-01 BC"),
    ("date", "5874897-12-31", "294276-01-01"),
    ("date", "0044-03-15 BC", "0044-01-01 BC"),
    ("timestamp(3)", "2021-12-31 23:59:59.999", "2021-01-01 00:00:00"),
    ("timestamp", "-infinity", "-infinity"),
    ("timestamp", "4714-11-24 00:00:00 BC", "4713-01-01 00:00:00 BC"),
    ("timestamp", "294276-12-31 23:59:59.999999", "294276-01-01 00:00:00"),
    ("timestamptz", "2021-12-31 23:30:00-05", "2022-01-01 00:00:00+00"),
    ("timestamptz", "infinity", "infinity"),
    ("timestamptz", "4714-11-24 00:00:00+00 BC", "4713-01-01 00:00:00+00 BC"),
]


def test_only_the_year_stays(owner: Connection, reader: Reader) -> None:
    columns = ", ".join(f"c{n} {type_name}" for n, (type_name, _, _) in enumerate(YEARS))
    values = ", ".join(f"'{value}'" for _, value, _ in YEARS)
    owner.execute(f"CREATE TABLE t ({columns}); INSERT INTO t VALUES ({values})")
    connection = reader()
    found = table(connection)
    masks = fates({column.name: "year" for column in found.columns})
    select, names = masked_select(found, masks, SESSION_KEY)
    shown = sql.SQL("SELECT {} FROM ({}) AS s").format(
        sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in names),
        select,
    )
    assert connection.execute(shown).fetchone() == tuple(expected for _, _, expected in YEARS)


def test_every_constant_is_accepted_by_its_type_and_keeps_null(
    owner: Connection, reader: Reader
) -> None:
    types = sorted(_CONSTANTS)
    columns = [f"c{n} {name}, a{n} {name}[]" for n, name in enumerate(types)]
    owner.execute(f"CREATE TABLE t ({', '.join(columns)}); INSERT INTO t DEFAULT VALUES")
    constants = [find_constant(column) for column in table(owner).columns]
    given = ", ".join(f"'{constant.text}'" for constant in constants if constant is not None)
    owner.execute(f"INSERT INTO t VALUES ({given})")
    assert given.count(",") >= 2 * len(types) - 1
    connection = reader()
    names = [column.name for column in table(connection).columns]
    masked, _ = masked_select(
        table(connection), fates(dict.fromkeys(names, "constant")), SESSION_KEY
    )
    connection.execute(sql.SQL("INSERT INTO public.t {}").format(masked))
    rows = owner.execute("SELECT t::text, count(*) FROM t GROUP BY 1").fetchall()
    assert [count for _, count in rows] == [2, 2]


def supported(connection: Connection, mask: str) -> dict[str, str]:
    """This mask on each column that takes it, `keep` on the others."""
    found = table(connection)
    return {
        column.name: mask if find_obstacle(mask, column, found) is None else "keep"
        for column in found.columns
    }


@pytest.mark.parametrize("mask", sorted(MASKS))
def test_null_stays_null_and_a_value_becomes_null_by_no_mask_but_null(
    owner: Connection, reader: Reader, mask: str
) -> None:
    owner.execute(
        "CREATE TYPE pair AS (a int, b int); CREATE TYPE mood AS ENUM ('x');"
        "CREATE TABLE t (a text, b varchar(40), c char(40), d uuid, e int, f bigint, g date,"
        " h timestamptz, i text[], j jsonb, k pair, l mood, m name, n pair[], o timestamp,"
        " p inet, q macaddr, r numeric, s bytea);"
        "INSERT INTO t DEFAULT VALUES;"
        "INSERT INTO t VALUES ('', '', '', gen_random_uuid(), 0, 0, 'infinity', '-infinity',"
        " '{}', 'null', ROW(NULL, NULL), 'x', '', '{}', now(),"
        " '::1', '00:00:00:00:00:00', 'NaN', '')"
    )
    connection = reader()
    chosen = supported(connection, mask)
    assert mask in chosen.values()
    # Not fetched as values: Python has no date for infinity.
    select, columns = masked_select(table(connection), fates(chosen), SESSION_KEY)
    counts = sql.SQL("SELECT {} FROM ({}) AS s").format(
        sql.SQL(", ").join(
            sql.SQL("pg_catalog.count({})").format(sql.Identifier(name)) for name in columns
        ),
        select,
    )
    expected = [0 if mask == "null" else 1] * len(columns)
    assert connection.execute(counts).fetchone() == tuple(expected)


def test_names_are_quoted_whatever_they_hold(owner: Connection, reader: Reader) -> None:
    schema, name, column = 'a "b', "x\n\\! 🦊 %s", "\"; DROP TABLE t; -- '%(a)s \\"
    owner.execute(
        sql.SQL("CREATE SCHEMA {}; CREATE TABLE {} ({} text, k text, t text)").format(
            sql.Identifier(schema), sql.Identifier(schema, name), sql.Identifier(column)
        )
    )
    owner.execute(
        sql.SQL("INSERT INTO {} VALUES ('v', 'v', 'v')").format(sql.Identifier(schema, name))
    )
    connection = reader()
    masks = fates({column: "token", "k": "token", "t": "filler"})
    found = table(connection, name)
    select, columns = masked_select(found, masks, SESSION_KEY)
    token = mac(KEY, "l", "v")[:32]
    assert columns == (column, "k", "t")
    assert connection.execute(select).fetchall() == [(token, token, "l")]
    sample = take_canaries(found, masks, SESSION_KEY)
    assert sample is not None
    assert {row[0] for row in connection.execute(sample)} == {column, "k", "t"}


def test_one_label_joins_and_another_label_or_key_does_not(
    owner: Connection, reader: Reader
) -> None:
    owner.execute(
        "CREATE TABLE t (a text); CREATE TABLE u (b char(40));"
        "INSERT INTO t VALUES ('jo'); INSERT INTO u VALUES ('jo')"
    )
    here, other = reader(), reader(OTHER_KEY)
    ((token,),) = read(here, {"a": "token"})
    assert read(here, {"b": "token"}, "u") == [(token,)]
    assert read(reader(), {"a": "token"}) == [(token,)]
    assert read(here, {"b": "token"}, "u", label="other") != [(token,)]
    assert read(other, {"a": "token"}) != [(token,)]


def test_equal_citexts_get_equal_tokens(owner: Connection, reader: Reader) -> None:
    """No citext is at hand here: an extension's type is stood for by its name."""
    column = Column("a", "public.citext", "public.citext", tenant_type=True)
    owner.execute("CREATE TABLE t (a text); INSERT INTO t VALUES ('Jo'), ('jo')")
    select, _ = masked_select(
        Table("public", "t", "table", (column,)), fates({"a": "token"}), SESSION_KEY
    )
    rows = reader().execute(select).fetchall()
    assert rows == [(mac(KEY, "l", "jo")[:32],)] * 2


HOSTILE = """
CREATE TABLE ran (what text);
CREATE FUNCTION caught(what text) RETURNS text LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO public.ran VALUES (what); RETURN what; END $$;
CREATE TYPE mood AS ENUM ('fine');
CREATE FUNCTION mood_text(mood) RETURNS text LANGUAGE plpgsql AS
    $$ BEGIN RETURN public.caught('cast'); END $$;
CREATE CAST (mood AS text) WITH FUNCTION mood_text(mood) AS IMPLICIT;
CREATE FUNCTION public.sha256(text) RETURNS bytea LANGUAGE plpgsql AS
    $$ BEGIN PERFORM public.caught('sha256'); RETURN ''; END $$;
CREATE FUNCTION public.sha256(bytea) RETURNS bytea LANGUAGE plpgsql AS
    $$ BEGIN PERFORM public.caught('sha256'); RETURN ''; END $$;
CREATE FUNCTION public.format(text, mood) RETURNS text LANGUAGE plpgsql AS
    $$ BEGIN RETURN public.caught('format'); END $$;
CREATE FUNCTION joined(bytea, bytea) RETURNS bytea LANGUAGE plpgsql AS
    $$ BEGIN PERFORM public.caught('operator'); RETURN ''; END $$;
CREATE OPERATOR public.|| (LEFTARG = bytea, RIGHTARG = bytea, FUNCTION = joined);
CREATE FUNCTION equal(text, text) RETURNS boolean LANGUAGE plpgsql AS
    $$ BEGIN PERFORM public.caught('operator'); RETURN true; END $$;
CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = text, FUNCTION = equal);
CREATE OPERATOR public.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = equal);
CREATE TYPE pair AS (a mood);
CREATE TABLE t (a text, b mood, c mood[], d pair);
INSERT INTO t VALUES ('x', 'fine', '{fine}', ROW('fine'));
"""


def test_no_code_of_the_tenants_runs_in_our_selects(owner: Connection, reader: Reader) -> None:
    """Its cast would run as our role and could read the key; so would what shadows a function."""
    owner.execute(HOSTILE)
    owner.execute("SET search_path TO public, pg_catalog")
    owner.execute("SELECT 'fine'::mood::text, 'a' = 'b'::text, sha256(''::bytea)")
    assert owner.execute("SELECT count(*) FROM ran").fetchone() == (3,)  # the traps do work
    owner.execute("TRUNCATE ran")
    connection = reader()
    found = table(connection)
    connection.execute("SET search_path TO public, pg_catalog")
    for mask in MASKS:
        masks = fates(supported(connection, mask))
        connection.execute("SET search_path TO public, pg_catalog")
        select, _ = masked_select(found, masks, SESSION_KEY)
        with connection.cursor().copy(sql.SQL("COPY ({}) TO STDOUT").format(select)) as copy:
            assert list(copy)
        sample = take_canaries(found, masks, SESSION_KEY)
        if sample is not None:
            connection.execute(sample)
    every_bucket = [Canary("0" * 64, bucket) for bucket in range(4096)]
    looked = {column.name: every_bucket for column in found.columns}
    counted = connection.execute(count_canaries(found, looked, SESSION_KEY))
    assert set(counted.fetchone() or ()) == {0}
    assert owner.execute("SELECT count(*) FROM ran").fetchone() == (0,)


def test_the_key_is_in_no_statement_that_the_server_shows(
    owner: Connection, reader: Reader
) -> None:
    owner.execute("CREATE TABLE t (a text)")
    connection = reader()
    read(connection, {"a": "token"})
    pid = connection.info.backend_pid
    row = owner.execute("SELECT to_json(a)::text FROM pg_stat_activity a WHERE pid = %s", (pid,))
    shown = str(row.fetchone())
    assert "broker.i" in shown  # the name of the setting is what it shows
    for pad in session_options(KEY).values():
        assert pad.reveal() not in shown
    assert KEY.reveal().hex() not in shown


def test_a_column_without_a_fate_is_refused(owner: Connection, reader: Reader) -> None:
    """G5: a column added yesterday is masked today, or nothing is read."""
    owner.execute("CREATE TABLE t (a text, added text)")
    found = table(reader())
    for build in (masked_select, live_select):
        with pytest.raises(Invalid, match="added"):
            build(found, fates({"a": "keep"}), SESSION_KEY)
    with pytest.raises(Invalid, match="added"):
        take_canaries(found, fates({"a": "keep"}), SESSION_KEY)


def test_a_mask_that_its_type_does_not_take_is_refused() -> None:
    found = Table("s", "t", "table", (Column("a", "jsonb", "jsonb"),))
    for mask in ("token", "email", "filler", "year", "no-such-mask"):
        with pytest.raises(Invalid):
            masked_select(found, fates({"a": mask}), SESSION_KEY)
    with pytest.raises(Invalid, match="taken"):
        masked_select(found, fates({"a": "constant"}, "spot"), SESSION_KEY)


def test_a_copy_leaves_generated_columns_out_and_a_view_demands_their_fate(
    owner: Connection, reader: Reader
) -> None:
    owner.execute("CREATE TABLE t (a text, loud text GENERATED ALWAYS AS (upper(a)) STORED)")
    owner.execute("INSERT INTO t VALUES ('v')")
    connection = reader()
    found = table(connection)
    assert masked_select(found, fates({"a": "keep"}), SESSION_KEY)[1] == ("a",)
    with pytest.raises(Invalid, match="loud"):
        live_select(found, fates({"a": "keep"}), SESSION_KEY)
    select, columns = live_select(found, fates({"a": "keep", "loud": "token"}), SESSION_KEY)
    assert columns == ("a", "loud")
    assert connection.execute(select).fetchall() == [("v", mac(KEY, "l", "V")[:32])]


def test_a_live_view_reads_its_key_from_a_table_and_a_root_with_its_partitions(
    owner: Connection,
) -> None:
    owner.execute(
        "CREATE TABLE t (n int, a text) PARTITION BY RANGE (n);"
        "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (9);"
        "INSERT INTO t VALUES (1, '€'), (2, NULL);"
        'CREATE SCHEMA "sab_s_%"; CREATE TABLE "sab_s_%".masking_key (i bytea, o bytea)'
    )
    pads = [bytes.fromhex(pad.reveal()) for pad in session_options(KEY).values()]
    owner.execute('INSERT INTO "sab_s_%%".masking_key VALUES (%s, %s)', pads)
    select, _ = live_select(
        table(owner),
        fates({"n": "keep", "a": "token"}),
        table_key("sab_s_%"),
        sql.SQL("t.n OPERATOR(pg_catalog.<) 9"),
    )
    owner.execute(sql.SQL('CREATE VIEW "sab_s_%".t AS {}').format(select))
    for encoding in ("UTF8", "LATIN1"):  # the reader's to choose: it must tell nothing
        owner.execute(sql.SQL("SET client_encoding TO {}").format(encoding))
        rows = owner.execute('SELECT * FROM "sab_s_%".t ORDER BY n').fetchall()
        assert rows == [(1, mac(KEY, "l", "€")[:32]), (2, None)]


def test_a_copy_of_a_parent_leaves_the_rows_of_its_heirs(owner: Connection, reader: Reader) -> None:
    owner.execute("CREATE TABLE t (a int); CREATE TABLE heir () INHERITS (t)")
    owner.execute("INSERT INTO t VALUES (1); INSERT INTO heir VALUES (2)")
    assert read(reader(), {"a": "keep"}) == [(1,)]


SPOTTED = {
    "a": "token",
    "b": "filler",
    "c": "year",
    "d": "constant",
    "e": "null",
    "f": "email",
    "g": "constant",
    "h": "keep",
}


def take(connection: Connection, masks: Mapping[str, Fate]) -> dict[str, list[Canary]]:
    taking = take_canaries(table(connection), masks, SESSION_KEY)
    assert taking is not None
    canaries: dict[str, list[Canary]] = {}
    for name, digest, bucket in connection.execute(taking):
        canaries.setdefault(name, []).append(Canary(digest, bucket))
    return canaries


def test_canaries_find_what_was_not_masked_and_nothing_else(
    owner: Connection, reader: Reader
) -> None:
    shape = "(a text, b char(9), c date, d numeric(9, 2), e int, f varchar(40), g char(3), h text)"
    owner.execute(f"CREATE TABLE t {shape}; CREATE TABLE honest {shape}; CREATE TABLE leak {shape}")
    owner.execute(
        "INSERT INTO t SELECT 'name ' || n, 'note ' || n, date '2020-01-02' + n, n, n,"
        " n || '@example.org', n, 'kept' FROM generate_series(1, 99) n"
    )
    owner.execute("INSERT INTO t VALUES ('', '', NULL, NULL, NULL, '', '', '')")
    owner.execute("INSERT INTO leak SELECT * FROM t")
    connection = reader()
    masks = fates(SPOTTED)
    rows = sql.SQL("INSERT INTO public.honest {}").format(
        masked_select(table(connection), masks, SESSION_KEY)[0]
    )
    connection.execute(rows)
    canaries = take(connection, masks)
    assert {name: len(found) for name, found in canaries.items()} == dict.fromkeys(
        "abcdefg", PER_COLUMN
    )
    names = {mac(KEY, "spot", f"name {n}") for n in range(100)}
    assert {canary.digest for canary in canaries["a"]} < names

    def count(name: str) -> dict[str, int]:
        found = table(connection, name)
        row = connection.execute(count_canaries(found, canaries, SESSION_KEY)).fetchone()
        return dict(zip(canaries, row or (), strict=True))

    assert count("leak") == dict.fromkeys("abcdefg", PER_COLUMN)
    assert count("honest") == dict.fromkeys("abcdefg", 0)


def test_a_name_that_its_mask_may_give_to_another_is_no_canary(
    owner: Connection, reader: Reader
) -> None:
    owner.execute("CREATE TABLE t (a text, n int)")
    owner.execute("INSERT INTO t VALUES ('Alice', 1), ('Alicia', 2), ('Alice Martin', 3)")
    canaries = take(reader(), fates({"a": "first_name", "n": "constant"}))
    given = {mac(KEY, "spot", name) for name in ("Alicia", "Alice Martin")}
    assert {canary.digest for canary in canaries["a"]} == given
    tokens = take_canaries(table(owner), fates({"a": "keep", "n": "token"}), SESSION_KEY)
    assert tokens is None, "28 bits meet by chance"


def test_canaries_come_from_all_over_a_large_table(owner: Connection, reader: Reader) -> None:
    owner.execute("CREATE TABLE t (a text)")
    owner.execute("INSERT INTO t SELECT n || repeat('x', 900) FROM generate_series(1, 9000) n")
    canaries = take(reader(), fates({"a": "token"}))["a"]
    first = {mac(KEY, "spot", f"{n}{'x' * 900}") for n in range(1, 1000)}
    assert len(canaries) == PER_COLUMN
    assert len({canary.digest for canary in canaries} - first) > PER_COLUMN // 2


def test_a_canary_is_a_digest_and_nothing_else(reader: Reader) -> None:
    for wrong in ("'", "0" * 63, "G" * 64, "0" * 63 + "\n"):
        with pytest.raises(Invalid):
            Canary(wrong, 0)
    with pytest.raises(Invalid):
        Canary("0" * 64, 4096)
    found = Table("s", "t", "table", (Column("a", "text", "text"),))
    assert take_canaries(found, fates({"a": "keep"}), SESSION_KEY) is None
    probe = reader().execute(PROBE).fetchone()
    assert probe is not None
    assert 0 <= probe[0] < 4096


def test_a_key_that_is_too_short_is_refused_and_not_shown() -> None:
    with pytest.raises(Invalid) as caught:
        session_options(Secret(b"short-key"))
    assert "short-key" not in str(caught.value)
    assert "36" * 32 not in repr(session_options(KEY))
