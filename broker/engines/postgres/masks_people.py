"""Masks for what names or reaches a person: names, addresses, phones, logins, files, secrets."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from broker.engines import Column
from broker.engines.postgres import words
from broker.engines.postgres.expressions import (
    as_text,
    below,
    call,
    canonical_text,
    hmac_hex,
    is_text,
    join,
    keyed,
    literal,
    operate,
    padded,
)
from broker.engines.postgres.mask import Mask

_EXTENSIONS = "csv doc docx eml gif jpeg jpg mp4 odt pdf png txt xls xlsx xml zip"
_HEX16 = (sql.Literal(1), sql.Literal(16))
_GUESSED = "how often a value occurs still shows"
_DOMAIN_CHARS = 1 + 16 + 2 + 8 + len(".example")


def _word(wanted: Sequence[str], start: int) -> sql.Composed:
    """One of our words, drawn from the digest."""
    array = "{" + ",".join(f'"{word}"' for word in wanted) + "}"
    place = operate(below(len(wanted), start), "+", literal("1", "int8"))
    return sql.SQL("({})[{}]").format(literal(array, "text[]"), call("int4", place))


def _longest(*lists: Sequence[str]) -> int:
    return sum(max(map(len, wanted)) for wanted in lists) + len(lists) - 1


def _one_of(*lists: Sequence[str]) -> str:
    """A pattern of what is drawn from these lists, joined by blanks."""
    return "^" + " ".join(f"({'|'.join(wanted)})" for wanted in lists) + "$"


def _first_name(column: Column, label: str) -> sql.Composed:
    return keyed(column, label, _word(words.FIRST_NAMES, 1))


def _last_name(column: Column, label: str) -> sql.Composed:
    return keyed(column, label, _word(words.LAST_NAMES, 1))


def _full_name(column: Column, label: str) -> sql.Composed:
    name = join(_word(words.FIRST_NAMES, 1), " ", _word(words.LAST_NAMES, 14))
    return keyed(column, label, name)


def _city(column: Column, label: str) -> sql.Composed:
    return keyed(column, label, _word(words.CITIES, 1))


def _address(column: Column, label: str) -> sql.Composed:
    house = as_text(operate(below(199, 40), "+", literal("1", "int8")))
    text = join(house, " ", _word(words.STREETS, 1), ", ", _word(words.CITIES, 14))
    return keyed(column, label, text)


def _company(column: Column, label: str) -> sql.Composed:
    return join("Company ", call("substr", _digest(column, label), *_HEX16))


def _digest(column: Column, label: str) -> sql.Composed:
    return hmac_hex(label, canonical_text(column))


def _username(column: Column, label: str) -> sql.Composed:
    return join("user_", call("substr", _digest(column, label), *_HEX16))


def _url(column: Column, label: str) -> sql.Composed:
    host = call("substr", _digest(column, label), *_HEX16)
    return join("https://h", host, ".invalid/")  # RFC 2606


def _phone(column: Column, label: str) -> sql.Composed:
    """+999 is no country's code (ITU-T E.164 keeps it in reserve)."""
    return keyed(column, label, join("+999", padded(below(10**11, 1), 11)))


def _phone_fr(column: Column, label: str) -> sql.Composed:
    """0199 00 is one of the blocks that are kept for works of fiction in France."""
    return keyed(column, label, join("+331990", padded(below(10**5, 1), 5)))


def _email_domain(column: Column, label: str) -> sql.Composed:
    text = canonical_text(column)
    domain = call("split_part", text, literal("@", "text"), sql.Literal(2))
    local = call("substr", hmac_hex(label, text), *_HEX16)
    group = call("substr", hmac_hex(f"{label}@", domain), sql.Literal(1), sql.Literal(8))
    return join("u", local, "@d", group, ".example")


def _postcode(column: Column, label: str) -> sql.Composed:
    """Anything but five digits becomes 00000."""
    del label
    text = canonical_text(column)
    return sql.SQL("CASE WHEN {} THEN {} ELSE {} END").format(
        operate(text, "~", literal("^[0-9]{5}$", "text")),
        join(call("substr", text, sql.Literal(1), sql.Literal(2)), "000"),
        literal("00000", "text"),
    )


def _file_name(column: Column, label: str) -> sql.Composed:
    """The ending stays if it is one of our list: an ending may hold words too."""
    text = canonical_text(column)
    array = literal("{" + _EXTENSIONS.replace(" ", ",") + "}", "text[]")
    ending = call("lower", call("split_part", text, literal(".", "text"), sql.Literal(-1)))
    token = call("substr", hmac_hex(label, text), *_HEX16)
    known = sql.SQL("{} OPERATOR(pg_catalog.=) ANY ({})").format(ending, array)
    return sql.SQL("CASE WHEN {} THEN {} ELSE {} END").format(
        known, join("file_", token, ".", ending), join("file_", token)
    )


