"""What a catalogue holds, read from a real server."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from broker.embedded import EmbeddedServer
from broker.engines import Catalogue, Column, Constraint, Literal, Table, Target
from broker.engines.postgres.catalogue import read_catalogue
from broker.engines.postgres.connect import connect
from broker.errors import Invalid
from broker.secret import Secret
from tests.conftest import admin, new_database, superuser

Connection = psycopg.Connection[tuple[Any, ...]]

SHOP = """
CREATE TYPE mood AS ENUM ('fine', 'it''s bad');
CREATE DOMAIN short AS varchar(12) DEFAULT 'dom-default';
CREATE DOMAIN code AS short CHECK (VALUE <> 'dom-check');
CREATE TYPE pair AS (a int, b text);
CREATE TABLE person (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    mail varchar(40) NOT NULL UNIQUE,
    initials char(3) DEFAULT 'tab-default',
    code code,
    mood mood,
    pair pair,
    tags text[],
    amount numeric(10, 2) CHECK (amount > 4711),
    loud text GENERATED ALWAYS AS (upper(mail)) STORED,
    gone int,
    deleted_at timestamptz(3),
    CONSTRAINT whole CHECK (person IS NOT NULL)
);
ALTER TABLE person DROP COLUMN gone;
CREATE UNIQUE INDEX person_lower ON person (lower(mail)) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX person_nulls ON person (code) NULLS NOT DISTINCT;
CREATE UNIQUE INDEX person_cover ON person (code, initials) INCLUDE (amount);
CREATE INDEX person_plain ON person (amount);
CREATE TABLE visit (
    during tstzrange, person bigint, mail varchar(40),
    CONSTRAINT visit_person FOREIGN KEY (person) REFERENCES person,
    FOREIGN KEY (mail) REFERENCES person (mail),
    CONSTRAINT no_overlap EXCLUDE USING gist (during WITH &&)
);
CREATE TABLE event (at date NOT NULL, place text, n int NOT NULL)
    PARTITION BY RANGE (at, lower(place));
CREATE TABLE event_old PARTITION OF event
    FOR VALUES FROM ('1900-01-01', 'a') TO ('2000-01-01', 'a') PARTITION BY LIST (n);
CREATE TABLE event_old_1 PARTITION OF event_old FOR VALUES IN (1);
CREATE TABLE sab_like (x int);
CREATE VIEW mails AS SELECT mail FROM person WHERE mail <> 'view-text';
CREATE MATERIALIZED VIEW mats AS SELECT 1 AS one;
CREATE FUNCTION greet() RETURNS text LANGUAGE sql AS $$ SELECT 'body-text' $$;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER touched BEFORE UPDATE ON visit FOR EACH ROW WHEN (NEW.mail = 'trigger-text')
    EXECUTE FUNCTION touch();
