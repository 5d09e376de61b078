"""Every mask on every type it is made for: what holds for all of them, and checksums that hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.embedded import EmbeddedServer
from broker.engines import Column, Fate, Table
from broker.engines.postgres.catalogue import read_catalogue
from broker.engines.postgres.connect import connect
from broker.engines.postgres.mask_docs import make_page
from broker.engines.postgres.masks import (
    MASKS,
    SESSION_KEY,
    find_obstacle,
    masked_select,
    session_options,
)
from broker.secret import Secret
from tests.conftest import admin, new_database, superuser

KEYS = (Secret(bytes(range(32))), Secret(b"\xfe" * 32))
PAGE = Path(__file__).parents[2] / "docs" / "masking.md"
TEXTS = [
    *("", " ", "a", "Dupont", "DUPONT", "jean.dupont@corp.example", "a@b@c", "@", "75011", "7501",
      "732 829 320", "73282932000074", "FR44732829320", "1 84 12 76 451 089 46", "rapport.pdf",
      "x.dupont", "https://h.example/p?q=1", "é🦊\n\\x41 %s", "192.168.7.9", "o'\"\\.{}[]^-", "0"),
    "x" * 5000,
]  # fmt: skip
DAYS = ["2024-02-29", *(f"2024-0{month}-11" for month in range(1, 7))]
# Per column type: values at the ends of what it holds, and ordinary ones.
SAMPLES: dict[str, list[str]] = {
    "text": TEXTS,
    "varchar(40)": [text for text in TEXTS if len(text) <= 40],
    "character(40)": [text for text in TEXTS if len(text) <= 40],
    "name": ["a", "Dupont"],
    "smallint": ["-32768", "-1", "0", "1", "99", "32767"],
    "integer": ["-2147483648", "-1", "0", "1", "12345", "65536", "2147483647"],
    "bigint": ["-9223372036854775808", "-1", "0", "7", "4294967296", "9223372036854775807"],
    "numeric": ["NaN", "Infinity", "-Infinity", "0", "-0.001", "12.50", "1e200", "-99999.99"],
    "numeric(5,2)": ["NaN", "0", "999.99", "-999.99", "0.01"],
    "numeric(2,2)": ["0.99", "-0.99", "0.01"],
    "real": ["NaN", "Infinity", "-Infinity", "0", "-0", "3.4e38", "1e-45", "-12.5"],
    "double precision": ["NaN", "Infinity", "-Infinity", "0", "1.7e308", "5e-324", "-48.8566"],
    "date": ["infinity", "-infinity", "4713-01-01 BC", "5874897-12-31", "1890-05-05", *DAYS],
    "timestamp": ["infinity", "-infinity", "4714-11-24 00:00:00 BC",
                  "294276-12-31 23:59:59", *DAYS],
    "timestamptz": ["infinity", "-infinity", "4714-11-24 00:00:00+00 BC",
                    "294276-12-31 23:59:59+00", *DAYS],
    "uuid": ["00000000-0000-0000-0000-000000000000", "0190a5e0-7c1b-7abc-8def-0123456789ab"],
    "json": ["{}", "[]", '"x"', "1", "true", "null", '{"mail": "a@b.example"}'],
    "jsonb": ["{}", "[]", '"x"', "1", "true", "null", '{"mail": "a@b.example"}'],
    "bytea": ["\\x", "\\x00", "\\x" + "ab" * 70_000],
    "text[]": ["{}", "{a}", "{a,NULL,b,a}", '{"",NULL}', "{{a,b},{c,d}}", "[3:4]={x,y}"],
    "inet": ["0.0.0.1", "192.168.7.9/24", "::1", "2001:db8::7/64", "10.0.0.0/8"],
    "cidr": ["10.0.0.0/8", "192.168.7.0/24", "2001:db8::/48"],
    "macaddr": ["00:00:00:00:00:00", "08:00:2b:01:02:03"],
    "mood": ["glad", "so so", "o'k"],
    "boolean": ["true", "false"],
}  # fmt: skip


@pytest.fixture(scope="module")
def database(live_server: EmbeddedServer) -> str:
    name = new_database(live_server)
    with admin(live_server, name) as owner:
        owner.execute("CREATE TYPE public.mood AS ENUM ('glad', 'so so', 'o''k')")
        for number, (kind, values) in enumerate(SAMPLES.items()):
            owner.execute(f"CREATE TABLE public.t{number} (c {kind})")
            owner.execute(f"CREATE TABLE public.o{number} (c {kind})")
            owner.execute(f"INSERT INTO public.t{number} VALUES (NULL)")
            for value in values:
                owner.execute(f"INSERT INTO public.t{number} VALUES (%s)", [value])
    return name


@pytest.fixture(scope="module")
def sessions(live_server: EmbeddedServer, database: str) -> Iterator[list[psycopg.Connection]]:
    target = superuser(live_server, database)
    with (
        closing(connect(target, options=session_options(KEYS[0]))) as first,
        closing(connect(target, options=session_options(KEYS[1]))) as second,
    ):
        yield [first, second]


@pytest.fixture(scope="module")
def tables(sessions: list[psycopg.Connection]) -> dict[str, Table]:
    return {table.name: table for table in read_catalogue(sessions[0]).tables}


def copied(session: psycopg.Connection, table: Table, mask: str, label: str = "l") -> list[bytes]:
    """Lines of COPY's text format, as a copy would move them."""
    fate = Fate(mask, label, "", subject="c" if mask == "shift" else "")
    select, _ = masked_select(table, {"c": fate}, SESSION_KEY)
    with session.cursor() as cursor:
        statement = b"COPY (" + select.as_string(session).encode() + b") TO STDOUT"
        with cursor.copy(statement) as copy:
            return b"".join(bytes(row) for row in copy).split(b"\n")[:-1]


