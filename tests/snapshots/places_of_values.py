"""Where a value may stand in a database: each place with a mark of its own, which is searched for.

`COLUMNS` and `TABLES` are values in rows; a name like `zzz` tells no rule of the policy anything.
`DROPPED` are what a copy has no place for. `SHOWN` are definitions that a copy needs: what stands
in them is shown to the tenant with the plan, before anyone approves.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field


def new_mark() -> str:
    """A word that stands nowhere by chance; letters first, so that it is an identifier too."""
    return f"m{secrets.token_hex(9)}"


# Kind, then the column's type, then the value; {m} is the mark.
COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("text", "text", "'{m}'"),
    ("varchar", "varchar(99)", "'{m}'"),
    ("char", "char(40)", "'{m}'"),
    ("name", "name", "'{m}'"),
    ("text in words", "text", "'call {m} back'"),
    ("json value", "json", """'{"a": "{m}"}'"""),
    ("json key", "json", """'{"{m}": 1}'"""),
    ("json in an array", "json", """'[[{"a": ["{m}"]}]]'"""),
    ("json twice", "json", """'{"a": "{m}", "a": 1}'"""),
    ("jsonb value", "jsonb", """'{"a": {"b": "{m}"}}'"""),
    ("jsonb key", "jsonb", """'{"a": {"{m}": null}}'"""),
    ("jsonb string", "jsonb", """'"{m}"'"""),
    ("json in text", "text", """'{"a": "{m}"}'"""),
    ("base64 in text", "text", "encode('{m}', 'base64')"),
    ("hex in text", "text", "encode('{m}', 'hex')"),
    ("xml", "xml", "'<a>{m}</a>'"),
    ("xml attribute", "xml", "'<a b=\"{m}\"/>'"),
    ("xml comment", "xml", "'<a><!-- {m} --></a>'"),
    ("bytea", "bytea", "'{m}'"),
    ("text array", "text[]", "ARRAY['x', '{m}']"),
    ("array of arrays", "text[]", "ARRAY[['x', '{m}']]"),
    ("varchar array", "varchar(40)[]", "ARRAY['{m}']"),
    ("jsonb array", "jsonb[]", """ARRAY['{"a": "{m}"}'::jsonb]"""),
    ("bytea array", "bytea[]", "ARRAY['{m}'::bytea]"),
    ("domain", "places.word", "'{m}'"),
    ("domain over a domain", "places.word2", "'{m}'"),
    ("array of a domain", "places.word[]", "ARRAY['{m}'::places.word]"),
    ("domain over an array", "places.words", "ARRAY['{m}']"),
    ("composite", "places.pair", "ROW('{m}', 1)"),
    ("nested composite", "places.nest", "ROW(ROW('{m}', 1), 'x')"),
    ("array of composites", "places.pair[]", "ARRAY[ROW('{m}', 1)::places.pair]"),
    ("range", "places.span", "places.span('{m}', '{m}x')"),
    ("multirange", "places.spans", "places.spans(places.span('{m}', '{m}x'))"),
    ("hstore value", "places.hstore", "'a => {m}'"),
    ("hstore key", "places.hstore", "'{m} => 1'"),
    ("citext", "places.citext", "'{m}'"),
    ("ltree", "places.ltree", "'a.{m}'"),
    ("tsvector", "tsvector", "to_tsvector('simple', '{m}')"),
    ("tsquery", "tsquery", "'{m}'"),
    ("varbit", "varbit", "('x' || encode('{m}', 'hex'))::varbit"),
    ("jsonpath", "jsonpath", """'$."{m}"'"""),
    ("an e-mail by its name", "text", "'{m}@shop.example'"),
    ("a toasted text", "text", "repeat(md5(random()::text), 2000) || '{m}'"),
    ("a toasted text that is compressed", "text", "repeat('x', 90000) || '{m}'"),
    ("a toasted bytea", "bytea", "('{m}' || repeat(md5(random()::text), 2000))::bytea"),
    ("a long first line", "text", "'{m}' || repeat('y', 3000)"),
)
# PostgreSQL may compress a long value, which a search of bytes does not see then.
NOT_PACKED = {"a toasted text", "a toasted bytea", "a long first line"}
SETUP = """
    CREATE SCHEMA places;
    CREATE EXTENSION hstore SCHEMA places;
    CREATE EXTENSION citext SCHEMA places;
    CREATE EXTENSION ltree SCHEMA places;
    CREATE DOMAIN places.word AS text;
    CREATE DOMAIN places.word2 AS places.word;
    CREATE DOMAIN places.words AS text[];
    CREATE TYPE places.pair AS (a text, b int);
    CREATE TYPE places.nest AS (a places.pair, b text);
    CREATE TYPE places.span AS RANGE (subtype = text, multirange_type_name = places.spans);
    CREATE FUNCTION places.twice(text) RETURNS text IMMUTABLE LANGUAGE sql
      AS 'SELECT $1 || $1';
