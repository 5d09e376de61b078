"""Scopes: private schemas of masked views, which a lease reads instead of the tenant's tables.

A scope is two roles and a schema. The scope role is a template without login: leases inherit it,
and it may read the views, nothing else. The owner role owns schema and views and inherits the right
to read the tables; nobody is its member but for the moment in which we make or drop the scope.

What must stay true: a mask's key is in no statement, no view's text and no session. It is made
inside the server and stands in a one-row table that only the owner role may read. So does, where
tenants share tables, the tenant's own key: every login of the database reads the text of views.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import sql

from broker.engines import Target
from broker.engines.postgres.account import MARK, READER, grant_role
from broker.engines.postgres.connect import run
from broker.engines.postgres.looks import (
    AccountTooWeak,
    Connection,
    MarkedRole,
    NotOurs,
    StillThere,
    again_if_met,
    find_ours,
    session,
)
from broker.engines.postgres.tenant_rows import KEY_TABLE as TENANT_KEY_TABLE
from broker.engines.postgres.tenant_rows import TYPE_NAMES, literal_key
from broker.errors import Conflict, Invalid
from broker.labels import is_marked
from broker.tenancy import KeyValue

KEY_TABLE = "masking_key"
OWN_NAMES = frozenset({KEY_TABLE, TENANT_KEY_TABLE})  # that no view of a scope may have
_NAME = re.compile(r"sab_s_[0-9a-f]{12}")


class ScopeInUse(Conflict):
    """Leases are still members of the scope; end them first."""

    type = "scope-in-use"


@dataclass(frozen=True, slots=True)
class View:
    """`select` is a complete SELECT with qualified names; it may read the scope's key tables."""

    name: str
    select: sql.Composed
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scope:
    """`name` is `sab_s_` and 12 hexadecimal digits: of the scope role and of the schema.

    The digits come from a digest of the views, so that one name always means the same views.
    `tenant_keys` are the values that the views read, tenants' keys and those that rows are chosen
    by, in the order of their numbers.
    """

    name: str
    views: tuple[View, ...]
    tenant_keys: tuple[KeyValue, ...] = ()

    def __post_init__(self) -> None:
        check_scope_name(self.name)

    @property
    def owner(self) -> str:
        return owner_of(self.name)


def check_scope_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise Invalid(f"{name!r} is no name of a scope")


def owner_of(scope: str) -> str:
    """The scope's owner role. Its comment is the scope's label, bound to the scope's name."""
    return f"{scope}_o"


def label_place(role: str) -> str:
    """What the label of a role is bound to: the role, or for a scope's owner the scope."""
    scope = role.removesuffix("_o")
    return scope if _NAME.fullmatch(scope) else role


def make_scope(target: Target, scope: Scope, label_text: str, *, keyed: bool) -> None:
    """Make the scope in the tenant's database, all or nothing; idempotent.

    A scope that is there gets the new label and the views that it lacks; its key stays. Raises
    NotOurs if the names are taken, AccountTooWeak if the DBA's setup is not complete.
    """
    if not is_marked(label_text):
        raise Invalid("a scope carries a label")
    with session(target) as connection:
        again_if_met(lambda: _make(connection, scope, label_text, keyed=keyed))
        row = connection.execute(
            "SELECT has_database_privilege(%s, current_database(), 'CONNECT')", [scope.name]
        ).fetchone()
        if row is None or not row[0]:  # a GRANT without the grant option is only a warning
            raise AccountTooWeak(
                f"{target.user} may not let scopes connect to {target.dbname}; "
                "let the DBA run the setup's SQL again"
            )


