"""Definitions: what is left out, what may fail, and whose rights a hostile schema gets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from broker.embedded import EmbeddedServer
from broker.engines import Target
from broker.engines.postgres.connect import connect
from broker.engines.postgres.copying import CopyFailed, ObjectId
from broker.engines.postgres.copying.archive import (
    Archive,
    dump_definitions,
    list_entries,
    restore,
)
from broker.engines.postgres.copying.blanking import blank
from broker.engines.postgres.copying.checks import check_copy
from broker.engines.postgres.copying.exporter import Exporter
from broker.engines.postgres.copying.rows import RowTarget, load_rows
from broker.engines.postgres.copying.toc import (
    LEFT_OUT,
    TocEntry,
    find_reason_to_skip,
    read_toc,
)
from broker.engines.postgres.copying.tools import redact
from tests.conftest import admin, new_database, superuser
from tests.engines.copying_world import (
    Sandbox,
    all_rows,
    copy_all,
    make_account,
    opened_sandbox,
)

# Tries what only a superuser may, and writes down as whom it ran and what it was told.
PRY = """
CREATE OR REPLACE FUNCTION public.deed(n int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE attempt text;
BEGIN
  FOREACH attempt IN ARRAY ARRAY[
    'ALTER ROLE postgres CONNECTION LIMIT 7', 'CREATE ROLE hacked SUPERUSER',
    'SELECT pg_read_file(''/etc/hostname'')', 'COPY public.loot FROM PROGRAM ''echo 1''',
    'COMMENT ON DATABASE ' || current_database() || ' IS NULL'] LOOP
    BEGIN
      EXECUTE attempt;
      RAISE WARNING 'done: %', attempt;
      PERFORM set_config('pry.did', attempt, false);
    EXCEPTION WHEN insufficient_privilege THEN NULL;
    END;
  END LOOP;
  IF current_user = 'postgres' OR current_setting('pry.did', true) <> '' THEN
    RAISE 'it was let in as %', current_user;
  END IF;
  RETURN n;
END $$;
-- An index takes only what calls itself immutable; it may call what is not.
CREATE OR REPLACE FUNCTION public.pry(n int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
  'BEGIN RETURN public.deed(n); END'"""
HOSTILE = """
CREATE TABLE public.loot (who text);
CREATE FUNCTION public.pry(n int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT n';
CREATE TABLE public.t (n int, g int GENERATED ALWAYS AS (public.pry(n)) STORED,
  CONSTRAINT c CHECK (public.pry(n) > 0));
INSERT INTO public.t VALUES (1), (2);
CREATE INDEX i ON public.t (public.pry(n));
CREATE MATERIALIZED VIEW public.m AS SELECT public.pry(n) AS n FROM public.t;
"""


@pytest.fixture
def source(live_server: EmbeddedServer) -> Target:
    return superuser(live_server, new_database(live_server))


@pytest.fixture
def sandbox(test_server: EmbeddedServer) -> Iterator[Sandbox]:
    with opened_sandbox(test_server) as opened:
        yield opened


def dump(source: Target) -> Archive:
    with Exporter(source, []) as exporter:
        return dump_definitions(source, exporter.snapshot_id)


def fill(source: Target, script: str) -> None:
    with connect(source) as connection:
        connection.execute(script.encode())


def test_hostile_functions_run_only_as_the_unprivileged_owner(
    source: Target, sandbox: Sandbox, test_server: EmbeddedServer
) -> None:
    fill(source, HOSTILE)
    fill(source, PRY)
    done = copy_all(source, sandbox)
    assert done.problems == []
    assert done.skipped == []
    assert all_rows(sandbox.owner, ("public", "t")) == [("(1,1)",), ("(2,2)",)]
    with admin(test_server) as connection:
        roles = "SELECT rolname FROM pg_roles WHERE rolname = 'hacked' OR rolconnlimit = 7"
        assert connection.execute(roles).fetchall() == []
        label = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
        assert connection.execute(label, [sandbox.new.name]).fetchone() == ("sab1 here",)


def test_the_hostile_function_of_these_tests_would_be_noticed_as_superuser(
    source: Target,
) -> None:
    """Guards the test above: that its function does reach what it tries."""
    fill(source, HOSTILE)
    fill(source, PRY.replace("'CREATE ROLE hacked SUPERUSER',", ""))
    with connect(source) as connection, pytest.raises(Exception, match="let in as postgres"):
        connection.execute("SELECT public.pry(1)")


def test_an_archive_goes_through_bytes_and_comes_back(source: Target, sandbox: Sandbox) -> None:
    fill(source, "CREATE TABLE public.t (i int)")
    with dump(source) as archive:
        content = archive.read_bytes()
    with Archive.from_bytes(content) as again:
        restore(again, sandbox.owner, "pre-data")
    assert all_rows(sandbox.owner, ("public", "t")) == []


def test_what_is_no_archive_is_refused(sandbox: Sandbox) -> None:
    with Archive.from_bytes(b"SELECT 1;") as archive, pytest.raises(CopyFailed):
        restore(archive, sandbox.owner, "pre-data")


def test_an_entry_is_left_out_by_its_id_and_named(source: Target, sandbox: Sandbox) -> None:
    fill(source, "CREATE TABLE public.a (i int PRIMARY KEY)")
    fill(source, "CREATE TABLE public.b (i int CONSTRAINT far REFERENCES public.a)")
    with Exporter(source, []) as exporter:
        far = exporter.constraint_oids()["public", "b", "far"]
    with dump(source) as archive:
        restore(archive, sandbox.owner, "pre-data")
    with dump(source) as archive:
        skipped = restore(
            archive,
            sandbox.owner,
            "post-data",
            skip=lambda e: "not copied" if e.id == far else None,
        )
    assert [(skip.entry.id, skip.entry.kind, skip.why) for skip in skipped] == [
        (far, "FK CONSTRAINT", "not copied")
    ]
    with connect(source) as there, sandbox.connect() as here:
        assert check_copy(there, here, {}, [far]) == []
        assert check_copy(there, here, {}, []) == ["the constraint public.b.far is missing"]


def test_tables_are_in_the_archive_from_which_keys_are_restored(source: Target) -> None:
    """Without them pg_restore runs keys in a circle side by side, which end in a deadlock."""
    fill(source, "CREATE TABLE public.a (i int PRIMARY KEY)")
    fill(source, "CREATE TABLE public.b (i int PRIMARY KEY REFERENCES public.a)")
    fill(source, "ALTER TABLE public.a ADD FOREIGN KEY (i) REFERENCES public.b")
    with dump(source) as archive:
        first = [entry.kind for entry in list_entries(archive, "pre-data")]
        second = [entry.kind for entry in list_entries(archive, "post-data")]
    assert first == ["TABLE", "TABLE"]
    assert second == ["CONSTRAINT", "CONSTRAINT", "FK CONSTRAINT", "FK CONSTRAINT"]


def test_settings_of_the_database_are_not_in_the_archive(source: Target) -> None:
    """They may hold a password, and pg_dump leaves no choice."""
    name = source.dbname
    fill(source, f"ALTER DATABASE {name} SET app.secret = 'marked-secret'")
    fill(source, f"ALTER ROLE postgres IN DATABASE {name} SET app.secret = 'marked-secret'")
    fill(source, "CREATE TABLE public.t (w text DEFAULT 'marked-default')")
    with dump(source) as archive:
        content = archive.read_bytes()
        assert [entry.kind for entry in list_entries(archive, "pre-data")][-1] == "TABLE"
    assert b"marked-default" in content
    assert b"marked-secret" not in content


def test_an_archive_of_an_unknown_form_is_refused() -> None:
    newer = b"PGDMP" + bytes([1, 99, 0, 4, 8, 1]) + bytes(99)
    for content in (newer, b"PGDMP", b"SELECT 1", newer.replace(b"c", b"")[:9]):
        with Archive.from_bytes(content) as archive, pytest.raises(CopyFailed, match="form"):
            blank(archive.path, LEFT_OUT)


def test_a_default_in_a_schema_called_acl_is_a_default(source: Target) -> None:
    fill(source, 'CREATE SCHEMA "ACL"; CREATE TABLE "ACL".t (s serial)')
    fill(source, "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC")
    with dump(source) as archive:
        kinds = {
            entry.kind: find_reason_to_skip(entry) for entry in list_entries(archive, "pre-data")
        }
    assert kinds == {
        "SCHEMA": None,
        "TABLE": None,
        "SEQUENCE": None,
        "SEQUENCE OWNED BY": None,
        "DEFAULT": None,
    }


@pytest.mark.parametrize(
    ("line", "left_out"),
    [
        ("5; 2328 77 FOREIGN DATA WRAPPER - w me", True),
        ("5; 0 0 USER MAPPING - USER MAPPING me SERVER s me", True),
        ("5; 3466 77 EVENT TRIGGER - e me", True),
        ("5; 9999 77 NOVELTY - e me", True),
        ("5; 1259 77 NOVELTY - e me", True),
        ("5; 3079 77 EXTENSION - dblink ", True),
        ("5; 3079 77 EXTENSION - citext ", False),
        ("5; 3079 77 EXTENSION - uuid-ossp ", False),
        ("5; 1259 77 TABLE ATTACH t me", False),
        ("5; 826 77 DEFAULT ACL - x me", True),
    ],
)
def test_kinds_that_act_or_are_unknown_are_left_out(line: str, *, left_out: bool) -> None:
    (entry,) = read_toc(f";\n; comment\n{line}\n")
    assert (find_reason_to_skip(entry) is not None) is left_out


def test_a_materialised_view_that_fails_is_named_and_the_others_are_filled(
    source: Target, sandbox: Sandbox
) -> None:
    fill(source, "CREATE TABLE public.t AS SELECT 'secret'::text AS x")
    fill(source, "CREATE MATERIALIZED VIEW public.a AS SELECT 1 AS n FROM public.t")
    fill(source, "CREATE FUNCTION public.f(x text) RETURNS int LANGUAGE sql AS 'SELECT 1'")
    fill(source, "CREATE MATERIALIZED VIEW public.bad AS SELECT public.f(x) FROM public.t")
    fill(source, "CREATE MATERIALIZED VIEW public.z AS SELECT 1 AS n FROM public.t")
    fill(source, "CREATE OR REPLACE FUNCTION public.f(x text) RETURNS int LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE division_by_zero USING MESSAGE = 'no', DETAIL = x; END $$")  # fmt: skip
    done = copy_all(source, sandbox)
    assert [skip.entry.kind for skip in done.skipped] == ["MATERIALIZED VIEW DATA"]
    assert "secret" not in done.skipped[0].why
    assert done.problems == ["the relation public.bad is there but not populated"]


def test_a_unique_index_that_the_rows_break_stops_the_copy_without_naming_a_value(
    source: Target, sandbox: Sandbox
) -> None:
    fill(source, "CREATE TABLE public.t (x text UNIQUE)")
    with dump(source) as archive:
        restore(archive, sandbox.owner, "pre-data")
    with sandbox.connect() as into:
        load_rows([b"secret\n", b"secret\n"], RowTarget(into, ("public", "t"), ["x"]))
    with dump(source) as archive, pytest.raises(CopyFailed) as caught:
        restore(archive, sandbox.owner, "post-data")
    assert "could not create unique index" in caught.value.message
    assert "secret" not in caught.value.message


def test_a_restore_that_is_cancelled_ends_its_child(source: Target, sandbox: Sandbox) -> None:
    fill(source, "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    fill(source, "CREATE MATERIALIZED VIEW public.slow AS SELECT public.f() AS n")
    fill(source, "CREATE OR REPLACE FUNCTION public.f() RETURNS int LANGUAGE sql AS "
        "'SELECT 1 FROM pg_catalog.pg_sleep(600)'")  # fmt: skip
    with dump(source) as archive:
        restore(archive, sandbox.owner, "pre-data")

    def cancel() -> None:
        raise KeyboardInterrupt

    with dump(source) as archive, pytest.raises(KeyboardInterrupt):
        restore(archive, sandbox.owner, "post-data", checkpoint=cancel)


def test_an_unprivileged_reader_can_make_a_whole_copy(
    source: Target, sandbox: Sandbox, live_server: EmbeddedServer
) -> None:
    fill(source, "CREATE TABLE public.t AS SELECT 1 AS n")
    fill(source, "CREATE SCHEMA sab_s_x; CREATE VIEW sab_s_x.v AS SELECT 1 AS n")
    reader = replace(make_account(live_server), dbname=source.dbname)
    with admin(live_server) as connection:
        connection.execute(f"GRANT pg_read_all_data TO {reader.user}".encode())
    assert copy_all(reader, sandbox).problems == []
    assert all_rows(sandbox.owner, ("public", "t")) == [("(1)",)]


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        ("DROP VIEW public.v", "the relation public.v is missing"),
        ("DROP INDEX public.i", "the index public.i is missing"),
        ("ALTER TABLE public.t DROP CONSTRAINT c", "the constraint public.t.c is missing"),
        ("DROP SEQUENCE public.s", "the relation public.s is missing"),
        ("DROP TYPE public.mood", "the type public.mood is missing"),
        ("DROP FUNCTION public.f()", "the function public.f/0 is missing"),
        ("REFRESH MATERIALIZED VIEW public.m WITH NO DATA",
         "the relation public.m is there but not populated"),
        ("DELETE FROM public.t WHERE n = 1", "public.t has 1 rows, 2 were copied"),
        ("ALTER TABLE public.t DROP CONSTRAINT c, ADD CONSTRAINT c CHECK (n > 0) NOT VALID",
         "the constraint public.t.c is there but not valid"),
    ],
)  # fmt: skip
def test_a_copy_with_something_missing_is_reported(
    source: Target, sandbox: Sandbox, harm: str, problem: str
) -> None:
    script = """
        CREATE TABLE public.t (n int CONSTRAINT c CHECK (n > 0)); CREATE SEQUENCE public.s;
        INSERT INTO public.t VALUES (1), (2); CREATE INDEX i ON public.t (n);
        CREATE VIEW public.v AS SELECT 1 AS n; CREATE TYPE public.mood AS ENUM ('ok');
        CREATE MATERIALIZED VIEW public.m AS SELECT 1 AS n;
        CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1';"""
    fill(source, script)
    fill(sandbox.owner, script)
    with connect(source) as there, sandbox.connect() as here:
        rows = {("public", "t"): 2}
        assert check_copy(there, here, rows, []) == []
        here.execute(harm.encode())
        assert check_copy(there, here, rows, []) == [problem]


def test_only_the_first_lines_of_errors_are_kept() -> None:
    complaints = (
        "pg_restore: from TOC entry 7; 1259 5 INDEX public secret me\n"
        'pg_restore: error: could not execute query: ERROR:  could not create unique index "i"\n'
        "DETAIL:  Key (mail)=(secret) is duplicated.\n"
        "CONTEXT:  secret\nsecret\nCommand was: CREATE secret\n"
    )
    kept = redact(complaints)
    assert "unique index" in kept
    assert "secret" not in kept
    assert len(redact("psql: error: " + "x" * 9999)) == 500


def test_an_archive_is_no_file(source: Target) -> None:
    with dump(source) as archive:
        assert Path(archive.path).readlink().name.startswith("memfd:")


def test_an_entry_without_an_object_carries_no_id() -> None:
    assert read_toc("9; 0 0 TABLE ATTACH s t me\n") == [
        TocEntry(9, ObjectId(0, 0), "TABLE ATTACH", "s t me")
    ]
