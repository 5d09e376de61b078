"""Wrapping keys in a real OpenBao: what the keyring keeps, kept there too."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.errors import SettingsError
from broker.keys import KeyErased, KeyState, KeyUnavailable
from broker.keys.building import build_keys
from broker.keys.keyring import Keyring
from broker.keys.openbao import OpenBaoKeys, Transit
from broker.secret import Secret
from broker.settings import Keys

NAME = "snapshot/snp_" + "a" * 26
SECRET = Secret(b"a data key")


@pytest.fixture
def keys(folder: Path, transit: Transit) -> OpenBaoKeys:
    return OpenBaoKeys(folder, transit)


def test_no_key_of_a_copy_lies_here(keys: OpenBaoKeys, folder: Path) -> None:
    keys.create(NAME)
    assert list((folder / "wrapping").iterdir()) == []


def test_a_key_that_openbao_still_has_is_never_called_erased(
    keys: OpenBaoKeys, folder: Path
) -> None:
    """A tombstone alone, as a crash between the two leaves it, or a restore of OpenBao."""
    keys.create(NAME)
    wrapped = keys.wrap(NAME, SECRET, b"")
    Keyring(folder).erase(NAME)
    assert keys.find_state(NAME) is KeyState.LIVE
    with pytest.raises(KeyErased):
        keys.unwrap(NAME, wrapped, b"")
    keys.erase(NAME)
    assert keys.find_state(NAME) is KeyState.ERASED


def test_what_does_not_answer_is_unavailable_never_absent(
    keys: OpenBaoKeys, transit: Transit, folder: Path
) -> None:
    keys.create(NAME)
    transit.token_file.write_text("a token that nobody knows")
    with pytest.raises(KeyUnavailable, match="refuses our token") as refused:
        keys.find_state(NAME)
    assert "nobody knows" not in str(refused.value)
    transit.token_file.chmod(0o644)
    with pytest.raises(KeyUnavailable, match="chmod 600"):
        keys.find_state(NAME)
    transit.token_file.chmod(0o600)
    away = OpenBaoKeys(folder, Transit("http://127.0.0.1:9", transit.token_file))
    for act in (
        lambda: away.find_state(NAME),
        lambda: away.list_names(""),
        lambda: away.unwrap(NAME, b"vault:v1:AAAA", b""),
        lambda: away.erase(NAME),
    ):
        with pytest.raises(KeyUnavailable):
            act()
    wrong = OpenBaoKeys(folder, Transit(transit.url, transit.token_file, mount="nowhere"))
    with pytest.raises(KeyUnavailable):
        wrong.find_state(NAME)


def test_settings_that_are_not_whole_are_told_in_a_sentence(folder: Path) -> None:
    with pytest.raises(SettingsError, match="KEYS__KEYRING"):
        build_keys(Keys())
    with pytest.raises(SettingsError, match="OPENBAO_TOKEN_FILE"):
        build_keys(Keys(keyring=folder, openbao="https://bao.example"))
    with pytest.raises(SettingsError, match="https"):
        Transit("http://bao.example", folder)