def _make(connection: Connection, scope: Scope, label_text: str, *, keyed: bool) -> None:
    with connection.transaction():
        for role in (scope.name, scope.owner):
            if find_ours(connection, role) is None:
                run(connection, "CREATE ROLE {role} NOLOGIN", role=role)
                grant_role(connection, MARK, role)
            label = sql.SQL("COMMENT ON ROLE {} IS {}")
            connection.execute(label.format(sql.Identifier(role), sql.Literal(label_text)))
        grant_role(connection, READER, scope.owner, inherit=True)
        connection.execute(
            sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(
                sql.Identifier(connection.info.dbname), sql.Identifier(scope.name)
            )
        )
        grant_role(connection, scope.owner, connection.info.user, inherit=True, settable=True)
        schema_owner = _find_owner(connection, scope.name)
        if schema_owner not in (None, scope.owner):
            raise NotOurs(f"the schema {scope.name} belongs to {schema_owner}; it is left alone")
        is_new = schema_owner is None
        if is_new:
            run(connection, "CREATE SCHEMA {s} AUTHORIZATION {o}", s=scope.name, o=scope.owner)
        run(connection, "SET LOCAL ROLE {owner}", owner=scope.owner)
        if is_new and keyed:
            _make_key(connection, scope.name)
        if is_new and scope.tenant_keys:
            _make_tenant_keys(connection, scope)
        _make_views(connection, scope)
        run(connection, "RESET ROLE")
        # Without this we could read the key ourselves, and through us whoever has our login.
        run(connection, "REVOKE {owner} FROM {us}", owner=scope.owner, us=connection.info.user)


def _make_key(connection: Connection, schema: str) -> None:
    """The two pads of HMAC-SHA-256 (RFC 2104) of a random key of 32 bytes, 64 bytes each.

    Four random UUIDs hold 488 random bits, which SHA-256 makes 256.
    """
    _make_table(connection, schema, KEY_TABLE, {"i": "bytea NOT NULL", "o": "bytea NOT NULL"})
    run(
        connection,
        r"""
        WITH random AS MATERIALIZED (
            SELECT sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
                       || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())) AS key)
        INSERT INTO {schema}.{table}
        SELECT string_agg(set_byte('\x00', 0, get_byte(key, n) # 54), '' ORDER BY n)  -- 0x36
                   || decode(repeat('36', 32), 'hex'),
               string_agg(set_byte('\x00', 0, get_byte(key, n) # 92), '' ORDER BY n)  -- 0x5c
                   || decode(repeat('5c', 32), 'hex')
          FROM random, generate_series(0, 31) AS n
        """,
        schema=schema,
        table=KEY_TABLE,
    )


def _make_tenant_keys(connection: Connection, scope: Scope) -> None:
    kinds: dict[str, LiteralString] = {"integer": "bigint", "uuid": "uuid", "text": "text"}
    columns: dict[str, LiteralString] = {"n": "integer PRIMARY KEY"}
    columns |= {f"as_{kind}": kinds[kind] for kind in TYPE_NAMES}
    _make_table(connection, scope.name, TENANT_KEY_TABLE, columns)
    for number, key in enumerate(scope.tenant_keys, start=1):
        connection.execute(
            sql.SQL("INSERT INTO {} (n, {}) VALUES ({}, {})").format(
                sql.Identifier(scope.name, TENANT_KEY_TABLE),
                sql.Identifier(f"as_{key.type}"),
                sql.Literal(number),
                literal_key(key),
            )
        )


def _make_table(
    connection: Connection, schema: str, table: str, columns: Mapping[str, LiteralString]
) -> None:
    """No statistics are gathered of it: they would be a second copy of what it holds."""
    name = sql.Identifier(schema, table)
    typed = [sql.SQL("{} " + kind).format(sql.Identifier(n)) for n, kind in columns.items()]
    connection.execute(
        sql.SQL("CREATE TABLE {} ({}) WITH (autovacuum_enabled = off)").format(
            name, sql.SQL(", ").join(typed)
        )
    )
    for column in columns:
        connection.execute(
            sql.SQL("ALTER TABLE {} ALTER COLUMN {} SET STATISTICS 0").format(
                name, sql.Identifier(column)
            )
        )


