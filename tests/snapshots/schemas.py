"""Made-up databases for property tests: schemas and rows drawn by hypothesis, as one script.

Each feature of PostgreSQL that a copy must carry is a function here that draws how it looks. What
only a superuser can restore (C functions, base types, casts, event triggers, foreign servers) is
not drawn, for pg_restore as an unprivileged owner refuses it too; large objects are not copied.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hypothesis import strategies as st

# Parts of names: each is followed by a number, so that no two are the same.
_NAMES = (
    "plain", "Mixed Case", 'quo"te', "apo'strophe", "back\\slash", "per%cent %s", "dollar$$",
    "new\nline", "\\! touch x", "\\copy", "semi; DROP TABLE x; --", "🦔 ", " leading", "select",
    "a.b", "{braces}", "é" * 20, "x" * 50, "/* */", "tab\there",
)  # fmt: skip
_TEXTS = (
    "''", "'a'", r"E'\\.'", r"E'\\N'", r"E'tab\tnew\nline\rback\\slash\b'", "'quo\"te, comma'",
    "repeat('é🦔', 3000)", "' blank '", "'null'", "'NULL'", "'{}'",
)  # fmt: skip
# Type and values of it, as SQL: the extremes that a way through text or Python would change.
_TYPES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("text", _TEXTS),
    ("varchar(9000)", _TEXTS),
    ("char(5)", ("''", "'a'", "'é'", "'abcde'")),
    ("name", ("'n'", "''")),
    ('"char"', ("'x'", "''")),
    ("smallint", ("-32768", "32767", "0")),
    ("integer", ("-2147483648", "2147483647")),
    ("bigint", ("-9223372036854775808", "9223372036854775807")),
    ("numeric", ("'NaN'", "'-Infinity'", "1.10", "1.1", "1e-40", "123456789012345678901234567890")),
    ("numeric(6,2)", ("1234.50", "-0.01")),
    ("real", ("'NaN'", "'-0'", "'3.4028235e38'", "0.1")),
    ("double precision", ("'-Infinity'", "'-0'", "'5e-324'", "0.1")),
    ("money", ("'1234.56'", "'-0.01'")),
    ("boolean", ("true", "false")),
    ("date", ("'infinity'", "'4713-01-01 BC'", "'5874897-12-31'", "'2024-02-29'")),
    ("timestamp", ("'-infinity'", "'0044-03-15 12:00 BC'", "'2024-06-30 23:59:59.999999'")),
    ("timestamptz", ("'infinity'", "'294276-12-31 23:59:59.999999 UTC'", "'2024-01-01 +15:59'")),
    ("time", ("'24:00'", "'00:00:00.000001'")),
    ("timetz", ("'24:00-15:59'", "'12:00+05:30'")),
    ("interval", ("'1 mon -1 day 00:00:01'", "'-178000000 years'", "'30 days'")),
    ("uuid", ("'00000000-0000-0000-0000-000000000000'", "'f81d4fae-7dec-11d0-a765-00a0c91e6bf6'")),
    ("bytea", (r"'\x'", r"'\x00ff5c'", r"decode(repeat('0a5c', 5000), 'hex')")),
    ("json", ("""'{"b":1,  "a":2, "b":3}'""", "'null'", """'"\\u00e9"'""")),
    ("jsonb", ("""'{"b": [1, null, "x"], "a": 1e400}'""", "'\"string\"'", "'null'")),
    ("xml", ("'<a b=\"1\">é</a>'", "'text only'")),
    ("inet", ("'10.0.0.1/8'", "'::1'")),
    ("cidr", ("'10.0.0.0/8'",)),
    ("macaddr", ("'08:00:2b:01:02:03'",)),
    ("bit(3)", ("B'101'",)),
    ("varbit", ("B''", "B'0110'")),
    ("point", ("'(1.5,-0)'", "'(NaN,Infinity)'")),
    ("box", ("'(1,1),(0,0)'",)),
    ("path", ("'[(0,0),(1,1)]'", "'((0,0),(1,1))'")),
    ("circle", ("'<(0,0),1>'",)),
    ("tsvector", ("""'''a b'':1A,2B c'""", "''")),
    ("tsquery", ("'a & !b <2> c'",)),
    ("pg_lsn", ("'16/B374D848'",)),
    ("oid", ("4294967295",)),
    ("jsonpath", ("'$.a[*] ? (@ > 1)'",)),
    ("int4range", ("'empty'", "'(,5]'", "'[1,1]'")),
    ("tstzrange", ("'[2024-01-01,infinity)'", "'(,)'")),
    ("nummultirange", ("'{[1,2),[3,4)}'", "'{}'")),
    ("text[]", ("'{}'", "ARRAY['a', NULL, '{\"}', '']", "'[2:3]={x,NULL}'")),
    ("integer[][]", ("'{{1,2},{3,NULL}}'", "'[-1:0][5:5]={{1},{2}}'")),
)  # fmt: skip
_ACTIONS = ("", " ON DELETE CASCADE", " ON DELETE SET NULL", " ON UPDATE RESTRICT")


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@dataclass
class Script:
    """Statements so far. `types` are what columns are drawn from; the tenant's own are added."""

    chance: random.Random
    statements: list[str] = field(default_factory=list)
    schemas: list[str] = field(default_factory=lambda: ["public"])
    types: list[tuple[str, tuple[str, ...]]] = field(default_factory=lambda: list(_TYPES))
    names: int = 0

    def say(self, statement: str) -> None:
        self.statements.append(statement)

    def one(self, choices: Sequence[str]) -> str:
        return self.chance.choice(choices)

    def many(self, most: int, least: int = 0) -> range:
        return range(self.chance.randint(least, most))

    def yes(self) -> bool:
        return self.chance.random() < 0.5

    def bare(self) -> str:
        """A name that nothing else here has, quoted."""
        self.names += 1
        return quoted(f"{self.one(_NAMES)}{self.names}")

    def name(self) -> str:
        """The same, in one of the schemas."""
        return f"{self.one(self.schemas)}.{self.bare()}"

    def column(self) -> tuple[str, str, tuple[str, ...]]:
        kind, values = self.chance.choice(self.types)
        return self.bare(), kind, values

    def fill(self, table: str, columns: Sequence[tuple[str, tuple[str, ...]]], most: int) -> None:
        for _ in self.many(most):
            values = ", ".join(self.one((*values, "NULL")) for _, values in columns)
            names = ", ".join(name for name, _ in columns)
            self.say(f"INSERT INTO {table} ({names}) VALUES ({values})")

    def rows(self, table: str, values: str, number: int = 6) -> None:
        """`values` in terms of n, from 1 to `number`."""
        self.say(f"INSERT INTO {table} SELECT {values} FROM generate_series(1, {number}) n")


def _own_types(s: Script) -> None:
    """Enum, domain, domain over an array over it, composite, range, collation: then columns."""
    enum, domain, words, pair, span = (s.name() for _ in range(5))
    collation = s.name()
    s.say(f"""CREATE TYPE {enum} AS ENUM ('ok', 'it''s "bad"', '{"é" * 31}', '')""")
    s.say(f"CREATE DOMAIN {domain} AS text DEFAULT 'x' CHECK (VALUE <> '{s.one(('no', ''))}')")
    s.say(f"CREATE DOMAIN {words} AS {domain}[] CHECK (cardinality(VALUE) < 9)")
    s.say(f"CREATE TYPE {pair} AS (a {enum}, b {words}, c numeric)")
    s.say(f'CREATE TYPE {span} AS RANGE (subtype = text, collation = "C")')
    locale = s.one(("C", "C.UTF-8"))
    s.say(f"CREATE COLLATION {collation} (provider = libc, locale = '{locale}')")
    s.types += [
        (enum, ("'ok'", "''", """'it''s "bad"'""")),
        (f"{enum}[]", ("""ARRAY['ok', 'it''s "bad"']::""" + f"{enum}[]", "'{}'")),
        (domain, ("'a,b'", "'(\"'")),
        (words, ("ARRAY['a', NULL, '\"']", "'{}'")),
        (pair, (f"ROW('ok', ARRAY['x, y', '\"'], 1.50)::{pair}", f"ROW('', NULL, NULL)::{pair}")),
        (f"{pair}[]", (f"ARRAY[ROW('ok', ARRAY['}}'], 'NaN')::{pair}, NULL]",)),
        (span, (f"{span}('a', 'b,\"c')", "'empty'")),
        (f"text COLLATE {collation}", ("'é10'", "'E9'")),
    ]


def _plain_table(s: Script) -> None:
    """Any columns, none too; perhaps unlogged, one dropped, stored otherwise; perhaps empty."""
    table, columns = s.name(), [s.column() for _ in s.many(7)]
    unlogged = "UNLOGGED " if s.yes() else ""
    listed = ", ".join(f"{name} {kind}" for name, kind, _ in columns)
    s.say(f"CREATE {unlogged}TABLE {table} ({listed}) WITH (fillfactor = 70)")
    if not columns:
        for _ in s.many(3):
            s.say(f"INSERT INTO {table} DEFAULT VALUES")
        return
    s.fill(table, [(name, values) for name, _, values in columns], 4)
    first, last = columns[0], columns[-1]
    if len(columns) > 2:
        s.say(f"ALTER TABLE {table} DROP COLUMN {columns[1][0]} CASCADE")
    if s.yes():
        s.say(f"ALTER TABLE {table} ALTER {last[0]} SET STATISTICS 7, ADD added int DEFAULT 5")
    if s.yes():
        s.say(f"ALTER TABLE {table} REPLICA IDENTITY FULL")
    s.say(f"CREATE INDEX {s.bare()} ON {table} (({first[0]} IS NULL)) WHERE {last[0]} IS NOT NULL")


def _partitions(s: Script) -> None:
    """Range, list or hash; one attached with another order of columns, one divided again."""
    root, part, key, what = s.name(), s.name, s.bare(), s.bare()
    way = s.one(("RANGE", "LIST", "HASH"))
    primary = f", PRIMARY KEY ({key})" if s.yes() else ""
    s.say(f"CREATE TABLE {root} ({key} int, {what} text{primary}) PARTITION BY {way} ({key})")
    bounds = {
        "RANGE": ("FROM (MINVALUE) TO (3)", "FROM (3) TO (5)"),
        "LIST": ("IN (1, 2)", "IN (3, 4)"),
        "HASH": ("WITH (MODULUS 2, REMAINDER 0)", "WITH (MODULUS 2, REMAINDER 1)"),
    }[way]
    other, nested = part(), part()
    s.say(f"CREATE TABLE {other} ({what} text, {key} int {'NOT NULL' if primary else ''})")
    s.say(f"ALTER TABLE {root} ATTACH PARTITION {other} FOR VALUES {bounds[0]}")
    deeper = f"PARTITION BY LIST ({key})" if s.yes() else ""
    s.say(f"CREATE TABLE {nested} PARTITION OF {root} FOR VALUES {bounds[1]} {deeper}")
    if deeper:
        s.say(f"CREATE TABLE {part()} PARTITION OF {nested} DEFAULT")
    if way != "HASH":
        s.say(f"CREATE TABLE {part()} PARTITION OF {root} DEFAULT")
    s.rows(root, "n, 'w' || n")
    s.say(f"CREATE INDEX {s.bare()} ON {root} ({what})")
    if primary and s.yes():
        pointing = s.name()
        s.say(f"CREATE TABLE {pointing} (r int REFERENCES {root} DEFERRABLE)")
        s.rows(pointing, "n")


def _inheritance(s: Script) -> None:
    one, two, child, both = s.name(), s.name(), s.name(), s.bare()
    s.say(f"CREATE TABLE {one} ({both} int CHECK ({both} > 0), a text DEFAULT 'one')")
    s.say(f"CREATE TABLE {two} ({both} int, b int[])")
    s.say(f"CREATE TABLE {child} (c date) INHERITS ({one}, {two})")
    s.rows(one, "n")
    s.rows(two, "-n, ARRAY[n]")
    s.rows(child, "n, 'x', NULL, date '2024-01-01' + n")


def _keys(s: Script) -> None:
    """Composite, self, circular and deferrable, MATCH FULL, to a unique column, not valid."""
    one, two, three = s.name(), s.name(), s.name()
    self_key = f"REFERENCES {one}{s.one(_ACTIONS)}"
    s.say(f"CREATE TABLE {one} (i int PRIMARY KEY, s int {self_key}, u text UNIQUE, b int)")
    s.say(
        f"CREATE TABLE {two} (i int, j int, o int REFERENCES {one} INITIALLY DEFERRED DEFERRABLE,"
        f" u text REFERENCES {one} (u) ON UPDATE CASCADE, PRIMARY KEY (j, i))"
    )
    s.say(
        f"CREATE TABLE {three} (x int, y int,"
        f" FOREIGN KEY (x, y) REFERENCES {two} MATCH {s.one(('FULL', 'SIMPLE'))})"
    )
    s.rows(one, "n, NULLIF(n - 1, 0), 'u' || n, n")
    s.rows(two, "n, -n, n, CASE WHEN n % 2 = 0 THEN 'u' || n END")
    s.rows(three, "-n, n", 4)
    s.say(f"INSERT INTO {three} VALUES (NULL, NULL)")
    s.say(f"ALTER TABLE {one} ADD UNIQUE (b, i)")
    s.say(f"ALTER TABLE {one} ADD CONSTRAINT {s.bare()} CHECK (b < 0) NOT VALID")
    s.say(f"ALTER TABLE {two} ADD UNIQUE (o)")
    s.say(f"ALTER TABLE {one} ADD FOREIGN KEY (b) REFERENCES {two} (o) DEFERRABLE")
    if s.yes():
        s.say(f"ALTER TABLE {three} ADD FOREIGN KEY (x) REFERENCES {one} NOT VALID")


def _exclusions(s: Script) -> None:
    table = s.name()
    s.say(
        f"CREATE TABLE {table} (i int, r int4range, d text,"
        f" EXCLUDE USING gist (r WITH &&) {s.one(('', 'DEFERRABLE', 'WHERE (i > 2)'))},"
        f" EXCLUDE (d WITH =), UNIQUE NULLS NOT DISTINCT (i), UNIQUE (d) INCLUDE (r))"
    )
    s.rows(table, "n, int4range(n * 10, n * 10 + 5), lower('D' || n)")
    s.say(f"CREATE UNIQUE INDEX {s.bare()} ON {table} (lower(d) DESC NULLS LAST) WHERE i > 0")
    s.say(f"CREATE INDEX {s.bare()} ON {table} USING brin (i)")
    s.say(f"CREATE INDEX {s.bare()} ON {table} USING hash (d)")


def _sequences(s: Script) -> None:
    table, alone, down, owned = s.name(), s.name(), s.name(), s.name()
    s.say(
        f"CREATE TABLE {table} (a int GENERATED ALWAYS AS IDENTITY (START 5 INCREMENT 5),"
        " b bigint GENERATED BY DEFAULT AS IDENTITY, c smallserial, d int)"
    )
    s.say(f"INSERT INTO {table} (d) SELECT generate_series(1, 4)")
    s.say(f"INSERT INTO {table} OVERRIDING SYSTEM VALUE VALUES (-1, 99, 9, 0)")
    s.say(f"CREATE SEQUENCE {alone} AS smallint MAXVALUE 3 {s.one(('CYCLE', 'NO CYCLE'))} CACHE 2")
    s.say(f"CREATE SEQUENCE {down} INCREMENT -3 MINVALUE -99 START -9")
    s.say(f"CREATE UNLOGGED SEQUENCE {owned} OWNED BY NONE")
    s.say(f"SELECT setval('{down.replace(chr(39), chr(39) * 2)}', -42, {s.one(('true', 'false'))})")
    s.say(
        f"ALTER TABLE {table} ALTER d SET DEFAULT "
        f"nextval('{alone.replace(chr(39), chr(39) * 2)}'::regclass)"
    )


def _generated(s: Script) -> None:
    table, source = s.name(), s.bare()
    s.say(
        f"CREATE TABLE {table} (g int GENERATED ALWAYS AS (length({source})) STORED,"
        f" {source} text DEFAULT 'd', h text GENERATED ALWAYS AS (upper({source})) STORED UNIQUE)"
    )
    s.say(f"INSERT INTO {table} ({source}) SELECT 'v' || n FROM generate_series(1, 5) n")


def _views(s: Script) -> None:
    """A view, a materialised view on it, one on that; one that was never filled; rules."""
    table, view, first, second, later = (s.name() for _ in range(5))
    s.say(f"CREATE TABLE {table} (i int PRIMARY KEY, w text)")
    s.rows(table, "n, 'w' || n % 3")
    s.say(f"CREATE VIEW {view} WITH (security_barrier) AS SELECT i, w FROM {table} GROUP BY i")
    s.say(f"CREATE MATERIALIZED VIEW {first} AS SELECT w, count(*) AS n FROM {view} GROUP BY w")
    s.say(f"CREATE MATERIALIZED VIEW {second} AS SELECT sum(n) AS n FROM {first}")
    s.say(f"CREATE UNIQUE INDEX {s.bare()} ON {first} (w)")
    s.say(f"CREATE MATERIALIZED VIEW {later} AS SELECT * FROM {table} WITH NO DATA")
    s.say(f"CREATE RULE {s.bare()} AS ON DELETE TO {view} DO INSTEAD NOTHING")


def _code(s: Script) -> None:
    """Functions that other objects need, triggers in each state, an aggregate, an operator."""
    table, checked, fired, added, total = (s.name() for _ in range(5))
    s.say(
        f"CREATE FUNCTION {checked}(n int, t text DEFAULT 'x;''') RETURNS boolean LANGUAGE sql"
        f" IMMUTABLE AS $f$ SELECT n > 0 $f$"
    )
    s.say(f"CREATE TABLE {table} (i int CHECK ({checked}(i)), j int DEFAULT 1)")
    s.rows(table, "n")
    s.say(f"CREATE INDEX {s.bare()} ON {table} ({checked}(i, 'y'))")
    s.say(
        f"CREATE FUNCTION {fired}() RETURNS trigger LANGUAGE plpgsql AS"
        " $f$ BEGIN RAISE 'never'; END $f$"
    )
    state = s.one(("ENABLE ALWAYS", "ENABLE REPLICA", "DISABLE", "ENABLE"))
    name = s.bare()
    s.say(f"CREATE TRIGGER {name} BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION {fired}()")
    s.say(f"ALTER TABLE {table} {state} TRIGGER {name}")
    s.say(
        f"CREATE FUNCTION {added}(a int, b int) RETURNS int LANGUAGE sql RETURN a + coalesce(b, 0)"
    )
    s.say(f"CREATE AGGREGATE {total}(int) (SFUNC = {added}, STYPE = int, INITCOND = '0')")
    s.say(
        f"CREATE OPERATOR {s.one(s.schemas)}.<+> (FUNCTION = {added}, LEFTARG = int,"
        " RIGHTARG = int)"
    )
    s.say(f"CREATE PROCEDURE {s.name()}() LANGUAGE sql AS $f$ SELECT 1 $f$")


