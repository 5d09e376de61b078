"""Masks for numbers: identifiers that stay valid by their checksum, amounts, keys, dates."""

from __future__ import annotations

from psycopg import sql

from broker.engines import Column
from broker.engines.postgres.expressions import (
    as_text,
    below,
    between,
    call,
    canonical_text,
    hmac_hex,
    is_text,
    join,
    keyed,
    literal,
    number,
    once,
    operate,
    padded,
    truncated,
    value_of,
)
from broker.engines.postgres.mask import TIME_TYPES, Mask

_INTEGERS = {"smallint": ("int2", 8), "integer": ("int4", 16), "bigint": ("int8", 32)}
_FLOATS = {"real": "float4", "double precision": "float8"}
_ROUNDS = 4
_SHORT = "many values may share one; not for unique columns"


def _int8(value: int) -> sql.Composed:
    return literal(str(value), "int8")


def _to_int8(text: sql.Composable) -> sql.Composed:
    return call("int8in", call("textout", text))


def _digits(column: Column) -> sql.Composed:
    """The digits of the value alone: `123 456 789` and `123456789` are one number."""
    return call(
        "regexp_replace",
        canonical_text(column),
        literal("[^0-9]", "text"),
        literal("", "text"),
        literal("g", "text"),
    )


def _luhn(text: str, length: int) -> sql.Composed:
    """The check digit for `length` digits in `h.<text>`, by ISO/IEC 7812-1, annex B."""
    total = _int4((48 + 10) * length)  # ascii('0') is 48; and tens, so that it stays positive
    digits = sql.Identifier("h", text)
    for place in range(length, 0, -1):
        digit = call("substr", digits, sql.Literal(place), sql.Literal(1))
        if (length - place) % 2 == 0:  # every second one is doubled, and its digits added
            digit = call(
                "translate", digit, literal("0123456789", "text"), literal("0246813579", "text")
            )
        total = operate(total, "-", call("ascii", digit))
    return as_text(call("mod", total, _int4(10)))


def _int4(value: int) -> sql.Composed:
    return literal(str(value), "int4")


def _with_luhn(digits: sql.Composable, length: int) -> sql.Composed:
    return once("b", digits, join(sql.SQL("h.b"), _luhn("b", length)))


def _siren_of(label: str, source: sql.Composable) -> sql.Composed:
    """The same SIREN for the same nine digits, whether they stand in a SIREN, SIRET or VAT number.

    INSEE: eight digits and a check digit.
    """
    return once("h", hmac_hex(label, source), _with_luhn(padded(below(10**8, 1), 8), 8))


def _siren(column: Column, label: str) -> sql.Composed:
    return _siren_of(label, _digits(column))


def _siret(column: Column, label: str) -> sql.Composed:
    first = call("substr", _digits(column), sql.Literal(1), sql.Literal(9))
    site = keyed(column, label, padded(below(10**4, 1), 4))
    return _with_luhn(join(_siren_of(label, first), site), 13)


def _vat_fr(column: Column, label: str) -> sql.Composed:
    last = call("right", _digits(column), sql.Literal(9))
    rest = call("mod", _to_int8(sql.SQL("h.s")), _int8(97))
    key = call("mod", operate(_int8(12), "+", operate(_int8(3), "*", rest)), _int8(97))
    return once("s", _siren_of(label, last), join("FR", padded(key, 2), sql.SQL("h.s")))


def _nir(column: Column, label: str) -> sql.Composed:
    """Thirteen digits and 97 minus their rest by 97 (INSEE); department 99 is "born abroad"."""
    sex = as_text(operate(below(2, 1), "+", _int8(1)))
    month = padded(operate(below(12, 14), "+", _int8(1)), 2)
    country = as_text(operate(below(400, 26), "+", _int8(100)))
    order = padded(operate(below(999, 39), "+", _int8(1)), 3)
    base = join(sex, padded(below(100, 7), 2), month, "99", country, order)
    key = operate(_int8(97), "-", call("mod", _to_int8(sql.SQL("h.b")), _int8(97)))
    return keyed(column, label, once("b", base, join(sql.SQL("h.b"), padded(key, 2))))


def _iban(column: Column, label: str) -> sql.Composed:
    """A French one at bank 99999: RIB key first, then ISO 13616's check by 97 (ISO 7064)."""
    branch, account = below(10**5, 1), below(10**11, 20)
    weights = operate(operate(_int8(15), "*", branch), "+", operate(_int8(3), "*", account))
    total = operate(_int8(89 * 99999), "+", weights)
    key = operate(_int8(97), "-", call("mod", total, _int8(97)))
    bban = join("99999", padded(branch, 5), padded(account, 11), padded(key, 2))
    # F is 15, R is 27, and 00 stands for the check digits.
    read = call("textout", join(sql.SQL("h.b"), "152700"))
    whole = call("numeric_in", read, sql.Literal("0"), sql.Literal("-1"))
    rest = call("mod", whole, literal("97", "numeric"))
    check = call("int8", operate(literal("98", "numeric"), "-", rest))
    return keyed(column, label, once("b", bban, join("FR", padded(check, 2), sql.SQL("h.b"))))