def _make_views(connection: Connection, scope: Scope) -> None:
    run(connection, "GRANT USAGE ON SCHEMA {s} TO {r}", s=scope.name, r=scope.name)
    there = connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(%s) AND relkind = 'v'",
        [scope.name],
    ).fetchall()
    for view in scope.views:
        if (view.name,) in there:
            continue  # replacing it would wait for whoever reads it
        name = sql.Identifier(scope.name, view.name)
        connection.execute(
            sql.SQL("CREATE VIEW {} WITH (security_barrier) AS {}").format(name, view.select)
        )
        connection.execute(
            sql.SQL("GRANT SELECT ON {} TO {}").format(name, sql.Identifier(scope.name))
        )


def drop_scope(target: Target, name: str) -> None:
    """Drop views, key, schema and both roles, and look through a new connection; idempotent.

    Raises ScopeInUse while a lease is a member, StillThere if a look finds something.
    """
    check_scope_name(name)
    with session(target) as connection:
        try:
            again_if_met(lambda: _drop(connection, name))
        except (
            psycopg.errors.DependentObjectsStillExist,
            psycopg.errors.LockNotAvailable,
        ) as error:
            why = error.diag.message_detail or error.diag.message_primary
            raise _still_there(name, f"the scope {name} can't be dropped: {why}") from None
    with session(target) as connection:
        found = [r for r in (name, owner_of(name)) if find_ours(connection, r) is not None]
        owner = _find_owner(connection, name)
    if found or owner is not None:
        what = [f"role {role}" for role in found] + ([f"schema {name}"] if owner else [])
        raise _still_there(name, f"still there after dropping the scope: {', '.join(what)}")


def _still_there(name: str, why: str) -> StillThere:
    owner = owner_of(name)
    return StillThere(
        why, sql=f'DROP SCHEMA IF EXISTS "{name}" CASCADE; DROP ROLE IF EXISTS "{name}", "{owner}";'
    )


def _drop(connection: Connection, name: str) -> None:
    with connection.transaction():
        roles = [r for n in (name, owner_of(name)) if (r := find_ours(connection, n)) is not None]
        if roles:
            _check_unused(connection, roles)
        for role in roles:
            # DROP OWNED asks for the rights of the owner. CASCADE is not said: what somebody else
            # built upon our views is theirs to remove, and shows as StillThere.
            grant_role(connection, role.name, connection.info.user, inherit=True, settable=True)
        for role in reversed(roles):  # the owner first: views go with what was granted on them
            run(connection, "DROP OWNED BY {role}", role=role.name)
        for role in roles:
            run(connection, "DROP ROLE {role}", role=role.name)


def _check_unused(connection: Connection, roles: Sequence[MarkedRole]) -> None:
    """Who made the role holds it WITH ADMIN: that is the broker, also when a reaper asks."""
    rows = connection.execute(
        "SELECT DISTINCT m.rolname FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member"
        " WHERE a.roleid = ANY(%s) AND NOT a.admin_option AND m.rolname <> current_user"
        " ORDER BY 1",
        [[role.oid for role in roles]],
    ).fetchall()
    if rows:
        names = ", ".join(name for (name,) in rows)
        raise ScopeInUse(f"the scope {roles[0].name} is still given to: {names}")


def list_scope_schemas(target: Target) -> list[str]:
    """Schemas with a scope's name that a scope's owner role owns, in the target's database."""
    with session(target) as connection:
        rows = connection.execute(
            "SELECT nspname FROM pg_namespace"
            " WHERE nspname ~ '^sab_s_[0-9a-f]{12}$'"
            " AND pg_get_userbyid(nspowner) = nspname || '_o' ORDER BY 1"
        ).fetchall()
    return [name for (name,) in rows]


def _find_owner(connection: Connection, schema: str) -> str | None:
    row = connection.execute(
        "SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = %s", [schema]
    ).fetchone()
    return row[0] if row is not None else None