ALTER TABLE visit ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON visit USING (mail = 'policy-text') WITH CHECK (mail <> 'policy-check');
CREATE TEMP TABLE passing (x int);
CREATE SCHEMA sab_s_abc;
CREATE VIEW sab_s_abc.hidden AS SELECT 1 AS one;
"""


@pytest.fixture
def database(live_server: EmbeddedServer) -> str:
    return new_database(live_server)


@pytest.fixture
def owner(live_server: EmbeddedServer, database: str) -> Iterator[Connection]:
    with admin(live_server, database) as connection:
        yield connection


@pytest.fixture
def reader(live_server: EmbeddedServer, database: str) -> Iterator[Connection]:
    with connect(superuser(live_server, database)) as connection:
        yield connection


@pytest.fixture
def shop(owner: Connection, reader: Connection) -> Catalogue:
    owner.execute(SHOP)
    return read_catalogue(reader)


def table(catalogue: Catalogue, name: str) -> Table:
    return next(table for table in catalogue.tables if table.name == name)


def column(catalogue: Catalogue, table_name: str, name: str) -> Column:
    return next(c for c in table(catalogue, table_name).columns if c.name == name)


def constraint(catalogue: Catalogue, table_name: str, name: str) -> Constraint:
    return next(c for c in table(catalogue, table_name).constraints if c.name == name)


def test_tables_are_sorted_and_temporary_and_our_own_ones_are_left_out(shop: Catalogue) -> None:
    names = [table.full_name for table in shop.tables]
    assert names == [
        "public.event",
        "public.event_old",
        "public.event_old_1",
        "public.person",
        "public.sab_like",
        "public.visit",
    ]
    assert shop.views == ("public.mails", "public.mats")
    assert shop.sequences == ("public.person_id_seq",)
    assert shop.extensions == ("plpgsql",)
    assert shop.server_version // 10000 >= 15


def test_columns_tell_their_types_without_the_dropped_one(shop: Catalogue) -> None:
    assert table(shop, "person").columns == (
        Column("id", "bigint", "bigint", not_null=True, identity=True),
        Column("mail", "character varying(40)", "character varying", 40, not_null=True),
        Column("initials", "character(3)", "character", 3, has_default=True),
        Column(
            "code",
            "public.code",
            "character varying",
            12,
            domain="public.code",
            domain_checks=True,
            tenant_type=True,
        ),
        Column("mood", "public.mood", "public.mood", enum=True, tenant_type=True),
        Column("pair", "public.pair", "public.pair", tenant_type=True),
        Column("tags", "text[]", "text[]"),
        Column("amount", "numeric(10,2)", "numeric"),
        Column("loud", "text", "text", generated=True),
        Column("deleted_at", "timestamp(3) with time zone", "timestamp with time zone"),
    )


def test_a_domain_has_checks_when_one_below_it_has(owner: Connection, reader: Connection) -> None:
    owner.execute(
        "CREATE DOMAIN low AS text CHECK (VALUE <> ''); CREATE DOMAIN high AS low;"
        "CREATE DOMAIN free AS text; CREATE DOMAIN full_ AS free NOT NULL;"
        "CREATE TABLE t (a high, b free, c full_)"
    )
    columns = table(read_catalogue(reader), "t").columns
    assert [c.domain_checks for c in columns] == [True, False, True]
    assert {c.base_type for c in columns} == {"text"}


def test_constraints_name_the_columns_they_read(shop: Catalogue) -> None:
    everything = tuple(c.name for c in table(shop, "person").columns)
    assert table(shop, "person").constraints == (
        Constraint("person_amount_check", "check", ("amount",)),
        Constraint("person_cover", "unique", ("code", "initials")),
        Constraint("person_lower", "unique", ("mail", "deleted_at"), expression=True),
        Constraint("person_mail_key", "unique", ("mail",)),
        Constraint("person_nulls", "unique", ("code",), expression=True),
        Constraint("person_pkey", "primary", ("id",)),
        Constraint("whole", "check", everything),
    )
    person = ("public", "person")
    assert table(shop, "visit").constraints == (
        Constraint("no_overlap", "exclusion", ("during",)),
        Constraint("visit_mail_fkey", "foreign", ("mail",), person, ("mail",)),
        Constraint("visit_person", "foreign", ("person",), person, ("id",)),
    )


def test_a_composite_foreign_key_keeps_its_pairs_together(
    owner: Connection, reader: Connection
) -> None:
    owner.execute(
        "CREATE TABLE a (x int, y int, PRIMARY KEY (y, x));"
        "CREATE TABLE b (p int, q int, CONSTRAINT f FOREIGN KEY (q, p) REFERENCES a (y, x))"
    )
    found = constraint(read_catalogue(reader), "b", "f")
    assert (found.columns, found.target_columns) == (("q", "p"), ("y", "x"))


def test_a_foreign_key_to_a_partitioned_table_is_told_once(
    owner: Connection, reader: Connection
) -> None:
    owner.execute(
        "CREATE TABLE a (x int PRIMARY KEY) PARTITION BY RANGE (x);"
        "CREATE TABLE a1 PARTITION OF a FOR VALUES FROM (1) TO (9);"
        "CREATE TABLE b (x int REFERENCES a)"
    )
    assert [c.target for c in table(read_catalogue(reader), "b").constraints] == [("public", "a")]


def test_partitions_know_their_parent_and_every_key_above_them(shop: Catalogue) -> None:
    found = {t.name: (t.kind, t.parent, t.partition_key) for t in shop.tables if "event" in t.name}
    assert found == {
        "event": ("partitioned", None, ("at", "place")),
        "event_old": ("partitioned", ("public", "event"), ("at", "n", "place")),
        "event_old_1": ("partition", ("public", "event_old"), ("at", "n", "place")),
    }


def test_sizes_come_from_pg_class_and_are_never_negative(
    owner: Connection, reader: Connection, shop: Catalogue
) -> None:
    assert table(shop, "sab_like").estimated_rows == 0
    owner.execute("INSERT INTO sab_like SELECT generate_series(1, 1000)")
    owner.execute("VACUUM ANALYZE sab_like")
    found = table(read_catalogue(reader), "sab_like")
    assert found.estimated_rows == 1000
    assert found.size_bytes >= 8192


@pytest.mark.parametrize(
    ("kind", "where", "part"),
    [
        ("default", "public.person.initials", "tab-default"),
        ("default", "public.short", "dom-default"),
        ("check", "public.person: person_amount_check", "4711"),
        ("check", "public.code: code_check", "dom-check"),
        ("enum", "public.mood", "it's bad"),
        ("view", "public.mails", "view-text"),
        ("function", "public.greet()", "body-text"),
        ("function", "trigger touched on public.visit", "trigger-text"),
        ("bound", "public.event_old", "1900-01-01"),
        ("index", "public.person_lower", "deleted_at IS NULL"),
        ("policy", "public.visit: own", "policy-text"),
        ("policy", "public.visit: own", "policy-check"),
    ],
)
def test_what_may_hold_a_value_is_kept_apart_as_a_literal(
    shop: Catalogue, kind: str, where: str, part: str
) -> None:
    assert any(
        (found.kind, found.where) == (kind, where) and part in found.text for found in shop.literals
    )
    assert part not in repr((shop.tables, shop.views, shop.obstacles))


def test_obstacles_are_sentences(owner: Connection, reader: Connection) -> None:
    assert read_catalogue(reader).obstacles == ()
    owner.execute(
        "CREATE FUNCTION fast(int) RETURNS int LANGUAGE internal AS 'int4abs';"
        "CREATE TYPE odd; CREATE FUNCTION odd_in(cstring) RETURNS odd IMMUTABLE STRICT"
        "  LANGUAGE internal AS 'int4in';"
        "CREATE FUNCTION odd_out(odd) RETURNS cstring IMMUTABLE STRICT"
        "  LANGUAGE internal AS 'int4out';"
        "CREATE TYPE odd (INPUT = odd_in, OUTPUT = odd_out, LIKE = int4);"
        "CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
        "CREATE EVENT TRIGGER watching ON ddl_command_end EXECUTE FUNCTION watch();"
        "CREATE FOREIGN DATA WRAPPER nowhere; CREATE SERVER far FOREIGN DATA WRAPPER nowhere;"
        "CREATE FOREIGN TABLE afar (x int) SERVER far;"
        "CREATE TABLE guarded (x int); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;"
        "SELECT lo_create(0)"
    )
    found = read_catalogue(reader).obstacles
    starts = (
        "public.afar is a foreign table",
        "public.fast(integer) is written in internal",
        "public.guarded has row security",
        "public.odd is a base type",
        "public.odd_in(cstring) is written in internal",
        "public.odd_out(public.odd) is written in internal",
        "the event trigger watching",
        "there are 1 large objects",
    )
    assert len(found) == len(starts)
    assert all(sentence.startswith(start) for sentence, start in zip(found, starts, strict=True))


def test_what_an_extension_owns_comes_with_it_and_its_rows_are_named(
    owner: Connection, reader: Connection
) -> None:
    owner.execute(
        "CREATE TABLE settings (x text DEFAULT 'from-extension'); CREATE VIEW seen AS SELECT 1;"
        "CREATE FUNCTION quick(int) RETURNS int LANGUAGE internal AS 'int4abs';"
        "CREATE TYPE kind AS ENUM ('from-extension');"
        "ALTER EXTENSION plpgsql ADD TABLE settings; ALTER EXTENSION plpgsql ADD VIEW seen;"
        "ALTER EXTENSION plpgsql ADD FUNCTION quick(int); ALTER EXTENSION plpgsql ADD TYPE kind;"
        "UPDATE pg_extension SET extconfig = ARRAY['settings'::regclass::oid]"
    )
    found = read_catalogue(reader)
    assert (found.tables, found.views, found.literals) == ((), (), ())
    (sentence,) = found.obstacles
    assert sentence.startswith("public.settings belongs to the extension plpgsql, which may keep")


def test_the_catalogue_needs_no_right_on_anything(
    live_server: EmbeddedServer, database: str, owner: Connection, shop: Catalogue
) -> None:
    role = f"r_{secrets.token_hex(6)}"
    owner.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'only-here'")
    password = Secret("only-here")
    target = Target(live_server.host, live_server.port, database, role, password)
    with connect(target) as connection:
        assert read_catalogue(connection) == shop
    owner.execute(f"DROP ROLE {role}")


def test_names_are_taken_as_they_are(owner: Connection, reader: Connection) -> None:
    owner.execute(
        'CREATE SCHEMA "a ""b"; CREATE TABLE "a ""b"."x\n\\! 🦊 %s" ("""; DROP" int PRIMARY KEY)'
    )
    found = read_catalogue(reader).tables
    assert [(t.schema, t.name, t.columns[0].name) for t in found] == [
        ('a "b', "x\n\\! 🦊 %s", '"; DROP')
    ]
    assert found[0].constraints[0].columns == ('"; DROP',)


