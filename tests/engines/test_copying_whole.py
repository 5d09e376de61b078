"""Whole copies of awkward schemas, compared with plain SELECTs on both sides."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from psycopg import sql

from broker.embedded import EmbeddedServer
from broker.engines import Target
from broker.engines.postgres.connect import connect
from tests.conftest import new_database, superuser
from tests.engines.copying_world import all_rows, copy_all, list_tables, opened_sandbox

SCHEMA = r"""
CREATE SCHEMA "ACL"; CREATE SCHEMA "DATA";
CREATE EXTENSION citext;
CREATE TYPE mood AS ENUM ('ok', 'it''s "bad"');
CREATE DOMAIN mail AS text CHECK (VALUE ~ '@');
CREATE TABLE limits (n int PRIMARY KEY);
CREATE FUNCTION bare(n int) RETURNS boolean LANGUAGE sql AS 'SELECT EXISTS (SELECT FROM limits)';
CREATE TABLE people (
  id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, boss int REFERENCES people DEFERRABLE,
  mail mail, feeling mood DEFAULT 'ok', nick citext UNIQUE, price money,
  loud text GENERATED ALWAYS AS (upper(mail)) STORED, raw bytea, gone int,
  CONSTRAINT seen CHECK (bare(id)));
ALTER TABLE people DROP COLUMN gone;
CREATE TABLE "ACL".t (i int DEFAULT 4, s serial);
CREATE TABLE "DATA".parts (day int, what text, PRIMARY KEY (day)) PARTITION BY RANGE (day);
CREATE TABLE "DATA".early PARTITION OF "DATA".parts FOR VALUES FROM (0) TO (10);
CREATE TABLE "DATA".late PARTITION OF "DATA".parts DEFAULT;
CREATE INDEX ON "DATA".parts (what);
CREATE TABLE parent (a int); CREATE TABLE child (b int) INHERITS (parent);
CREATE TABLE nothing (); CREATE TABLE empty (a int);
CREATE TABLE old (a int); INSERT INTO old VALUES (-1);
ALTER TABLE old ADD CONSTRAINT positive CHECK (a > 0) NOT VALID;
CREATE SEQUENCE never START 7; CREATE SEQUENCE down INCREMENT -3; CREATE SEQUENCE held;
SELECT nextval('down'), nextval('down'), setval('held', 41, false);
CREATE VIEW grown AS SELECT id, nick FROM people GROUP BY id;
CREATE MATERIALIZED VIEW m1 AS SELECT count(*) AS n FROM people;
CREATE MATERIALIZED VIEW m2 AS SELECT n + 1 AS n FROM m1;
CREATE MATERIALIZED VIEW later AS SELECT 1 AS n WITH NO DATA;
CREATE UNIQUE INDEX ON m2 (n);
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'never'; END $$;
INSERT INTO limits VALUES (1);
INSERT INTO people (boss, mail, nick, price, raw)
  SELECT nullif(n - 1, 0), n || '@x.example' || chr(9) || chr(10) || '\.', 'N' || n, n, '\x00ff'
  FROM generate_series(1, 500) n;
CREATE TRIGGER always BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION stamp();
ALTER TABLE people ENABLE ALWAYS TRIGGER always;
INSERT INTO "ACL".t VALUES (1), (DEFAULT);
INSERT INTO "DATA".parts SELECT n, 'w' || n FROM generate_series(1, 20) n;
INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2, 3);
INSERT INTO nothing DEFAULT VALUES; INSERT INTO nothing DEFAULT VALUES;
COMMENT ON TABLE people IS 'secret';
REFRESH MATERIALIZED VIEW m1; REFRESH MATERIALIZED VIEW m2;
"""
SEQUENCES = """
    SELECT schemaname, sequencename, last_value, increment_by, start_value FROM pg_sequences
    ORDER BY 1, 2"""


@pytest.fixture
def source(live_server: EmbeddedServer) -> Target:
    return superuser(live_server, new_database(live_server))


def fill(source: Target, script: str) -> None:
    with connect(source, options={"search_path": "public"}) as connection:
        connection.execute(script)


def test_a_copy_of_an_awkward_schema_has_every_object_and_row(
    source: Target, test_server: EmbeddedServer
) -> None:
    fill(source, SCHEMA)
    with opened_sandbox(test_server) as sandbox:
        done = copy_all(source, sandbox)
        assert done.problems == []
        assert {skip.entry.kind for skip in done.skipped} <= {"COMMENT"}
        assert list_tables(sandbox.owner) == list_tables(source)
        for table in [*list_tables(source), ("public", "m2"), ("public", "grown")]:
            assert all_rows(sandbox.owner, table) == all_rows(source, table), table
        with connect(source) as there, sandbox.connect() as here:
            assert here.execute(SEQUENCES).fetchall() == there.execute(SEQUENCES).fetchall()
            held = "SELECT last_value, is_called FROM public.held"
            assert here.execute(held).fetchone() == (41, False)
            assert here.execute("SELECT nextval('public.people_id_seq')").fetchone() == (501,)
            assert here.execute(
                "SELECT convalidated FROM pg_constraint WHERE conname = 'positive'"
            ).fetchone() == (False,)
            assert here.execute(
                "SELECT count(*) FROM pg_stats WHERE tablename = 'people'"
            ).fetchone() != (0,)


def test_names_with_quotes_line_breaks_and_commands_are_only_names(
    source: Target, test_server: EmbeddedServer
) -> None:
    folder = tempfile.mkdtemp()  # short: names have 63 bytes
    names = [
        f"x\n\\! touch {folder}/x",
        'quo"te',
        "back\\slash %s %%",
        "a" * 63,
        "select",
        " 🦔 ",
        "'; DROP TABLE x; --",
    ]
    with connect(source) as connection:
        for name in names:
            schema, table = sql.Identifier(name), sql.Identifier(name, name)
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
            connection.execute(
                sql.SQL("CREATE TABLE {t} ({c} int PRIMARY KEY REFERENCES {t}, s serial)").format(
                    t=table, c=schema
                )
            )
            connection.execute(sql.SQL("INSERT INTO {} VALUES (1), (2)").format(table))
    with opened_sandbox(test_server) as sandbox:
        assert copy_all(source, sandbox).problems == []
        for name in names:
            assert all_rows(sandbox.owner, (name, name)) == all_rows(source, (name, name))
    Path(folder).rmdir()  # fails if something was made in it


def test_writes_during_a_copy_leave_every_foreign_key_valid(
    source: Target, test_server: EmbeddedServer
) -> None:
    fill(source, "CREATE TABLE a (i int PRIMARY KEY); CREATE TABLE b (a int REFERENCES a)")
    fill(source, "INSERT INTO a VALUES (1); INSERT INTO b VALUES (1)")

    def write() -> None:
        fill(source, "INSERT INTO a VALUES (2); INSERT INTO b VALUES (2); DELETE FROM b")

    with opened_sandbox(test_server) as sandbox:
        assert copy_all(source, sandbox, meanwhile=write).problems == []
        assert all_rows(sandbox.owner, ("public", "b")) == [("(1)",)]
