"""A key of KMS above the keyring's: moto's server in its place, AWS itself was not run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from broker.errors import VerificationFailed
from broker.keys import KeyErased, KeyState, KeyUnavailable
from broker.keys.awskms import AwsKmsKeys, KmsKey
from broker.keys.keyring import Keyring
from broker.secret import Secret
from tests.keys.servers import new_kms_key

pytestmark = pytest.mark.system
NAME = "snapshot/snp_" + "a" * 26
SECRET = Secret(b"a data key")


@pytest.fixture
def keys(folder: Path, kms: KmsKey) -> AwsKmsKeys:
    keys = AwsKmsKeys(folder, kms)
    keys.create(NAME)
    return keys


def test_the_keyring_alone_opens_nothing(keys: AwsKmsKeys, folder: Path) -> None:
    wrapped = keys.wrap(NAME, SECRET, b"here")
    with pytest.raises(VerificationFailed):
        Keyring(folder).unwrap(NAME, wrapped, b"here")
    assert keys.unwrap(NAME, wrapped, b"here") == SECRET


def test_a_copy_s_key_dies_at_once_and_without_an_answer_of_kms(
    keys: AwsKmsKeys, folder: Path, kms: KmsKey
) -> None:
    """KMS itself would take a week; its half stays, and opens nothing."""
    wrapped = keys.wrap(NAME, SECRET, b"")
    away = AwsKmsKeys(folder, replace(kms, endpoint="http://127.0.0.1:9"))
    away.erase(NAME)
    assert away.find_state(NAME) is KeyState.ERASED
    for one in (away, keys):
        with pytest.raises(KeyErased):
            one.unwrap(NAME, wrapped, b"")


def test_another_key_follows_and_the_former_opens_only_while_it_is_named(
    keys: AwsKmsKeys, folder: Path, kms: KmsKey
) -> None:
    wrapped = keys.wrap(NAME, SECRET, b"")
    other = new_kms_key(str(kms.endpoint))
    following = AwsKmsKeys(folder, replace(kms, key=other, former=(kms.key,)))
    assert following.unwrap(NAME, wrapped, b"") == SECRET
    with pytest.raises(VerificationFailed):
        AwsKmsKeys(folder, replace(kms, key=other)).unwrap(NAME, wrapped, b"")


def test_what_does_not_answer_is_unavailable(keys: AwsKmsKeys, folder: Path, kms: KmsKey) -> None:
    wrapped = keys.wrap(NAME, SECRET, b"")
    keys.probe()
    away = AwsKmsKeys(folder, replace(kms, endpoint="http://127.0.0.1:9"))
    no_such = AwsKmsKeys(folder, replace(kms, key=kms.key[:-4] + "0000"))
    calls: tuple[Callable[[], object], ...] = (
        lambda: away.wrap(NAME, SECRET, b""),
        lambda: away.unwrap(NAME, wrapped, b""),
        away.probe,
        lambda: no_such.wrap(NAME, SECRET, b""),
        no_such.probe,
    )
    for call in calls:
        with pytest.raises(KeyUnavailable):
            call()