def test_only_the_named_schemas_are_read_and_a_missing_one_is_an_error(
    owner: Connection, reader: Connection, shop: Catalogue
) -> None:
    owner.execute("CREATE SCHEMA other; CREATE TABLE other.t (x int)")
    assert [t.full_name for t in read_catalogue(reader, ["other"]).tables] == ["other.t"]
    for name in ("absent", "pg_catalog", "information_schema", "sab_s_abc"):
        with pytest.raises(Invalid, match=name):
            read_catalogue(reader, ["other", name])


def test_two_readings_are_equal_and_a_callers_transaction_goes_on(
    reader: Connection, shop: Catalogue
) -> None:
    with reader.transaction():
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        reader.execute("SELECT pg_catalog.pg_export_snapshot()")
        assert read_catalogue(reader) == shop
        assert reader.execute("SELECT 1").fetchone() == (1,)


def test_no_function_of_the_tenants_runs_while_the_catalogue_is_read(
    live_server: EmbeddedServer, database: str, owner: Connection
) -> None:
    """A function in public that shadows one of PostgreSQL's is not found, whatever path was set."""
    owner.execute(SHOP)
    owner.execute(
        "CREATE FUNCTION public.format_type(oid, integer) RETURNS text LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'the tenant''s code ran'; END $$;"
        "CREATE FUNCTION public.no(name, name) RETURNS boolean LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'the tenant''s code ran'; END $$;"
        "CREATE OPERATOR public.= (LEFTARG = name, RIGHTARG = name, FUNCTION = public.no)"
    )
    with admin(live_server, database) as session:
        session.execute("SET search_path TO public, pg_catalog")
        assert table(read_catalogue(session), "person").columns[0].type == "bigint"


def test_literals_are_sorted(shop: Catalogue) -> None:
    keys = [(found.kind, found.where, found.text) for found in shop.literals]
    assert keys == sorted(keys)
    assert Literal("enum", "public.mood", "fine") in shop.literals
