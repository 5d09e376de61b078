"""Wrapping keys in a device that speaks PKCS#11: each copy has a key there, which never leaves it.

What must stay true: what `remote` says; a key is made SENSITIVE and not EXTRACTABLE; no PIN is in
an error or a log. One lock, for a login is the process's and not a session's; each call has a
session of its own, so that a look asks the device afresh. A wrapped form is the version, the nonce
(96 random bits: NIST SP 800-38D, 8.2.2), then ciphertext and tag of AES-256-GCM.

The package `python-pkcs11` is an extra: `pip install support-access-broker[pkcs11]`.
Source: PKCS#11 base specification 3.0, sections 5 and 6.13 (AES-GCM).
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from broker.errors import NotFound, SettingsError, VerificationFailed
from broker.keys import KeyUnavailable
from broker.keys.files import read_login
from broker.keys.remote import RemoteKeys
from broker.secret import Secret

if TYPE_CHECKING:
    from pkcs11 import Session

_ONE_LOGIN = threading.Lock()
_VERSION = b"\x01"
_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class Device:
    """A token of a PKCS#11 module. `prefix` tells our keys from another's in it."""

    module: Path
    token: str
    pin_file: Path
    prefix: str = "broker."


class Pkcs11Keys(RemoteKeys):
    """A keyring whose wrapping keys are a device's; see `broker.keys` for what each call means."""

    place = "the key device"

    def __init__(self, folder: Path, device: Device) -> None:
        """Raises SettingsError where the package is missing."""
        super().__init__(folder)
        self._device = device
        try:
            import pkcs11
        except ImportError:
            told = "keys.pkcs11_module needs a package; run: pip install python-pkcs11"
            raise SettingsError(told) from None
        self._pkcs11 = pkcs11

    def wrap(self, name: str, secret: Secret[bytes], context: bytes) -> bytes:
        self._check_not_erased(name)
        with self._session() as session:
            key = self._get(session, name)
            return _VERSION + self._seal(key, secret.reveal(), context)

    def unwrap(self, name: str, wrapped: bytes, context: bytes) -> Secret[bytes]:
        """The device is asked also for a name that was erased: its answer is what a look sees."""
        self._check_not_held(name)
        with self._session() as session:
            key = self._find(session, name)
            self._check_not_erased(name)
            if key is None:
                raise NotFound(f"there is no key {name!r}")
            try:
                if wrapped[:1] == _VERSION:
                    return Secret(self._open(key, wrapped[1:], context))
            except self._pkcs11.PKCS11Error:
                # Devices have many words for a wrong tag, some of them those of a defect.
                self._open(key, self._seal(key, b"probe", context), context)
        raise VerificationFailed(
            f"this was not wrapped under {name!r} for this use, or it was changed"
        )

    def list_names(self, prefix: str) -> list[str]:
        start = self._device.prefix
        with self._session() as session:
            wanted = {self._pkcs11.Attribute.CLASS: self._pkcs11.ObjectClass.SECRET_KEY}
            keys: list[Any] = list(session.get_objects(wanted))
            labels = [str(key.label) for key in keys]  # each asks the device, in this session
        names = [label.removeprefix(start) for label in labels if label.startswith(start)]
        names = [name.replace(".", "/") for name in names]
        return sorted(name for name in names if name.startswith(prefix))

    def _has(self, name: str) -> bool:
        with self._session() as session:
            return self._find(session, name) is not None

    def _make(self, name: str) -> None:
        attribute = self._pkcs11.Attribute
        with self._session() as session:
            session.generate_key(
                self._pkcs11.KeyType.AES,
                256,
                label=self._label(name),
                store=True,
                capabilities=self._pkcs11.MechanismFlag.ENCRYPT
                | self._pkcs11.MechanismFlag.DECRYPT,
                template={attribute.SENSITIVE: True, attribute.EXTRACTABLE: False},
            )

    def _destroy(self, name: str) -> None:
        with self._session() as session:
            for key in list(session.get_objects(self._named(name))):
                key.destroy()

    def _seal(self, key: Any, content: bytes, context: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + bytes(key.encrypt(content, **self._gcm(nonce, context)))

    def _open(self, key: Any, sealed: bytes, context: bytes) -> bytes:
        nonce, rest = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        return bytes(key.decrypt(rest, **self._gcm(nonce, context)))

    def _gcm(self, nonce: bytes, context: bytes) -> dict[str, Any]:
        param = self._pkcs11.GCMParams(nonce, _VERSION + context, 128)
        return {"mechanism": self._pkcs11.Mechanism.AES_GCM, "mechanism_param": param}

    def _label(self, name: str) -> str:
        self._key_path(name)  # raises Invalid for what can't be a name
        return f"{self._device.prefix}{name.replace('/', '.')}"

    def _named(self, name: str) -> dict[Any, Any]:
        attribute = self._pkcs11.Attribute
        return {
            attribute.CLASS: self._pkcs11.ObjectClass.SECRET_KEY,
            attribute.LABEL: self._label(name),
        }

    def _find(self, session: Session, name: str) -> Any:
        return next(iter(list(session.get_objects(self._named(name)))), None)

    def _get(self, session: Session, name: str) -> Any:
        key = self._find(session, name)
        if key is None:
            raise NotFound(f"there is no key {name!r}")
        return key

    @contextlib.contextmanager
    def _session(self) -> Iterator[Session]:
        """Raises KeyUnavailable for whatever the device refuses."""
        pin = read_login(self._device.pin_file, "the key device's PIN")
        with _ONE_LOGIN:
            try:
                module = self._pkcs11.lib(str(self._device.module))
                token = module.get_token(token_label=self._device.token)
                with token.open(rw=True, user_pin=pin.reveal()) as session:
                    yield session
            except self._pkcs11.PKCS11Error as error:
                raise KeyUnavailable(
                    f"the key device can't be used: {type(error).__name__}"
                ) from None
