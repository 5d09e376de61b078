"""Tokens in the system's keyring (Secret Service, macOS Keychain, Windows Credential Locker).

Where the package `keyring` is not installed, or finds no real keyring (a server, a container), the
session keeps tokens in its file instead. A keyring that was used and does not answer is an error,
never a silent step down to the file.
"""

from __future__ import annotations

from types import ModuleType

from broker.errors import Unavailable
from broker.secret import Secret

_SERVICE = "support-access-broker"
_REAL = 1  # what keyring recommends; its own ways to keep nothing, or to keep in clear, are below


def keep(name: str, token: Secret[str]) -> bool:
    """Whether there is a keyring, which then has it. Raises Unavailable."""
    keyring = _find_keyring()
    if keyring is None:
        return False
    try:
        keyring.set_password(_SERVICE, name, token.reveal())
    except keyring.errors.KeyringError as error:
        raise _silent(error) from None
    return True


def find(name: str) -> Secret[str] | None:
    """Raises Unavailable when there is no keyring now, or it does not open."""
    keyring = _find_keyring()
    if keyring is None:
        raise Unavailable("the token is in a keyring, and none is there now; sign in again")
    try:
        token = keyring.get_password(_SERVICE, name)
    except keyring.errors.KeyringError as error:
        raise _silent(error) from None
    return None if token is None else Secret(token)


def forget(name: str) -> None:
    keyring = _find_keyring()
    if keyring is None:
        return
    try:
        keyring.delete_password(_SERVICE, name)
    except keyring.errors.PasswordDeleteError:
        return  # it was not there
    except keyring.errors.KeyringError as error:
        raise _silent(error) from None


def _find_keyring() -> ModuleType | None:
    try:
        import keyring
    except ImportError:
        return None
    return keyring if keyring.get_keyring().priority >= _REAL else None


def _silent(error: Exception) -> Unavailable:
    """By its kind alone: what a backend says may quote what it was given (G11)."""
    return Unavailable(f"the system's keyring does not answer ({type(error).__name__}); unlock it")
