"""Wrapping keys in a device by PKCS#11 (SoftHSM): what the contract can't ask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from broker.errors import SettingsError
from broker.keys import KeyErased, KeyState, KeyUnavailable
from broker.keys.building import build_keys
from broker.keys.keyring import Keyring
from broker.keys.pkcs11 import Device, Pkcs11Keys
from broker.secret import Secret
from broker.settings import Keys
from tests.keys.servers import private_file

pytestmark = pytest.mark.system
NAME = "snapshot/snp_" + "a" * 26
SECRET = Secret(b"a data key")


@pytest.fixture
def keys(folder: Path, device: Device) -> Pkcs11Keys:
    return Pkcs11Keys(folder, device)


def test_a_key_can_not_be_taken_out_of_the_device(
    keys: Pkcs11Keys, folder: Path, device: Device
) -> None:
    import pkcs11

    keys.create(NAME)
    assert list((folder / "wrapping").iterdir()) == []
    token = pkcs11.lib(str(device.module)).get_token(token_label=device.token)
    with token.open(user_pin=device.pin_file.read_text().strip()) as session:
        label = f"{device.prefix}{NAME.replace('/', '.')}"
        (key,) = session.get_objects({pkcs11.Attribute.LABEL: label})
        assert not key[pkcs11.Attribute.EXTRACTABLE]
        with pytest.raises(pkcs11.AttributeSensitive):
            key[pkcs11.Attribute.VALUE]


def test_a_key_that_the_device_still_has_is_never_called_erased(
    keys: Pkcs11Keys, folder: Path
) -> None:
    """A tombstone alone, as a crash between the two leaves it, or a device that was restored."""
    keys.create(NAME)
    wrapped = keys.wrap(NAME, SECRET, b"")
    Keyring(folder).erase(NAME)
    assert keys.find_state(NAME) is KeyState.LIVE
    with pytest.raises(KeyErased):
        keys.unwrap(NAME, wrapped, b"")
    keys.erase(NAME)
    assert keys.find_state(NAME) is KeyState.ERASED


def test_a_device_that_does_not_answer_is_unavailable_never_absent(
    keys: Pkcs11Keys, folder: Path, device: Device, tmp_path: Path
) -> None:
    keys.create(NAME)
    wrong_pin = private_file(tmp_path / "wrong", "1111-2222")
    for away in (
        replace(device, token="another"),
        replace(device, module=tmp_path / "no-such-module.so"),
        replace(device, pin_file=tmp_path / "no-such-pin"),
        replace(device, pin_file=wrong_pin),
    ):
        other = Pkcs11Keys(folder, away)
        calls: tuple[Callable[[], object], ...] = (
            lambda other=other: other.find_state(NAME),  # type: ignore[misc]
            lambda other=other: other.list_names(""),  # type: ignore[misc]
            lambda other=other: other.unwrap(NAME, b"\x01" + bytes(40), b""),  # type: ignore[misc]
        )
        for call in calls:
            with pytest.raises(KeyUnavailable) as refused:
                call()
            assert "1111-2222" not in str(refused.value)
    wrong_pin.chmod(0o644)
    with pytest.raises(KeyUnavailable, match="chmod 600"):
        Pkcs11Keys(folder, replace(device, pin_file=wrong_pin)).find_state(NAME)
    assert keys.find_state(NAME) is KeyState.LIVE


def test_settings_that_are_not_whole_are_told_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    module = tmp_path / "module.so"
    with pytest.raises(SettingsError, match="KEYS__PKCS11_TOKEN"):
        build_keys(Keys(keyring=folder, pkcs11_module=module))
    with pytest.raises(SettingsError, match="ARN"):
        build_keys(Keys(keyring=folder, aws_kms="alias/copies"))
    with pytest.raises(SettingsError, match="leave one of"):
        build_keys(Keys(keyring=folder, pkcs11_module=module, aws_kms="one"))
