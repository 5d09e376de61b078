"""Masks that keep the form of a value and nothing else: text, JSON, arrays, bytes, networks."""

from __future__ import annotations

from psycopg import sql

from broker.engines import Column
from broker.engines.postgres.expressions import (
    as_text,
    bucket,
    call,
    canonical_text,
    hmac_hex,
    is_text,
    join,
    keyed,
    literal,
    number,
    value_of,
)
from broker.engines.postgres.mask import Mask

_BYTES_MAX = 65536
# ASCII's signs and the blank, one by one: what a range or a class holds depends on the collation.
_KEPT_SIGNS = r"0 !\"#$%&'()*+,./:;<=>?@\[\\\]^_`{|}~-"


def _shape(column: Column, label: str) -> sql.Composed:
    """Digits become 0, signs of ASCII stay, and everything else (letters of all scripts) is x."""
    del label
    everywhere = literal("g", "text")
    zeros = call(
        "translate", canonical_text(column), literal("123456789", "text"), literal("0" * 9, "text")
    )
    pattern = literal(f"[^{_KEPT_SIGNS}]", "text")
    return call("regexp_replace", zeros, pattern, literal("x", "text"), everywhere)


def _tokens(column: Column, label: str) -> sql.Composed:
    token = call(
        "substr", hmac_hex(label, as_text(sql.SQL("e.v"))), sql.Literal(1), sql.Literal(32)
    )
    return sql.SQL(
        "ARRAY(SELECT CASE WHEN e.v IS NULL THEN NULL ELSE {} END FROM {} WITH ORDINALITY"
        " AS e (v, o) ORDER BY e.o)"
    ).format(token, call("unnest", value_of(column)))


def _zeros(column: Column, label: str) -> sql.Composed:
    """Empty stays empty."""
    del label
    size = call("octet_length", value_of(column))
    zeros = call("repeat", literal("00", "text"), bucket(size, _BYTES_MAX))
    return sql.SQL("CASE {} WHEN 0 THEN {} ELSE {} END").format(
        size, literal("", "bytea"), call("decode", zeros, sql.Literal("hex"))
    )


def _ip(column: Column, label: str) -> sql.Composed:
    """In 10.0.0.0/8, which is nobody's (RFC 1918)."""
    parts = [as_text(number(start, 2)) for start in (1, 3, 5)]
    text = join("10.", parts[0], ".", parts[1], ".", parts[2])
    made = text if is_text(column) else call("inet_in", call("textout", text))
    return keyed(column, label, made)


def _ip_network(column: Column, label: str) -> sql.Composed:
    del label
    value = value_of(column)
    length = sql.SQL("CASE {} WHEN 4 THEN 16 ELSE 32 END").format(call("family", value))
    return call("network", call("set_masklen", value, length))


def _mac(column: Column, label: str) -> sql.Composed:
    """02 marks an address that somebody made up (IEEE 802: locally administered)."""
    made = join("02", call("substr", sql.SQL("h.h"), sql.Literal(1), sql.Literal(10)))
    return keyed(column, label, call("macaddr_in", call("textout", made)))


def _uuid4(column: Column, label: str) -> sql.Composed:
    """Version 4 and variant of RFC 9562 are set."""

    def piece(start: int, length: int) -> sql.Composed:
        return call("substr", sql.SQL("h.h"), sql.Literal(start), sql.Literal(length))

    text = join(piece(1, 12), "4", piece(13, 3), "a", piece(16, 15))
    return keyed(column, label, call("uuid_in", call("textout", text)))


def _enum_label(column: Column, label: str) -> sql.Composed:
    labels = sql.SQL(
        "FROM pg_catalog.pg_enum AS e WHERE e.enumtypid OPERATOR(pg_catalog.=) {}"
    ).format(call("pg_typeof", value_of(column)))
    count = sql.SQL("(SELECT pg_catalog.count(*) {})").format(labels)
    chosen = sql.SQL("(SELECT {} {} ORDER BY e.enumsortorder OFFSET {} LIMIT 1)").format(
        as_text(sql.SQL("e.enumlabel")), labels, call("mod", number(1), count)
    )
    return keyed(column, label, chosen)


MASKS: tuple[Mask, ...] = (
    Mask(
        "shape", "Letters become x and digits 0; blanks and ASCII's signs stay.",
        "the layout and the length", "a rare layout or length is still recognised",
        is_text, _shape,
    ),
    Mask(
        "tokens", "Each element becomes a code; equal elements get equal codes.",
        "how many elements, their order, and which are equal",
        "the number of elements may tell; dimensions and lower bounds are lost",
        lambda column: column.type == "text[]", _tokens, needs_key=True,
    ),
    Mask(
        "zeros", "The bytes become zeros, their number rounded up to a power of two, to 64 KiB.",
        "roughly the size", "code that reads the content fails",
        lambda column: column.base_type == "bytea", _zeros,
    ),
    Mask(
        "ip", "The value becomes an address in 10.0.0.0/8; equal ones get equal addresses.",
        "which values are equal", "networks are lost; two may become one",
        lambda column: is_text(column) or column.base_type == "inet", _ip, chars=15,
        needs_key=True, may_coincide=True, outputs=r"^10\.",
    ),
    Mask(
        "ip_network", "The network stays: 16 bits of IPv4, 32 of IPv6.",
        "who shares a network", "a small company has a network of its own",
        lambda column: column.base_type in {"inet", "cidr"}, _ip_network,
    ),
    Mask(
        "mac", "The value becomes an address that no device was made with.",
        "which values are equal", "the maker is lost",
        lambda column: column.base_type == "macaddr", _mac, needs_key=True,
    ),
    Mask(
        "uuid4", "The value becomes another UUID of version 4; equal ones get equal ones.",
        "which values are equal, and the version", "the time in a UUID of version 7 is lost",
        lambda column: column.base_type == "uuid", _uuid4,
        needs_key=True, keeps_join=True, injective=True,
    ),
    Mask(
        "enum_label", "The value becomes one of its type's labels; equal ones get equal ones.",
        "the list of labels", "two labels may become one, and states contradict each other",
        lambda column: column.enum and column.domain is None, _enum_label,
        needs_key=True, may_coincide=True,
    ),
)  # fmt: skip
