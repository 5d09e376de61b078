"""Keys as local files: the driver of both faces of the key port for one machine.

    keyring/            0700, owned by the user that runs the broker
      wrapping/         <name, "/" as ".">.key   32 random bytes, AES-256-GCM
      signing/          <purpose, as above>.key  32 bytes, Ed25519 seed
                        <purpose>.next           the seed that will follow, once introduced
      former/           <purpose>.<hex>          a public key that signed before: only ever added
      erased/           <name, "/" as ".">       tombstones: only ever added
      heads/            <sha256 of origin>       last signed checkpoint of a log
      mark                                       how far the control database had come
      intake.key                                 32 bytes, X25519: opens logins sealed for us
      labels.key                                 32 bytes, HMAC key of labels

What must stay true: a tombstone outranks a key file, so a key that a backup put back stays unusable
(G6); a file is on the disk, whole, before the call that wrote it returns; what the operating system
refuses is KeyUnavailable, never "no such key"; no other user can read any of it.

Keep this folder out of every backup. Restored as a whole, without the newer tombstones, it would
bring erased keys back; losing it only costs copies that can be made again, and the log's identity.

Writers of all processes take one lock, on the folder. Readers take none: they read the key first
and look for the tombstone second, so a key half overwritten by `erase` is never used.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from broker.errors import Conflict, Invalid, NotFound, VerificationFailed
from broker.keys import (
    LOG_KEY,
    STATEMENTS_KEY,
    TOKEN_KEY,
    KeyErased,
    KeyHeld,
    KeyState,
    KeyUnavailable,
)
from broker.keys.files import (
    answering,
    check_private,
    find_file,
    overwrite,
    sync_folder,
    write_file,
)
from broker.keys.intake import open_login
from broker.secret import Secret

_KEY_BYTES = 32
_NONCE_BYTES = 12  # 96 bits: NIST SP 800-38D, 8.2.2; far below 2^32 wraps under one key
_VERSION = b"\x01"
_NAME = re.compile(r"\A[a-z0-9_-]+(?:/[a-z0-9_-]+)*\Z")
_NAME_LENGTH = 200  # with its suffix below the 255 bytes of a file's name
_FOLDERS = ("wrapping", "signing", "erased", "heads")
_PURPOSES = (LOG_KEY, STATEMENTS_KEY)


class Keyring:
    """Implements `broker.keys.Sealer` and `broker.keys.Signer`; see there what each call means."""

    def __init__(self, folder: Path) -> None:
        """Raises KeyUnavailable unless `folder` is a whole keyring that only this user can read."""
        self._folder = folder
        self.label_key()  # written last by create_folder

    @classmethod
    def create_folder(cls, folder: Path) -> Keyring:
        """Make a keyring with new signing keys. Raises Conflict if something is there already."""
        with answering():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise Conflict(f"{folder} is not empty; a keyring is never overwritten")
            check_private(folder, folder.stat())
            for name in _FOLDERS:
                (folder / name).mkdir(mode=0o700)
            for purpose in _PURPOSES:
                write_file(folder / "signing" / f"{purpose}.key", secrets.token_bytes(_KEY_BYTES))
            write_file(folder / "intake.key", secrets.token_bytes(_KEY_BYTES))
            write_file(folder / "labels.key", secrets.token_bytes(_KEY_BYTES))
            sync_folder(folder.parent)
        return cls(folder)

    # Sealer

    def create(self, name: str) -> None:
        path = self._key_path(name)
        with self._locked():
            self._check_not_erased(name)
            if find_file(path) is None:
                write_file(path, secrets.token_bytes(_KEY_BYTES))

    def wrap(self, name: str, secret: Secret[bytes], context: bytes) -> bytes:
        """The version, the nonce, then ciphertext and tag."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = AESGCM(self._live_key(name)).encrypt(nonce, secret.reveal(), _VERSION + context)
        return _VERSION + nonce + sealed

    def unwrap(self, name: str, wrapped: bytes, context: bytes) -> Secret[bytes]:
        key = self._live_key(name)
        self._check_not_held(name)
        start = len(_VERSION) + _NONCE_BYTES
        if wrapped[: len(_VERSION)] != _VERSION or len(wrapped) < start:
            raise VerificationFailed(f"what was wrapped under {name!r} has an unknown form")
        try:
            opened = AESGCM(key).decrypt(
                wrapped[len(_VERSION) : start], wrapped[start:], _VERSION + context
            )
        except InvalidTag:
            raise VerificationFailed(
                f"this was not wrapped under {name!r} for this use, or it was changed"
            ) from None
        return Secret(opened)

    def hold(self, name: str) -> None:
        with self._locked():
            mark = self._hold_mark(name)
            mark.parent.mkdir(mode=0o700, exist_ok=True)  # a keyring made before holds has none
            if find_file(mark) is None:
                write_file(mark, b"")

    def erase(self, name: str) -> None:
        """The tombstone first: a crash after it leaves a key that is already refused.

        Overwriting is no proof. A file system that copies on write, a journal or a flash drive may
        keep the old bytes. So a certificate speaks of the cryptographic erase of a key in this
        keyring's file, and only an encrypted volume of the keyring's own says more.
        """
        self._erase(name, self._key_path(name))

    def _erase(self, name: str, path: Path) -> None:
        with self._locked():
            if not self._is_erased(name):
                write_file(self._tombstone(name), b"")
            with contextlib.suppress(FileNotFoundError):
                overwrite(path, _KEY_BYTES)  # in place: this reaches hard links of it as well
                path.unlink()
            sync_folder(path.parent)

    def find_state(self, name: str) -> KeyState:
        """ERASED also when somebody put the file back: it is unusable. `list_names` shows it."""
        path = self._key_path(name)
        with self._reading():
            if self._is_erased(name):
                return KeyState.ERASED
            return KeyState.ABSENT if find_file(path) is None else KeyState.LIVE

    def list_names(self, prefix: str) -> list[str]:
        """Names that have a key file now, so also an erased one's that was put back."""
        with self._reading():
            files = list((self._folder / "wrapping").iterdir())
        names = (file.stem.replace(".", "/") for file in files if file.suffix == ".key")
        return sorted(name for name in names if name.startswith(prefix))

    def label_key(self) -> Secret[bytes]:
        with self._reading():
            return Secret(_get_key(self._folder / "labels.key"))

    def intake_public(self) -> bytes:
        return self._intake_key().public_key().public_bytes_raw()

    def open_intake(self, sealed: bytes, context: bytes) -> Secret[str]:
        return open_login(self._intake_key(), sealed, context)

    def _intake_key(self) -> X25519PrivateKey:
        with self._reading():
            return X25519PrivateKey.from_private_bytes(_get_key(self._folder / "intake.key"))

    # Signer

    def public(self, purpose: str) -> bytes:
        return self._signing_key(purpose).public_key().public_bytes_raw()

    def list_former(self, purpose: str) -> list[bytes]:
        start = f"{_encode(purpose)}."
        with self._reading():
            folder = self._folder / "former"
            if not folder.is_dir():  # a keyring that never turned a key has none
                return []
            files = [file for file in sorted(folder.iterdir()) if file.name.startswith(start)]
            return [_get_key(file) for file in files]

    def turn_statements(self) -> bytes:
        """Sign statements with a new key from now on; the new public half.

        The old public half is kept before the old seed goes: a crash between the two leaves the
        old key both present and former, and calling again turns it. Whoever pinned the old key is
        told beforehand; the log's own key stays.
        """
        with self._locked():
            self._keep_former(STATEMENTS_KEY, self.public(STATEMENTS_KEY))
            write_file(self._signing_path(STATEMENTS_KEY), secrets.token_bytes(_KEY_BYTES))
        return self.public(STATEMENTS_KEY)

    def find_next(self, purpose: str) -> bytes | None:
        """None also between the two steps of `turn`, when the next is the present one already."""
        with self._reading():
            found = find_file(self._next_path(purpose))
        public = None if found is None else _public(found)
        return None if public == self.public(purpose) else public

    def sign_next(self, purpose: str, message: bytes) -> bytes:
        with self._reading():
            seed = _get_key(self._next_path(purpose))
        return Ed25519PrivateKey.from_private_bytes(seed).sign(message)

    def introduce(self, purpose: str) -> bytes:
        """Make the key that will follow, unless it is there; its public half."""
        path = self._next_path(purpose)
        with self._locked():
            if find_file(path) is None:
                write_file(path, secrets.token_bytes(_KEY_BYTES))
            return _public(_get_key(path))

    def turn(self, purpose: str, *, compromised: bool = False) -> bytes:
        """Sign with the key that was introduced from now on; its public half.

        The old public half is kept first, unless it is `compromised` and is to count no more. A
        crash in between leaves the new key both present and next; calling again finishes. Raises
        Conflict when no key was introduced.
        """
        with self._locked():
            seed = find_file(self._next_path(purpose))
            if seed is None:
                raise Conflict("no key was introduced that could follow; introduce one first")
            former = self.public(purpose)
            if former != _public(seed):
                if not compromised:
                    self._keep_former(purpose, former)
                write_file(self._signing_path(purpose), seed)
            self._next_path(purpose).unlink()
            sync_folder(self._folder / "signing")
        return self.public(purpose)

    def _keep_former(self, purpose: str, public: bytes) -> None:
        folder = self._folder / "former"
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(self._folder)
        write_file(folder / f"{purpose}.{public.hex()}", public)

    def _next_path(self, purpose: str) -> Path:
        if purpose not in _PURPOSES:
            raise Invalid(f"no key follows another for the purpose {purpose!r}")
        return self._folder / "signing" / f"{purpose}.next"

    def sign(self, purpose: str, message: bytes) -> bytes:
        return self._signing_key(purpose).sign(message)

    def create_signing(self, purpose: str) -> bytes:
        self._check_passing(purpose)
        path = self._signing_path(purpose)
        with self._locked():
            self._check_not_erased(purpose)
            if find_file(path) is None:
                write_file(path, secrets.token_bytes(_KEY_BYTES))
        return self.public(purpose)

    def erase_signing(self, purpose: str) -> None:
        self._check_passing(purpose)
        self._erase(purpose, self._signing_path(purpose))

    def find_head(self, origin: str) -> bytes | None:
        with self._reading():
            return find_file(self._head_path(origin))

    def swap_head(self, origin: str, old: bytes | None, new: bytes) -> None:
        path = self._head_path(origin)
        with self._locked():
            if find_file(path) != old:
                raise Conflict(f"another checkpoint of {origin!r} was signed last")
            write_file(path, new)

    # What is remembered of the control database

    def find_mark(self) -> bytes | None:
        with self._reading():
            return find_file(self._folder / "mark")

    def swap_mark(self, old: bytes | None, new: bytes) -> None:
        path = self._folder / "mark"
        with self._locked():
            if find_file(path) != old:
                raise Conflict("another mark of the control database was kept last")
            write_file(path, new)

    # Inside

    def _live_key(self, name: str) -> bytes:
        path = self._key_path(name)
        with self._reading():
            # This order: `erase` writes the tombstone before it touches the key.
            found = find_file(path)
            self._check_not_erased(name)
            if found is None:
                raise NotFound(f"there is no key {name!r}")
            return _check_key(path, found)

    def _signing_key(self, purpose: str) -> Ed25519PrivateKey:
        if purpose not in _PURPOSES:
            self._check_passing(purpose)
        with self._reading():
            found = find_file(self._signing_path(purpose))
            self._check_not_erased(purpose)
            if found is None:
                raise KeyUnavailable(f"the keyring has no key that signs for {purpose!r}")
            return Ed25519PrivateKey.from_private_bytes(
                _check_key(self._signing_path(purpose), found)
            )

    @staticmethod
    def _check_passing(purpose: str) -> None:
        """Of a key that comes and goes. The others stay: logs and certificates hang on them."""
        if not purpose.startswith(TOKEN_KEY):
            raise Invalid(f"no key comes or goes for the purpose {purpose!r}")

    def _signing_path(self, purpose: str) -> Path:
        return self._folder / "signing" / f"{_encode(purpose)}.key"

    def _key_path(self, name: str) -> Path:
        return self._folder / "wrapping" / f"{_encode(name)}.key"

    def _tombstone(self, name: str) -> Path:
        return self._folder / "erased" / _encode(name)

    def _hold_mark(self, name: str) -> Path:
        return self._folder / "held" / _encode(name)

    def _head_path(self, origin: str) -> Path:
        return self._folder / "heads" / hashlib.sha256(origin.encode()).hexdigest()

    def _is_held(self, name: str) -> bool:
        mark = self._hold_mark(name)
        with self._reading():
            return mark.parent.is_dir() and find_file(mark) is not None

    def _is_erased(self, name: str) -> bool:
        return find_file(self._tombstone(name)) is not None

    def _check_not_erased(self, name: str) -> None:
        if self._is_erased(name):
            raise KeyErased(f"the key {name!r} was erased; what was wrapped under it stays closed")

    def _check_not_held(self, name: str) -> None:
        if self._is_held(name):
            raise KeyHeld(f"the key {name!r} is under a legal hold: it opens nothing any more")

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        with answering():
            check_private(self._folder, self._folder.stat())
            yield

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time, among threads and processes; a killed one lets go."""
        with self._reading():
            descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)


def _encode(name: str) -> str:
    """`snapshot/snp_x` as a file name. A name holds no dot, so this loses nothing."""
    if not _NAME.match(name) or len(name) > _NAME_LENGTH:
        raise Invalid(f"{name!r} can't be the name of a key")
    return name.replace("/", ".")


def _get_key(path: Path) -> bytes:
    found = find_file(path)
    if found is None:
        raise KeyUnavailable(f"{path} is missing; this is no whole keyring")
    return _check_key(path, found)


def _check_key(path: Path, found: bytes) -> bytes:
    if len(found) != _KEY_BYTES:
        raise KeyUnavailable(f"{path} is damaged: {len(found)} bytes instead of {_KEY_BYTES}")
    return found


def _public(seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
