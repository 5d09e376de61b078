"""Wrapping keys in OpenBao's transit engine: each copy has a key there, which never leaves it.

What must stay true: what `remote` says, and no token is in an address, an error or a log.

The token needs, on `<mount>/`: create, read, update and delete of `keys/<prefix>*`, update of
`encrypt/<prefix>*` and `decrypt/<prefix>*`, list of `keys`; see docs/operating.md. It is read from
its file for each call, so that an agent may renew it.
Source: https://openbao.org/api-docs/secret/transit/
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from broker.errors import NotFound, SettingsError, VerificationFailed
from broker.keys import KeyUnavailable
from broker.keys.files import read_login
from broker.keys.remote import RemoteKeys
from broker.secret import Secret

_TIMEOUT_S = 10
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_ABSENT = "not found"  # how transit says, with status 400, that there is no such key


@dataclass(frozen=True, slots=True)
class Transit:
    """Where OpenBao is. `prefix` tells our keys from another's in the same engine."""

    url: str
    token_file: Path
    mount: str = "transit"
    prefix: str = "broker."
    ca_file: Path | None = None

    def __post_init__(self) -> None:
        address = urlsplit(self.url)
        if address.scheme != "https" and address.hostname not in _LOOPBACK:
            raise SettingsError("the setting keys.openbao is bad: https:// off this machine")


class OpenBaoKeys(RemoteKeys):
    """A keyring whose wrapping keys are OpenBao's; see `broker.keys` for what each call means."""

    place = "OpenBao"

    def __init__(self, folder: Path, transit: Transit) -> None:
        super().__init__(folder)
        self._transit = transit
        self._client = httpx.Client(
            base_url=f"{transit.url.rstrip('/')}/v1/{transit.mount}/",
            timeout=_TIMEOUT_S,
            verify=str(transit.ca_file) if transit.ca_file else True,
            follow_redirects=False,
            trust_env=False,  # no proxy sees keys
        )

    def _has(self, name: str) -> bool:
        return self._find(self._path("keys", name)) is not None

    def _make(self, name: str) -> None:
        path = self._path("keys", name)
        self._call("POST", path, {"type": "aes256-gcm96", "exportable": False})
        self._call("POST", f"{path}/config", {"deletion_allowed": True})

    def _destroy(self, name: str) -> None:
        path = self._path("keys", name)
        self._call("POST", f"{path}/config", {"deletion_allowed": True})
        self._call("DELETE", path)

    def wrap(self, name: str, secret: Secret[bytes], context: bytes) -> bytes:
        self._check_there(name)
        sent = {"plaintext": _encode(secret.reveal()), "associated_data": _encode(context)}
        answer = self._call("POST", self._path("encrypt", name), sent)
        return str(answer["ciphertext"]).encode()

    def unwrap(self, name: str, wrapped: bytes, context: bytes) -> Secret[bytes]:
        """OpenBao is asked also for a name that was erased: its refusal is what a look sees."""
        self._check_not_held(name)
        sent = {
            "ciphertext": wrapped.decode("ascii", errors="replace"),
            "associated_data": _encode(context),
        }
        try:
            answer = self._call("POST", self._path("decrypt", name), sent)
        except _BadRequest as error:
            self._check_not_erased(name)
            if error.says(_ABSENT) or not self._has(name):
                raise NotFound(f"there is no key {name!r}") from None
            raise VerificationFailed(
                f"this was not wrapped under {name!r} for this use, or it was changed"
            ) from None
        self._check_not_erased(name)
        try:
            return Secret(base64.b64decode(answer["plaintext"], validate=True))
        except (KeyError, TypeError, binascii.Error):
            raise KeyUnavailable("OpenBao answered a decryption with no plaintext") from None

    def list_names(self, prefix: str) -> list[str]:
        listed = self._find("keys?list=true") or {"keys": []}
        start = self._transit.prefix
        names = [key.removeprefix(start) for key in listed["keys"] if key.startswith(start)]
        names = [name.replace(".", "/") for name in names]
        return sorted(name for name in names if name.startswith(prefix))

    def _path(self, what: str, name: str) -> str:
        self._key_path(name)  # raises Invalid for what can't be a name
        return f"{what}/{self._transit.prefix}{name.replace('/', '.')}"

    def _find(self, path: str) -> dict[str, Any] | None:
        """What is there, or None when OpenBao says that nothing is."""
        try:
            return self._call("GET", path)
        except _Absent:
            return None

    def _call(self, method: str, path: str, sent: dict[str, Any] | None = None) -> dict[str, Any]:
        token = read_login(self._transit.token_file, "OpenBao's token")
        headers = {"X-Vault-Token": token.reveal()}
        try:
            answer = self._client.request(method, path, json=sent, headers=headers)
            found = answer.json() if answer.content else {}
        except (httpx.HTTPError, ValueError) as error:
            raise KeyUnavailable(f"OpenBao can't be used: {type(error).__name__}") from None
        if answer.is_success:
            return dict(found.get("data") or {})
        raise _refusal(answer.status_code, found)


class _Absent(KeyUnavailable):
    """OpenBao says that nothing is at this path."""


class _BadRequest(KeyUnavailable):
    """OpenBao refused what was sent."""

    def __init__(self, told: str) -> None:
        super().__init__("OpenBao refused what was asked of a key")
        self._told = told

    def says(self, words: str) -> bool:
        return words in self._told


def _refusal(status: int, found: Any) -> KeyUnavailable:
    """OpenBao's own sentence is not passed on: it may quote what was sent."""
    told = found.get("errors") if isinstance(found, dict) else None
    match status:
        case 404 if told == []:
            return _Absent("OpenBao has nothing there")
        case 400:
            return _BadRequest(" ".join(map(str, told or ())))
        case 403:
            return KeyUnavailable("OpenBao refuses our token; see its policy and its end")
        case 503:
            return KeyUnavailable("OpenBao is sealed or stands by; unseal it")
        case _:
            return KeyUnavailable(f"OpenBao answered with status {status}")


def _encode(content: bytes) -> str:
    return base64.b64encode(content).decode()