@pytest.mark.parametrize("mask", [name for name in MASKS if name not in {"keep", "null"}])
def test_a_mask_is_total_fits_its_column_and_follows_its_key(
    mask: str, sessions: list[psycopg.Connection], tables: dict[str, Table]
) -> None:
    made = 0
    for number in range(len(SAMPLES)):
        table = tables[f"t{number}"]
        column = table.columns[0]
        if find_obstacle(mask, column, table) is not None:
            continue
        made += 1
        check_column(mask, sessions, table, f"o{number}")
    assert made, "no type of the samples is masked by it"


def check_column(mask: str, sessions: list[psycopg.Connection], table: Table, into: str) -> None:
    lines = copied(sessions[0], table, mask)
    count = len(SAMPLES_OF[table.name])
    assert lines.count(b"\\N") == 1, "NULL in, NULL out, and nothing else becomes NULL"
    assert len(lines) == count + 1
    with sessions[0].cursor() as cursor:
        with cursor.copy(f"COPY public.{into} FROM STDIN") as copy:
            copy.write(b"".join(line + b"\n" for line in lines))
        assert cursor.rowcount == count + 1
    again, other = copied(sessions[0], table, mask), copied(sessions[1], table, mask)
    elsewhere = copied(sessions[0], table, mask, "another label")
    if mask == "fresh":
        assert set(lines) & set(again) == {b"\\N"}
        return
    assert lines == again
    if not table.columns[0].enum:  # of so few labels two keys may choose the same
        assert (other != lines) == MASKS[mask].needs_key
        assert (elsewhere != lines) == MASKS[mask].needs_key
    if MASKS[mask].injective and "numeric" not in table.columns[0].type:
        assert len(set(lines)) - 1 == len(distinct(sessions[0], table))


def distinct(session: psycopg.Connection, table: Table) -> list[object]:
    query = f"SELECT DISTINCT format('%s', c) FROM public.{table.name} WHERE c IS NOT NULL"
    return session.execute(query).fetchall()


SAMPLES_OF = {f"t{number}": values for number, values in enumerate(SAMPLES.values())}


def mask_values(
    session: psycopg.Connection, mask: str, values: list[str], label: str = "l"
) -> list[str]:
    """The masked texts, in order, of values that no table holds."""
    column = Column("c", "text", "text")
    expression = MASKS[mask].expression(column, label)
    rows = session.execute(
        b"SELECT " + expression.as_string(session).encode().replace(b"%", b"%%")
        + b" FROM pg_catalog.unnest(%s::text[]) WITH ORDINALITY AS t (c, o) CROSS JOIN "
        + SESSION_KEY.relation.as_string(session).encode() + b" ORDER BY t.o",
        [values],
    ).fetchall()  # fmt: skip
    return [row[0] for row in rows]


def is_luhn(text: str) -> bool:
    digits = [int(sign) for sign in reversed(text)]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def is_iban(text: str) -> bool:
    moved = text[4:] + text[:4]
    bank, branch, account, key = text[4:9], text[9:14], text[14:25], text[25:]
    rib = 97 - (89 * int(bank) + 15 * int(branch) + 3 * int(account)) % 97
    return int("".join(str(int(sign, 36)) for sign in moved)) % 97 == 1 and rib == int(key)


def is_vat(text: str) -> bool:
    return is_luhn(text[4:]) and (12 + 3 * (int(text[4:]) % 97)) % 97 == int(text[2:4])


def is_nir(text: str) -> bool:
    return 97 - int(text[:13]) % 97 == int(text[13:]) and 1 <= int(text[3:5]) <= 12