"""
# Further rows: kind, then statements.
TABLES: tuple[tuple[str, str], ...] = (
    ("list partition", """
        CREATE TABLE places.listed (n int, zzz text) PARTITION BY LIST (n);
        CREATE TABLE places.listed_1 PARTITION OF places.listed FOR VALUES IN (1);
        INSERT INTO places.listed VALUES (1, '{m}')"""),
    ("default partition", """
        CREATE TABLE places.ranged (n int, zzz text) PARTITION BY RANGE (n);
        CREATE TABLE places.ranged_rest PARTITION OF places.ranged DEFAULT;
        INSERT INTO places.ranged VALUES (7, '{m}')"""),
    ("partition of a partition", """
        CREATE TABLE places.deep (n int, zzz text) PARTITION BY HASH (n);
        CREATE TABLE places.deep_1 PARTITION OF places.deep FOR VALUES WITH (MODULUS 1, REMAINDER 0)
          PARTITION BY LIST (n);
        CREATE TABLE places.deep_1_1 PARTITION OF places.deep_1 DEFAULT;
        INSERT INTO places.deep VALUES (1, '{m}')"""),
    ("partition key", """
        CREATE TABLE places.keyed (zzz text) PARTITION BY HASH (zzz);
        CREATE TABLE places.keyed_1 PARTITION OF places.keyed
          FOR VALUES WITH (MODULUS 1, REMAINDER 0);
        INSERT INTO places.keyed VALUES ('{m}')"""),
    ("inheritance", """
        CREATE TABLE places.parent (zzz text);
        CREATE TABLE places.child (more text) INHERITS (places.parent);
        INSERT INTO places.child VALUES ('x', '{m}')"""),
    ("generated column", """
        CREATE TABLE places.made (
          zzz text, yyy text GENERATED ALWAYS AS (places.twice(zzz)) STORED);
        INSERT INTO places.made VALUES ('{m}')"""),
    ("unlogged table", """
        CREATE UNLOGGED TABLE places.unlogged (zzz text);
        INSERT INTO places.unlogged VALUES ('{m}')"""),
    ("row security", """
        CREATE TABLE places.secured (zzz text);
        ALTER TABLE places.secured ENABLE ROW LEVEL SECURITY;
        INSERT INTO places.secured VALUES ('{m}')"""),
    ("hostile name", """
        CREATE TABLE places."a ""b\\; --" ("z'z{{%s" text);
        INSERT INTO places."a ""b\\; --" VALUES ('{m}')"""),
    ("natural key", """
        CREATE TABLE places.natural_key (zzz text PRIMARY KEY);
        CREATE TABLE places.points (zzz text REFERENCES places.natural_key);
        INSERT INTO places.natural_key VALUES ('{m}');
        INSERT INTO places.points VALUES ('{m}')"""),
    ("unique text", """
        CREATE TABLE places.only_one (zzz text UNIQUE);
        INSERT INTO places.only_one VALUES ('{m}')"""),
    ("unique expression", """
        CREATE TABLE places.lowered (zzz text);
        CREATE UNIQUE INDEX ON places.lowered (lower(zzz));
        INSERT INTO places.lowered VALUES ('{m}')"""),
    ("exclusion", """
        CREATE TABLE places.apart (zzz text, EXCLUDE USING btree (zzz WITH =));
        INSERT INTO places.apart VALUES ('{m}')"""),
    ("checked text", """
        CREATE TABLE places.checked (zzz text CHECK (zzz LIKE 'm%'));
        INSERT INTO places.checked VALUES ('{m}')"""),
    ("materialised view", """
        CREATE TABLE places.under (zzz text);
        INSERT INTO places.under VALUES ('{m}');
        CREATE MATERIALIZED VIEW places.above AS SELECT zzz FROM places.under"""),
    ("statistics", """
        CREATE TABLE places.counted (zzz text, yyy text);
        INSERT INTO places.counted SELECT '{m}', '{m}' FROM generate_series(1, 50);
        CREATE STATISTICS places.both (mcv) ON zzz, yyy FROM places.counted;
        ANALYZE places.counted"""),
    ("large object", """
        CREATE TABLE places.attached (zzz oid);
        INSERT INTO places.attached SELECT lo_from_bytea(0, '{m}')"""),
    ("dropped column", """
        CREATE TABLE places.dropped (zzz text, n int);
        INSERT INTO places.dropped VALUES ('{m}', 1);
        ALTER TABLE places.dropped DROP COLUMN zzz"""),
    ("deleted row", """
        CREATE TABLE places.deleted (zzz text);
        INSERT INTO places.deleted VALUES ('{m}');
        DELETE FROM places.deleted"""),
)  # fmt: skip
DROPPED: tuple[tuple[str, str], ...] = (
    ("comment on a table", "COMMENT ON TABLE places.t_0 IS '{m}'"),
    ("comment on a column", "COMMENT ON COLUMN places.t_0.zzz IS '{m}'"),
    ("comment on a schema", "COMMENT ON SCHEMA places IS '{m}'"),
    ("comment on a type", "COMMENT ON TYPE places.pair IS '{m}'"),
    ("comment on a function", "COMMENT ON FUNCTION places.twice(text) IS '{m}'"),
    ("setting of the database", "ALTER DATABASE {d} SET my.place = '{m}'"),
    ("option of a foreign server", """
        CREATE FOREIGN DATA WRAPPER nowhere;
        CREATE SERVER elsewhere FOREIGN DATA WRAPPER nowhere OPTIONS (host '{m}')"""),
    ("password of a user mapping",
        "CREATE USER MAPPING FOR CURRENT_USER SERVER elsewhere OPTIONS (password '{m}')"),
)  # fmt: skip
SHOWN: tuple[tuple[str, str], ...] = (
    ("default", "CREATE TABLE places.d1 (zzz text DEFAULT '{m}')"),
    ("check", "CREATE TABLE places.d2 (zzz text CHECK (zzz <> '{m}'))"),
    ("domain's check", "CREATE DOMAIN places.d3 AS text CHECK (VALUE <> '{m}')"),
    ("domain's default", "CREATE DOMAIN places.d4 AS text DEFAULT '{m}'"),
    ("enum label", "CREATE TYPE places.d5 AS ENUM ('a', '{m}')"),
    ("view", "CREATE VIEW places.d6 AS SELECT '{m}'::text AS a"),
    ("rule", "CREATE RULE d7 AS ON UPDATE TO places.t_1 DO ALSO SELECT '{m}'"),
    ("function body", "CREATE FUNCTION places.d8() RETURNS text LANGUAGE sql AS $$SELECT '{m}'$$"),
    ("function default",
        "CREATE FUNCTION places.d9(a text DEFAULT '{m}') RETURNS text LANGUAGE sql AS 'SELECT a'"),
    ("trigger", """
        CREATE FUNCTION places.d10() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
        CREATE TRIGGER d10 BEFORE UPDATE ON places.t_1
          FOR EACH ROW WHEN (NEW.zzz = '{m}') EXECUTE FUNCTION places.d10()"""),
    ("policy", "CREATE POLICY d11 ON places.t_1 USING (zzz <> '{m}')"),
    ("partition bound", """
        CREATE TABLE places.d12 (zzz text) PARTITION BY LIST (zzz);
        CREATE TABLE places.d12_1 PARTITION OF places.d12 FOR VALUES IN ('{m}')"""),
    ("index predicate", "CREATE INDEX ON places.t_1 (zzz) WHERE zzz <> '{m}'"),
    ("index expression", "CREATE INDEX ON places.t_1 ((zzz || '{m}'))"),
    ("extended statistics", "CREATE STATISTICS places.d15 ON (zzz || '{m}'), zzz FROM places.t_1"),
    ("generated column",
        "CREATE TABLE places.d16 (zzz text, yyy text GENERATED ALWAYS AS (zzz || '{m}') STORED)"),
)  # fmt: skip


@dataclass
class Marks:
    """What stands where: the mark of each kind."""

    database: str
    rows: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    shown: dict[str, str] = field(default_factory=dict)

    def script(self) -> list[str]:
        """Statements that put a mark in every place."""
        statements = [SETUP]
        for number, (kind, type_name, value) in enumerate(COLUMNS):
            self.rows[kind] = new_mark()
            column = "email" if "e-mail" in kind else "zzz"
            made = value.replace("{m}", self.rows[kind])
            statements.append(f"CREATE TABLE places.t_{number} (n int, {column} {type_name})")
            if kind in NOT_PACKED:
                way = "ALTER COLUMN zzz SET STORAGE EXTERNAL"
                statements.append(f"ALTER TABLE places.t_{number} {way}")
            statements.append(f"INSERT INTO places.t_{number} VALUES (1, {made}), (2, NULL)")
        for places, marks in (
            (TABLES, self.rows), (DROPPED, self.dropped), (SHOWN, self.shown),
        ):  # fmt: skip
            for kind, text in places:
                marks[kind] = new_mark()
                statements.append(text.replace("{m}", marks[kind]).replace("{d}", self.database))
        return statements
