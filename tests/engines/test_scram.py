"""Verifiers: PostgreSQL accepts ours, and nothing weaker passes."""

from __future__ import annotations

import subprocess
import sys

import psycopg
import pytest
from psycopg import sql

from broker.embedded import EmbeddedServer
from broker.engines.postgres.scram import check_verifier, make_verifier, new_password
from broker.errors import Invalid
from broker.secret import Secret
from tests.conftest import admin

SALT = bytes(range(16))


def test_a_login_with_the_password_succeeds_and_with_another_fails(
    live_server: EmbeddedServer,
) -> None:
    password = new_password()
    with admin(live_server) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE scram_test LOGIN PASSWORD {}").format(make_verifier(password))
        )

    def log_in(clear: str) -> None:
        psycopg.connect(
            host=live_server.host,
            port=live_server.port,
            dbname="postgres",
            user="scram_test",
            password=clear,
        ).close()

    log_in(password.reveal())
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        log_in(password.reveal() + "x")


def test_the_verifier_is_the_one_that_libpq_computes(live_server: EmbeddedServer) -> None:
    """It draws its own salt: the same salt must give the same text."""
    import base64

    with admin(live_server) as connection:
        theirs = connection.pgconn.encrypt_password(b"pencil", b"user", b"scram-sha-256").decode()
    salt = base64.b64decode(theirs.split("$")[1].split(":")[1])
    assert make_verifier(Secret("pencil"), salt=salt) == theirs


def test_new_passwords_are_ascii_long_and_different() -> None:
    words = {new_password().reveal() for _ in range(50)}
    assert len(words) == 50
    assert all(len(word) == 32 and word.isascii() and word.isalnum() for word in words)


GOOD = make_verifier(Secret("pencil"), salt=SALT)
HEAD, SALT_TEXT, KEYS = "SCRAM-SHA-256$4096", GOOD.split("$")[1].split(":")[1], GOOD.split("$")[2]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hunter2",
        "md5" + "0" * 32,
        GOOD + "\n",
        " " + GOOD,
        GOOD.replace("SCRAM-SHA-256", "scram-sha-256"),
        GOOD.replace("$4096:", "$4095:"),
        GOOD.replace("$4096:", "$04096:"),
        GOOD.replace("$4096:", "$100001:"),
        GOOD.replace("$4096:", "$٤٠٩٦:"),
        make_verifier(Secret("pencil"), salt=SALT).replace(SALT_TEXT, "AAAA"),
        GOOD.replace(SALT_TEXT, SALT_TEXT.rstrip("=")),
        GOOD.replace("w==", "x=="),  # spare bits set: a second spelling of the same salt
        GOOD.replace(KEYS, KEYS.split(":")[0] + ":" + SALT_TEXT),
        GOOD.replace(KEYS, KEYS.split(":")[0]),
        GOOD + "; DROP ROLE x",
    ],
)
def test_what_is_not_exactly_a_verifier_is_refused(text: str) -> None:
    assert text != GOOD
    with pytest.raises(Invalid):
        check_verifier(text)


def test_weak_parameters_are_refused_when_made_too() -> None:
    for bad in (Secret(""), Secret("pässword"), Secret("a\nb")):
        with pytest.raises(Invalid):
            make_verifier(bad)
    with pytest.raises(Invalid):
        make_verifier(Secret("pencil"), salt=b"short")
    with pytest.raises(Invalid):
        make_verifier(Secret("pencil"), iterations=1000)


def test_the_module_imports_no_driver() -> None:
    """The command line of an engineer uses it and shall start quickly."""
    code = (
        "import sys; import broker.engines.postgres.scram;"
        "print([m for m in sys.modules if m.startswith(('psycopg', 'sqlalchemy', 'flask'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
