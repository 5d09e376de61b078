"""A real object store for tests: SeaweedFS from its wheel, with its own token service."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

ROLE = "arn:aws:iam::role/Reader"
_WEED = Path(sys.executable).with_name("weed")
_DEADLINE_S = 60


@dataclass(frozen=True)
class Login:
    key: str
    secret: str


@dataclass(frozen=True)
class Seaweed:
    endpoint: str
    admin: Login
    logins: Mapping[str, Login]

    def client(
        self, login: Login | None = None, service: str = "s3", token: str | None = None
    ) -> Any:
        chosen = login or self.admin
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=chosen.key,
            aws_secret_access_key=chosen.secret,
            aws_session_token=token,
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
        )

    def new_bucket(self, *, lock: bool = False) -> str:
        name = f"b-{secrets.token_hex(6)}"
        self.client().create_bucket(Bucket=name, ObjectLockEnabledForBucket=lock)
        return name


@contextlib.contextmanager
def seaweed(folder: Path, actions: Mapping[str, list[str]] | None = None) -> Iterator[Seaweed]:
    """A running server; `actions` are SeaweedFS's own words for what each other login may."""
    admin = Login("admin", secrets.token_hex(20))
    logins = {name: Login(name, secrets.token_hex(20)) for name in actions or {}}
    allowed = {"admin": ["Admin", "Read", "Write", "List", "Tagging"], **(actions or {})}
    identities = [
        {
            "name": name,
            "credentials": [{"accessKey": login.key, "secretKey": login.secret}],
            "actions": allowed[name],
        }
        for name, login in {"admin": admin, **logins}.items()
    ]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    (folder / "iam.json").write_text(json.dumps(_iam()))
    for part in ("data", "logs"):
        (folder / part).mkdir()
    process, endpoint = _start(folder)
    try:
        yield Seaweed(endpoint, admin, logins)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _start(folder: Path, tries: int = 3) -> tuple[subprocess.Popen[bytes], str]:
    """The process and where it answers. Another may take a port before it does: then once more."""
    port = _free_ports(8)
    command = [
        *(_WEED, f"-logdir={folder}/logs", "server", f"-dir={folder}/data", "-ip=127.0.0.1"),
        *(f"-master.port={port[0]}", f"-master.port.grpc={port[1]}"),
        *(f"-volume.port={port[2]}", f"-volume.port.grpc={port[3]}"),
        *(f"-filer.port={port[4]}", f"-filer.port.grpc={port[5]}"),
        *("-s3", f"-s3.port={port[6]}", f"-s3.port.grpc={port[7]}"),
        *("-s3.port.iceberg=0", "-s3.port.lance=0"),  # else on ports of their own, the same for all
        *("-filer", f"-s3.config={folder}/s3.json", f"-s3.iam.config={folder}/iam.json"),
        *("-volume.max=1000", "-volume.preStopSeconds=1", "-master.volumeSizeLimitMB=64"),
    ]
    env = {**os.environ, "WEED_S3_SSE_KEY": secrets.token_hex(32), "HOME": str(folder)}
    with (folder / "out").open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder, env=env)
    endpoint = f"http://127.0.0.1:{port[6]}"
    if _answers(endpoint, process):
        return process, endpoint
    process.kill()
    process.wait()
    if tries > 1:
        return _start(folder, tries - 1)
    raise AssertionError((folder / "out").read_text(errors="replace")[-2000:])


def _iam() -> dict[str, Any]:
    """A token service whose one role may read everything: sessions are narrowed by their policy."""
    reading = {"Effect": "Allow", "Action": ["s3:*"], "Resource": ["*"]}
    trusting = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": ["sts:AssumeRole"]}
    return {
        "sts": {
            "tokenDuration": "1h",
            "maxSessionLength": "12h",
            "issuer": "tests",
            "signingKey": base64.b64encode(secrets.token_bytes(32)).decode(),
        },
        "policy": {"defaultEffect": "Deny", "storeType": "memory"},
        "policies": [
            {"name": "Reading", "document": {"Version": "2012-10-17", "Statement": [reading]}}
        ],
        "roles": [
            {
                "roleName": "Reader",
                "roleArn": ROLE,
                "trustPolicy": {"Version": "2012-10-17", "Statement": [trusting]},
                "attachedPolicies": ["Reading"],
            }
        ],
    }


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]


def _answers(endpoint: str, process: subprocess.Popen[bytes]) -> bool:
    """False when the process ended, or was not ready by the deadline."""
    deadline = time.monotonic() + _DEADLINE_S
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{endpoint}/healthz", timeout=2).close()  # noqa: S310
            return True
        time.sleep(0.1)
    return False
