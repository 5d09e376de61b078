"""What key ports have in common whose wrapping keys lie in another place than the keyring.

What signs, and what opens logins, stays in the local keyring, with the tombstones of erased names:
the other place forgets a deleted name, and would make it again. What must stay true: a key counts
as erased only when the place says that there is none *and* a tombstone stands here; what the place
does not answer is KeyUnavailable, never "no such key".
"""

from __future__ import annotations

from abc import abstractmethod

from broker.errors import NotFound
from broker.keys import KeyState, KeyUnavailable
from broker.keys.keyring import Keyring


class RemoteKeys(Keyring):
    """A keyring whose wrapping keys are elsewhere; see `broker.keys` for what each call means."""

    place = ""  # as its errors call it

    @abstractmethod
    def _has(self, name: str) -> bool:
        """A fresh look. Raises KeyUnavailable."""

    @abstractmethod
    def _make(self, name: str) -> None:
        """Make a key that no one can take out. Raises KeyUnavailable."""

    @abstractmethod
    def _destroy(self, name: str) -> None:
        """Raises KeyUnavailable."""

    def create(self, name: str) -> None:
        self._key_path(name)  # raises Invalid for what can't be a name
        with self._locked():
            self._check_not_erased(name)
            if not self._has(name):
                self._make(name)

    def erase(self, name: str) -> None:
        """The tombstone first: a crash after it leaves a key that is already refused here."""
        super().erase(name)
        if self._has(name):
            self._destroy(name)
            if self._has(name):
                raise KeyUnavailable(f"{self.place} still has the key {name!r} after its deletion")

    def find_state(self, name: str) -> KeyState:
        """LIVE as long as the place has it, whatever stands here."""
        if self._has(name):
            return KeyState.LIVE
        return KeyState.ERASED if super().find_state(name) is KeyState.ERASED else KeyState.ABSENT

    def _check_there(self, name: str) -> None:
        self._check_not_erased(name)
        if not self._has(name):
            raise NotFound(f"there is no key {name!r}")
