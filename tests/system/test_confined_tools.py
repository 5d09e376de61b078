"""A program that a hostile server has taken over finds nothing in its cell (G11)."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from broker.engines.postgres.copying.confined import Reach, confine, find_lack
from tests.system.conftest import need_package


@pytest.fixture(scope="module", autouse=True)
def cell() -> None:
    need_package("bubblewrap", Path("/usr/bin/bwrap"))
    find_lack.cache_clear()
    assert find_lack() is None


def tell(script: str, reach: Reach = Reach()) -> str:  # noqa: B008
    """What a taken program could print."""
    command, as_user = confine(["/bin/bash", "-c", script], reach)
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
        cwd="/",
        env={"PATH": "/usr/bin:/bin"},
        **as_user,
    )
    return done.stdout.decode().strip()


def test_it_reads_no_file_of_ours_and_writes_nowhere(tmp_path: Path) -> None:
    secret = tmp_path / "labels.key"
    secret.write_text("secret")
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() == secret.owner() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)  # open to all: the cell itself hides it
    assert tell("echo runs") == "runs"
    assert tell(f"cat {secret}; ls /root /home /var /srv /run") == ""
    assert tell("cat /etc/passwd /etc/shadow") == ""
    assert tell("touch /usr/here && echo wrote") == ""


def test_it_sees_no_process_of_ours_and_is_nobody() -> None:
    pid = os.getpid()
    assert tell(f"ls -d /proc/{pid} ; cat /proc/*/environ | tr '\\0' ' '").count("BROKER") == 0
    assert tell("ls /proc | grep -c '^[0-9]'") in {"2", "3", "4", "5"}
    assert tell("echo $UID") == "65534"
    assert tell("grep CapEff /proc/self/status").endswith("0000000000000000")


def test_it_reaches_the_one_socket_and_no_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        knock = f"exec 3<>/dev/tcp/127.0.0.1/{port} && echo through"
        assert tell(knock) == ""
        assert tell(knock, Reach(network=True)) == "through"  # the door is there


def test_it_has_limits() -> None:
    assert tell("ulimit -c; ulimit -n; ulimit -v").split() == ["0", "1024", "8388608"]
