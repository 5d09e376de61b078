"""A key of AWS KMS above the keyring's own: what is wrapped is wrapped by both, one in the other.

KMS erases no key sooner than 7 days after it was asked, and one for each copy would cost more than
the copy. So the one that dies with a copy is the keyring's, at once; KMS's is one for all, in its
devices, and who has the keyring's folder alone opens nothing. What must stay true: each of the two
is needed to open; erasing needs no answer of KMS; a context is bound in both.

KMS's trail shows the encryption context, so it holds the key's name and a digest, no more. Changing
`keys.aws_kms` needs no second look at old copies: each form says which KMS key opens it, and that
one is taken only if it is named in the settings.
Source: https://docs.aws.amazon.com/kms/latest/APIReference/
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from broker.errors import SettingsError, VerificationFailed
from broker.keys import KeyUnavailable
from broker.keys.keyring import Keyring
from broker.secret import Secret

_ARN = re.compile(r"\Aarn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[a-z0-9-]+\Z")
_CONNECT_S, _READ_S, _TRIES = 5, 10, 3
_REFUSED = {"InvalidCiphertextException", "IncorrectKeyException", "ValidationException"}


@dataclass(frozen=True, slots=True)
class KmsKey:
    """`key` wraps; `former` still open what they wrapped. All are ARNs, which say the region."""

    key: str
    former: tuple[str, ...] = ()
    endpoint: str | None = None  # AWS's own when there is none

    def __post_init__(self) -> None:
        for arn in (self.key, *self.former):
            if not _ARN.match(arn):
                raise SettingsError("the setting keys.aws_kms is bad: name keys by their ARN")


class AwsKmsKeys(Keyring):
    """A keyring whose wrapped forms KMS wraps again; see `broker.keys` for each call."""

    def __init__(self, folder: Path, kms: KmsKey) -> None:
        """The login is what the machine itself may: its instance's role, or AWS's variables."""
        super().__init__(folder)
        self._kms = kms
        self._client = _make_client(kms)

    def wrap(self, name: str, secret: Secret[bytes], context: bytes) -> bytes:
        inner = super().wrap(name, secret, context)
        with _answering():
            answer = self._client.encrypt(
                KeyId=self._kms.key,
                Plaintext=inner,
                EncryptionContext=_encryption_context(name, context),
            )
        return bytes(answer["CiphertextBlob"])

    def unwrap(self, name: str, wrapped: bytes, context: bytes) -> Secret[bytes]:
        """The keyring's own half first: what it lost is refused without asking KMS."""
        self._live_key(name)
        self._check_not_held(name)
        told = f"this was not wrapped under {name!r} for this use, or it was changed"
        try:
            with _answering():
                answer = self._client.decrypt(
                    CiphertextBlob=wrapped or b"\0",
                    EncryptionContext=_encryption_context(name, context),
                )
        except _Refused:
            raise VerificationFailed(told) from None
        if answer["KeyId"] not in (self._kms.key, *self._kms.former):
            raise VerificationFailed(told)
        return super().unwrap(name, bytes(answer["Plaintext"]), context)

    def probe(self) -> None:
        """Raises KeyUnavailable unless KMS wraps and opens under this key."""
        with _answering():
            sent: dict[str, Any] = {
                "KeyId": self._kms.key,
                "EncryptionContext": {"broker": "probe"},
            }
            made = self._client.encrypt(Plaintext=b"probe", **sent)
            self._client.decrypt(CiphertextBlob=made["CiphertextBlob"], **sent)


class _Refused(KeyUnavailable):
    """KMS says that this is not what it wrapped."""


def _make_client(kms: KmsKey) -> Any:
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=_CONNECT_S,
        read_timeout=_READ_S,
        retries={"total_max_attempts": _TRIES, "mode": "standard"},
    )
    region = kms.key.split(":")[3]
    return boto3.client("kms", region_name=region, endpoint_url=kms.endpoint, config=config)


def _encryption_context(name: str, context: bytes) -> dict[str, str]:
    return {"broker": name, "use": hashlib.sha256(context).hexdigest()}


@contextlib.contextmanager
def _answering() -> Iterator[None]:
    """KMS's own sentence is not passed on: it may quote what was sent."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "unknown"))
        kind = _Refused if code in _REFUSED else KeyUnavailable
        raise kind(f"KMS refused: {code}") from None
    except BotoCoreError as error:
        raise KeyUnavailable(f"KMS can't be used: {type(error).__name__}") from None
