"""The key port that the settings name."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from broker.errors import SettingsError
from broker.keys.awskms import AwsKmsKeys, KmsKey
from broker.keys.keyring import Keyring
from broker.keys.openbao import OpenBaoKeys, Transit
from broker.keys.pkcs11 import Device, Pkcs11Keys
from broker.settings import Keys

_Value = TypeVar("_Value", Path, str)


def build_keys(settings: Keys) -> Keyring:
    """Raises SettingsError, KeyUnavailable."""
    folder = _need(settings.keyring, "keyring")
    places = (settings.openbao, settings.pkcs11_module, settings.aws_kms)
    match [place is not None for place in places]:
        case [False, False, False]:
            return Keyring(folder)
        case [True, False, False]:
            return OpenBaoKeys(folder, _transit(settings))
        case [False, True, False]:
            return Pkcs11Keys(folder, _device(settings))
        case [False, False, True]:
            return AwsKmsKeys(folder, _kms_key(settings))
        case _:
            raise SettingsError(
                "two places for copies' keys are set; "
                "leave one of keys.openbao, keys.pkcs11_module and keys.aws_kms"
            )


def _transit(settings: Keys) -> Transit:
    return Transit(
        url=_need(settings.openbao, "openbao"),
        token_file=_need(settings.openbao_token_file, "openbao_token_file"),
        mount=settings.openbao_mount,
        ca_file=settings.openbao_ca,
    )


def _device(settings: Keys) -> Device:
    return Device(
        module=_need(settings.pkcs11_module, "pkcs11_module"),
        token=_need(settings.pkcs11_token, "pkcs11_token"),
        pin_file=_need(settings.pkcs11_pin_file, "pkcs11_pin_file"),
    )


def _kms_key(settings: Keys) -> KmsKey:
    return KmsKey(
        key=_need(settings.aws_kms, "aws_kms"),
        former=tuple(settings.aws_kms_former),
        endpoint=settings.aws_kms_endpoint,
    )


def _need(value: _Value | None, name: str) -> _Value:
    if value is None:
        raise SettingsError(f"the setting keys.{name} is missing; set BROKER_KEYS__{name.upper()}")
    return value