def _card(column: Column, label: str) -> sql.Composed:
    """400000 is the prefix of payment processors' test cards."""
    return keyed(column, label, _with_luhn(join("400000", padded(below(10**9, 1), 9)), 15))


def _fits_amount(column: Column) -> bool:
    return column.base_type in {*_INTEGERS, *_FLOATS, "numeric"}


def _numeric(column: Column) -> sql.Composed:
    value = value_of(column)
    return value if column.base_type == "numeric" else call("numeric", value)


def _back(column: Column, value: sql.Composable) -> sql.Composed:
    """A numeric, as what the column holds."""
    if column.base_type in _INTEGERS:
        return call(_INTEGERS[column.base_type][0], call("trunc", value))
    if column.base_type in _FLOATS:
        return call(_FLOATS[column.base_type], value)
    return sql.SQL("{}").format(value)


def _noise(column: Column, label: str) -> sql.Composed:
    """Times 0.80 to 1.00, so that it fits wherever the value did."""
    share = operate(literal("0.8", "numeric"), "+", _thousandths(below(201, 1)))
    scaled = operate(_numeric(column), "*", sql.SQL("h.f"))
    scale = sql.SQL("COALESCE({}, 0)").format(call("scale", _numeric(column)))  # NaN has none
    if column.base_type == "numeric":
        scaled = call("trunc", scaled, scale)
    return keyed(column, label, once("f", share, _back(column, scaled)))


def _thousandths(value: sql.Composable) -> sql.Composed:
    return operate(call("numeric", value), "*", literal("0.001", "numeric"))


def _rounded(column: Column, label: str) -> sql.Composed:
    """Two significant digits, towards zero; zero, NaN and infinity stay."""
    del label
    value = _numeric(column)
    size = call("int4", call("floor", call("log", call("abs", value))))
    cut = call("trunc", value, operate(_int4(1), "-", size))
    plain = operate(as_text(value), "~", literal("[1-9]", "text"))
    return sql.SQL("CASE WHEN {} THEN {} ELSE {} END").format(
        plain, _back(column, cut), value_of(column)
    )


def _tenth(column: Column, label: str) -> sql.Composed:
    del label
    return _back(column, call("trunc", _numeric(column), sql.Literal(1)))


