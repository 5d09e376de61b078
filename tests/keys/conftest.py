"""Each place for copies' keys, started once for a module that asks for it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from broker.keys.awskms import AwsKmsKeys, KmsKey
from broker.keys.keyring import Keyring
from broker.keys.openbao import OpenBaoKeys, Transit
from broker.keys.pkcs11 import Device, Pkcs11Keys
from tests.keys.servers import (
    SOFTHSM,
    new_soft_token,
    private_file,
    running_kms,
    running_openbao,
)
from tests.system.conftest import need_package

OpenKeys = Callable[[], Keyring]  # the same keys each time, as another process opens them


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    with running_openbao(tmp_path_factory.mktemp("bao")) as running:
        yield running


@pytest.fixture(scope="session")  # a process reads SoftHSM's configuration once
def soft_token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    need_package("softhsm2", SOFTHSM)
    folder = tmp_path_factory.mktemp("softhsm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(folder / "conf"))
        yield new_soft_token(folder)


@pytest.fixture(scope="module")
def kms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KmsKey]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "tests")
        with running_kms(tmp_path_factory.mktemp("moto")) as key:
            yield key


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Keyring.create_folder(tmp_path / "keyring")
    return tmp_path / "keyring"


@pytest.fixture
def transit(bao: tuple[str, str], tmp_path: Path) -> Transit:
    token_file = private_file(tmp_path / "token", bao[1])
    return Transit(bao[0], token_file, prefix=f"broker.{secrets.token_hex(4)}_")


@pytest.fixture
def device(soft_token: Device) -> Device:
    return replace(soft_token, prefix=f"broker.{secrets.token_hex(4)}_")


@pytest.fixture
def in_keyring(folder: Path) -> OpenKeys:
    return lambda: Keyring(folder)


@pytest.fixture
def in_openbao(folder: Path, transit: Transit) -> OpenKeys:
    return lambda: OpenBaoKeys(folder, transit)


@pytest.fixture
def in_device(folder: Path, device: Device) -> OpenKeys:
    return lambda: Pkcs11Keys(folder, device)


@pytest.fixture
def in_kms(folder: Path, kms: KmsKey) -> OpenKeys:
    return lambda: AwsKmsKeys(folder, kms)
