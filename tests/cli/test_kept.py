"""Where the command line keeps its token: the system's keyring, else a file of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked, PasswordDeleteError

from broker.cli import kept
from broker.cli.session import Login, Session
from broker.errors import NotAuthenticated, Unavailable
from broker.secret import Secret
from tests.cli.conftest import Terminal

URL = "https://broker.test"
TOKEN = "brk_of_mine"


class Drawer(KeyringBackend):
    """A keyring of one process, which can be locked."""

    priority = 5.0

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[tuple[str, str], str] = {}
        self.locked = False

    def _open(self) -> dict[tuple[str, str], str]:
        if self.locked:
            raise KeyringLocked(TOKEN)
        return self.held

    def get_password(self, service: str, username: str) -> str | None:
        return self._open().get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self._open()[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        if self._open().pop((service, username), None) is None:
            raise PasswordDeleteError(username)


@pytest.fixture
def drawer() -> Iterator[Drawer]:
    before, ours = keyring.get_keyring(), Drawer()
    keyring.set_keyring(ours)
    yield ours
    keyring.set_keyring(before)


@pytest.fixture
def session(terminal: Terminal) -> Session:
    terminal.home.mkdir(mode=0o700)
    return Session(terminal.home, "default", URL, "table", None)


def file_of(session: Session) -> str:
    return (session.home / "tokens.json").read_text()


def test_a_token_is_in_the_keyring_and_not_in_the_file(session: Session, drawer: Drawer) -> None:
    session.keep_login(Login(URL, Secret(TOKEN), "tok_1"))
    assert TOKEN not in file_of(session)
    assert list(drawer.held.values()) == [TOKEN]
    found = session.find_login()
    assert found is not None
    assert (found.token.reveal(), found.token_id) == (TOKEN, "tok_1")
    other = Session(session.home.parent, "default", URL, "table", None)
    other.keep_login(Login(URL, Secret("brk_other"), None))  # another home, the same profile
    assert session.find_login() == found
    session.forget_login()
    assert list(drawer.held.values()) == ["brk_other"]
    assert session.find_login() is None


def test_a_keyring_that_is_locked_is_no_reason_for_a_file(session: Session, drawer: Drawer) -> None:
    session.keep_login(Login(URL, Secret(TOKEN), None))
    drawer.locked = True
    for act in (session.find_login, lambda: session.keep_login(Login(URL, Secret(TOKEN), None))):
        with pytest.raises(Unavailable, match="unlock it") as caught:
            act()
        assert TOKEN not in str(caught.value)
    assert TOKEN not in file_of(session)
    drawer.locked = False
    drawer.held.clear()
    with pytest.raises(NotAuthenticated, match="no token"):
        session.find_login()


def test_without_a_keyring_a_file_that_only_its_owner_reads_has_it(session: Session) -> None:
    assert not kept.keep("x", Secret(TOKEN))
    session.keep_login(Login(URL, Secret(TOKEN), None))
    assert json.loads(file_of(session))["default"]["token"] == TOKEN
    assert (session.home / "tokens.json").stat().st_mode & 0o777 == 0o600
    kept.forget("x")
    with pytest.raises(Unavailable, match="sign in again"):
        kept.find("x")