def _permute(column: Column, label: str) -> sql.Composed:
    """A Feistel network over all bits of the type: a bijection, whatever the rounds give."""
    name, half = _INTEGERS[column.base_type]
    mask, shift = _int8((1 << half) - 1), _int4(half)
    value = call("int8", value_of(column))
    left = call("int8and", call("int8shr", value, shift), mask)
    inner = sql.SQL("SELECT {} AS l, {} AS r OFFSET 0").format(left, call("int8and", value, mask))
    for turn in range(_ROUNDS):
        digest = hmac_hex(f"{label}/{turn}", as_text(sql.SQL("h.r")))
        mixed = call("int8xor", sql.SQL("h.l"), number(1, half // 4, digest))
        inner = sql.SQL("SELECT h.r AS l, {} AS r FROM ({}) AS h OFFSET 0").format(mixed, inner)
    whole = call("int8or", call("int8shl", sql.SQL("h.l"), shift), sql.SQL("h.r"))
    if name != "int8":  # the upper bit is the sign
        sign = call("int8shr", sql.SQL("h.l"), _int4(half - 1))
        whole = operate(whole, "-", operate(sign, "*", _int8(1 << (2 * half))))
    return sql.SQL("(SELECT {} FROM ({}) AS h)").format(call(name, whole), inner)


def _fits_time(column: Column) -> bool:
    return column.base_type in TIME_TYPES


def _month(column: Column, label: str) -> sql.Composed:
    del label
    return truncated(column, "month")


def _day(column: Column, label: str) -> sql.Composed:
    del label
    return truncated(column, "day")


def _jitter(column: Column, label: str) -> sql.Composed:
    days = call("int4", operate(below(61, 1), "-", _int8(30)))
    step = days
    if column.base_type != "date":
        none = sql.Literal("0")
        step = call("make_interval", none, none, none, days)
    moved = operate(value_of(column), "+", step)
    return between(column, ("0001-01-01", "9999-12-31"), keyed(column, label, moved))


_HOURS_OF_A_DAY = 24
_SHIFT_DAYS = 60


def shifted(column: Column, label: str, subject: sql.Composable) -> sql.Composed:
    """Moved by 1 to 60 days, back or on, drawn from the subject's text; never by none.

    In hours, so that intervals stay to the microsecond whatever the session's time zone is.
    """
    days = operate(below(_SHIFT_DAYS, 1), "+", _int8(1))
    sign = operate(_int8(1), "-", operate(_int8(2), "*", below(2, 14)))
    step = call("int4", operate(days, "*", sign))
    if column.base_type != "date":
        none = sql.Literal("0")
        hours = operate(step, "*", _int4(_HOURS_OF_A_DAY))
        step = call("make_interval", none, none, none, none, hours)
    moved = operate(value_of(column), "+", step)
    drawn = once("h", hmac_hex(label, as_text(subject)), moved)
    return between(column, ("0001-01-01", "9999-12-31"), drawn)


def _shift(column: Column, label: str) -> sql.Composed:
    """For the page of masks: here the column is its own subject."""
    return shifted(column, label, value_of(column))


def _birth_band(column: Column, label: str) -> sql.Composed:
    """1 January of a year that five divides; before 1935 is 1930, for the very old are few."""
    del label
    year = call("int4", call("date_part", literal("year", "text"), value_of(column)))
    first = operate(year, "-", call("mod", year, _int4(5)))
    band = call("make_date", first, sql.Literal(1), sql.Literal(1))
    old = operate(value_of(column), "<", literal("1935-01-01", "date"))
    clipped = sql.SQL("CASE WHEN {} THEN {} ELSE {} END").format(
        old, literal("1930-01-01", "date"), band
    )
    return between(column, ("1930-01-01", "2100-01-01"), clipped)


MASKS: tuple[Mask, ...] = (
    Mask(
        "siren", "The value becomes a number with a valid check digit.",
        "which values are equal, also inside SIRET and VAT numbers of one label",
        f"some made numbers are a real company's; {_SHORT}",
        is_text, _siren, chars=9, needs_key=True, may_coincide=True,
    ),
    Mask(
        "siret", "The value becomes a number with valid check digits.",
        "which values are equal, and which sites share a company",
        f"some made numbers are a real company's; {_SHORT}",
        is_text, _siret, chars=14, needs_key=True, may_coincide=True,
    ),
    Mask(
        "vat_fr", "The value becomes a French VAT number with a valid key.",
        "which values are equal", f"some made numbers are a real company's; {_SHORT}",
        is_text, _vat_fr, chars=13, needs_key=True, may_coincide=True,
    ),
    Mask(
        "nir", "The value becomes a French social security number, born abroad, with a valid key.",
        "the form", f"no block is kept for fiction, so one may be somebody's; {_SHORT}",
        is_text, _nir, chars=15, needs_key=True, may_coincide=True,
    ),
    Mask(
        "iban", "The value becomes a French IBAN at a bank that is none, with valid keys.",
        "which values are equal, and the form", f"the country is lost; {_SHORT}",
        is_text, _iban, chars=27, needs_key=True,
    ),
    Mask(
        "card", "The value becomes a number of a test card, with a valid check digit.",
        "which values are equal, and the form", f"the kind of card is lost; {_SHORT}",
        is_text, _card, chars=16, needs_key=True, may_coincide=True,
    ),
    Mask(
        "noise", "The amount becomes 80 to 100 percent of it.",
        "the order of magnitude, and which amounts are equal",
        "sums no longer agree; many amounts together tell their true mean",
        _fits_amount, _noise, needs_key=True, may_coincide=True,
    ),
    Mask(
        "rounded", "Of the amount two significant digits stay.",
        "the order of magnitude", "a single very large amount is still known by its size",
        _fits_amount, _rounded,
    ),
    Mask(
        "tenth", "One decimal stays: about 10 km of a latitude or a longitude.",
        "roughly where", "far from everybody else a point is still somebody's",
        lambda column: column.base_type in {*_FLOATS, "numeric"}, _tenth,
    ),
    Mask(
        "permute", "The number becomes another of its type; no two become one.",
        "which values are equal, and that they are unique", "the order and the size are lost",
        lambda column: column.base_type in _INTEGERS, _permute,
        needs_key=True, injective=True, may_coincide=True,
    ),
    Mask(
        "month", "The date becomes the first day of its month.", "the month",
        "what happened on few occasions is still known by its month", _fits_time, _month,
    ),
    Mask(
        "day", "The instant becomes the beginning of its day.", "the day",
        "what happened on a known day is still found", _fits_time, _day,
    ),
    Mask(
        "jitter", "The date is moved by up to 30 days; equal dates move alike.",
        "roughly when", "the order of near dates is lost",
        _fits_time, _jitter, needs_key=True, may_coincide=True,
    ),
    Mask(
        "shift", "The date is moved by up to 60 days; all dates of one subject move alike.",
        "order and intervals of one subject's dates",
        "one known date of a subject tells all its others",
        _fits_time, _shift, needs_key=True, may_coincide=True,
    ),
    Mask(
        "birth_band", "The birth date becomes 1 January of one year in five.",
        "the age, to five years", "with a place and a sex it may single somebody out",
        lambda column: column.base_type == "date", _birth_band,
    ),
)  # fmt: skip