CHECKSUMS: dict[str, tuple[str, Callable[[str], bool]]] = {
    "siren": (r"\d{9}", is_luhn),
    "siret": (r"\d{14}", lambda text: is_luhn(text) and is_luhn(text[:9])),
    "vat_fr": (r"FR\d{11}", is_vat),
    "nir": (r"[12]\d{4}99\d{8}", is_nir),
    "iban": (r"FR\d{2}99999\d{18}", is_iban),
    "card": (r"400000\d{10}", is_luhn),
    "phone": (r"\+999\d{11}", bool),
    "phone_fr": (r"\+331990\d{5}", bool),
    "url": (r"https://h[0-9a-f]{16}\.invalid/", bool),
    "username": (r"user_[0-9a-f]{16}", bool),
    "email_domain": (r"u[0-9a-f]{16}@d[0-9a-f]{8}\.example", bool),
    "address": (r"[1-9]\d{0,2} [A-Za-z' -]+, [A-Za-z-]+", bool),
}


@pytest.mark.parametrize("mask", CHECKSUMS)
@settings(max_examples=15, deadline=None, suppress_health_check=[*HealthCheck])
@given(values=st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_what_a_mask_makes_has_its_form_and_a_valid_checksum(
    mask: str, sessions: list[psycopg.Connection], values: list[str]
) -> None:
    form, holds = CHECKSUMS[mask]
    many = [*values, *(str(number) for number in range(200))]
    for masked in mask_values(sessions[0], mask, many):
        assert re.fullmatch(form, masked), masked
        assert holds(masked), masked


def test_a_company_keeps_one_number_in_its_siren_siret_and_vat_number(
    sessions: list[psycopg.Connection],
) -> None:
    (siren,) = mask_values(sessions[0], "siren", ["732 829 320"])
    (siret,) = mask_values(sessions[0], "siret", ["73282932000074"])
    (vat,) = mask_values(sessions[0], "vat_fr", ["FR44732829320"])
    assert siren == siret[:9] == vat[-9:]


def test_a_permutation_makes_no_two_numbers_one(
    live_server: EmbeddedServer, database: str, sessions: list[psycopg.Connection]
) -> None:
    with admin(live_server, database) as owner:
        owner.execute(
            "CREATE TABLE public.every (c smallint NOT NULL);"
            "INSERT INTO public.every SELECT generate_series(-32768, 32767)"
        )
    table = next(t for t in read_catalogue(sessions[0]).tables if t.name == "every")
    masked = [int(line) for line in copied(sessions[0], table, "permute")]
    assert sorted(masked) == list(range(-32768, 32768))
    assert masked != sorted(masked)


def test_known_answers(sessions: list[psycopg.Connection]) -> None:
    """A mask that gives something else than it gave is another mask: give it another name."""
    text = Column("c", "text", "text")
    names = [name for name, mask in MASKS.items() if mask.fits(text)]
    given = {
        name: mask_values(sessions[0], name, ["1 Dupont.pdf"])[0]
        for name in names
        if name not in {"null", "fresh"}
    }
    assert given == KNOWN


KNOWN = {
    "keep": "1 Dupont.pdf",
    "constant": "",
    "token": "f6e2b83ad8077104c9565c2469a1ed84",
    "email": "uf6e2b83ad8077104@example.invalid",
    "filler": "lorem ipsum dolo",
    "first_name": "Benjamin",
    "last_name": "Bertrand",
    "full_name": "Benjamin Bernard",
    "city": "Grandchamp",
    "address": "135 cours des Tilleuls, Fontenay",
    "company": "Company f6e2b83ad8077104",
    "username": "user_f6e2b83ad8077104",
    "url": "https://hf6e2b83ad8077104.invalid/",
    "phone": "+99953613905927",
    "phone_fr": "+33199005927",
    "email_domain": "uf6e2b83ad8077104@d53eac3e3.example",
    "postcode": "00000",
    "file_name": "file_f6e2b83ad8077104.pdf",
    "unusable": "!",
    "siren": "475982534",
    "siret": "47598253459273",
    "vat_fr": "FR41475982534",
    "nir": "249079923811205",
    "iban": "FR7699999059278508256636063",
    "card": "4000006139059272",
    "shape": "0 xxxxxx.xxx",
    "ip": "10.246.226.184",
}


def test_shape_leaves_no_letter_of_any_script(sessions: list[psycopg.Connection]) -> None:
    shown = mask_values(sessions[0], "shape", ["Ab-12 é🦊Ж中.x", "(03) 20_5!"])
    assert shown == ["xx-00 xxxx.x", "(00) 00_0!"]


def test_keyless_masks_leave_what_they_made_as_it_is(
    sessions: list[psycopg.Connection],
) -> None:
    """The spot check rests on it: what such a mask gave can't be another row's hidden value."""
    for name, mask in MASKS.items():
        if mask.needs_key or not mask.fits(Column("c", "text", "text")):
            continue
        if name in {"null", "fresh"}:
            continue
        once = mask_values(sessions[0], name, TEXTS)
        assert mask_values(sessions[0], name, once) == once, name


def test_the_committed_page_is_the_codes() -> None:
    assert len(MASKS) >= 25
    command = "python -m broker.engines.postgres.mask_docs > docs/masking.md"
    assert PAGE.read_text() == make_page(), f"run: {command}"
