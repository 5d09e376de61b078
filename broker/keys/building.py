"""The key port that the settings name."""

from __future__ import annotations

from broker.errors import SettingsError
from broker.keys.keyring import Keyring
from broker.keys.openbao import OpenBaoKeys, Transit
from broker.settings import Keys


def build_keys(settings: Keys) -> Keyring:
    """Raises SettingsError, KeyUnavailable."""
    if settings.keyring is None:
        raise SettingsError("the setting keys.keyring is missing; set BROKER_KEYS__KEYRING")
    if settings.openbao is None:
        return Keyring(settings.keyring)
    if settings.openbao_token_file is None:
        raise SettingsError(
            "the setting keys.openbao_token_file is missing; set BROKER_KEYS__OPENBAO_TOKEN_FILE"
        )
    transit = Transit(
        url=settings.openbao,
        token_file=settings.openbao_token_file,
        mount=settings.openbao_mount,
        ca_file=settings.openbao_ca,
    )
    return OpenBaoKeys(settings.keyring, transit)