def _row_security(s: Script) -> None:
    table = s.name()
    s.say(f"CREATE TABLE {table} (i int, owner text)")
    s.rows(table, "n, 'somebody'")
    s.say(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    s.say(f"CREATE POLICY {s.bare()} ON {table} AS RESTRICTIVE FOR SELECT USING (owner <> 'me')")


def _odds(s: Script) -> None:
    """Extended statistics, storage, clustering, a large object, an extension, a comment."""
    table = s.name()
    s.say(f"CREATE TABLE {table} (i int PRIMARY KEY, t text STORAGE EXTERNAL, lo oid)")
    s.say(f"INSERT INTO {table} VALUES (1, repeat('x', 2000), lo_from_bytea(0, 'large'))")
    s.say(f"CREATE STATISTICS {s.name()} (dependencies) ON i, t FROM {table}")
    index = s.bare()
    s.say(f"CREATE INDEX {index} ON {table} (t text_pattern_ops)")
    s.say(f"ALTER TABLE {table} CLUSTER ON {index}, SET (autovacuum_enabled = off)")
    s.say(f"CREATE EXTENSION IF NOT EXISTS citext SCHEMA {s.one(s.schemas)}")
    s.say(f"COMMENT ON TABLE {table} IS 'not copied'")


FEATURES: tuple[Callable[[Script], None], ...] = (
    *(_plain_table, _partitions, _inheritance, _keys, _exclusions, _sequences, _generated),
    *(_views, _code, _row_security, _odds),
)


@st.composite
def scripts(draw: st.DrawFn) -> tuple[str, ...]:
    """A whole database, statement by statement: schemas, the tenant's own types, then features in
    any order.
    """
    chance = draw(st.randoms(use_true_random=True))  # else most examples differ in a word alone
    script = Script(chance)
    script.say("SET search_path = public")
    for _ in range(2):
        script.schemas.append(script.bare())
        script.say(f"CREATE SCHEMA {script.schemas[-1]}")
    _own_types(script)
    for feature in (*chance.sample(FEATURES, len(FEATURES)), _plain_table, _plain_table):
        feature(script)
    return tuple(script.statements)