def _unusable(column: Column, label: str) -> sql.Composed:
    del column, label
    return literal("!", "text")


def _fresh(column: Column, label: str) -> sql.Composed:
    del label
    made = call("gen_random_uuid")
    return made if column.base_type == "uuid" else as_text(made)


def _fits_fresh(column: Column) -> bool:
    return is_text(column) or column.base_type == "uuid"


MASKS: tuple[Mask, ...] = (
    Mask(
        "first_name", "The value becomes a first name from a short list.",
        "which values are equal", f"two names may become one; {_GUESSED}",
        is_text, _first_name, chars=_longest(words.FIRST_NAMES), needs_key=True, may_coincide=True,
        outputs=_one_of(words.FIRST_NAMES),
    ),
    Mask(
        "last_name", "The value becomes a family name from a short list.",
        "which values are equal", f"two names may become one; {_GUESSED}",
        is_text, _last_name, chars=_longest(words.LAST_NAMES), needs_key=True, may_coincide=True,
        outputs=_one_of(words.LAST_NAMES),
    ),
    Mask(
        "full_name", "The value becomes a first and a family name from short lists.",
        "which values are equal", f"two names may become one; {_GUESSED}",
        is_text, _full_name, chars=_longest(words.FIRST_NAMES, words.LAST_NAMES),
        needs_key=True, may_coincide=True, outputs=_one_of(words.FIRST_NAMES, words.LAST_NAMES),
    ),
    Mask(
        "city", "The value becomes a town from a short list.",
        "which values are equal", f"two towns may become one; {_GUESSED}",
        is_text, _city, chars=_longest(words.CITIES), needs_key=True, may_coincide=True,
        outputs=_one_of(words.CITIES),
    ),
    Mask(
        "address", "The value becomes a house number, a street and a town from short lists.",
        "which values are equal, and the form of an address", _GUESSED,
        is_text, _address, chars=_longest(words.STREETS, words.CITIES) + 5, needs_key=True,
    ),
    Mask(
        "company", "The value becomes `Company` and a code; equal values get equal codes.",
        "which values are equal", _GUESSED,
        is_text, _company, chars=24, needs_key=True, keeps_join=True, injective=True,
    ),
    Mask(
        "username", "The value becomes `user_` and a code; equal values get equal codes.",
        "which values are equal", _GUESSED,
        is_text, _username, chars=21, needs_key=True, keeps_join=True, injective=True,
    ),
    Mask(
        "url", "The value becomes the address of a host that is nowhere.",
        "which values are equal, and the form of an address",
        f"path and query are lost; {_GUESSED}",
        is_text, _url, chars=34, needs_key=True, keeps_join=True, injective=True,
    ),
    Mask(
        "phone", "The value becomes a number under +999, which is no country.",
        "which values are equal, and the form of a number", f"the country is lost; {_GUESSED}",
        is_text, _phone, chars=15, needs_key=True,
    ),
    Mask(
        "phone_fr", "The value becomes a French number from a block kept for fiction.",
        "the form of a French number", "of 100,000 numbers many values share one",
        is_text, _phone_fr, chars=12, needs_key=True, may_coincide=True,
        outputs=r"^\+331990[0-9]{5}$",
    ),
    Mask(
        "email_domain", "As `email`, and addresses of one domain stay in one domain.",
        "which values are equal, and who shares a domain", "a large domain may be recognised",
        is_text, _email_domain, chars=_DOMAIN_CHARS, needs_key=True, injective=True,
    ),
    Mask(
        "postcode", "Of a French postcode the department stays; anything else becomes 00000.",
        "the department", "with a birth date and a sex a department may single somebody out",
        is_text, _postcode, chars=5,
    ),
    Mask(
        "file_name", "The value becomes `file_` and a code; a common ending stays.",
        "which values are equal, and the kind of file", _GUESSED,
        is_text, _file_name, chars=26, needs_key=True, injective=True,
    ),
    Mask(
        "unusable", "The value becomes `!`, which is no hash of any password.",
        "whether there was a value", "nobody can sign in with a password in the copy",
        is_text, _unusable, chars=1,
    ),
    Mask(
        "fresh", "The value becomes a random code that was made for this row alone.",
        "whether there was a value", "equal values become different ones",
        _fits_fresh, _fresh, chars=36, injective=True,
    ),
)  # fmt: skip
