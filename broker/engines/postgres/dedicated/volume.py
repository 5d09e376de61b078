"""Encrypted volumes of gocryptfs: what lies on the disk is ciphertext, file by file.

gocryptfs seals the volume's own key with a password; ours is 256 random bits, so its scrypt is set
to its least. The password goes through a pipe, never by an argument, the environment or a file.
As root gocryptfs is root's: the server's user, who owns the files, can't read the memory in which
the key is.
Source: https://github.com/rfjakob/gocryptfs/blob/master/Documentation/MANPAGE.md
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from broker.engines.postgres.dedicated import HostUnavailable
from broker.engines.postgres.dedicated.seen import is_mounted, list_processes, wait_until
from broker.secret import Secret

_WITHIN_S = 60
_LEAST_SCRYPT = "10"  # a log2, of a password that nobody can guess
PROGRAMS = {"gocryptfs": "gocryptfs", "fusermount3": "fuse3"}  # and the package of each


@dataclass(frozen=True, slots=True)
class Gocryptfs:
    """`owner` is the (user, group) of the server, None where it is our own user."""

    owner: tuple[int, int] | None

    def make(self, sealed: str, key: Secret[bytes]) -> None:
        _run([find_program("gocryptfs"), "-init", "-scryptn", _LEAST_SCRYPT], key, sealed)
        if self.owner is not None:
            os.chown(sealed, *self.owner)  # what gocryptfs writes, it writes as who asks it

    def mount(self, sealed: str, clear: str, key: Secret[bytes]) -> None:
        options = ["-nosyslog"]
        if self.owner is not None:
            options.append("-allow_other")
        _run([find_program("gocryptfs"), *options], key, sealed, clear)
        if not is_mounted(clear):
            raise HostUnavailable("gocryptfs said that it mounted a volume, and it is not there")

    def unmount(self, clear: str) -> None:
        if is_mounted(clear):
            done = subprocess.run(
                [find_program("fusermount3"), "-u", "--", clear],
                capture_output=True,
                check=False,
                timeout=_WITHIN_S,
                cwd="/",
            )
            if done.returncode != 0 and is_mounted(clear):
                raise HostUnavailable("a volume can't be unmounted: something still uses it")
        wait_until(lambda: not list_processes(clear), "gocryptfs does not end")


def find_program(name: str) -> str:
    """Raises HostUnavailable with the command that installs it."""
    found = shutil.which(name, path="/usr/local/bin:/usr/bin:/bin")
    if found is None:
        raise HostUnavailable(f"{name} is missing; run: apt-get install {PROGRAMS[name]}")
    return found


def find_lack() -> str | None:
    """Why volumes can't be mounted here, as a sentence; None where they can."""
    for name in PROGRAMS:
        try:
            find_program(name)
        except HostUnavailable as error:
            return error.message
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "/dev/fuse is missing or closed to this user; run: modprobe fuse"
    return None


def _run(command: Sequence[str], key: Secret[bytes], *folders: str) -> None:
    """The password through a pipe, in hexadecimal: gocryptfs takes one line."""
    read_end, write_end = os.pipe()
    try:
        os.write(write_end, key.reveal().hex().encode() + b"\n")
        os.close(write_end)
        done = subprocess.run(
            [*command, "-q", "-passfile", f"/dev/fd/{read_end}", "--", *folders],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # a mounted one lives on and would hold a pipe open
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=_WITHIN_S,
            cwd="/",
            env={"PATH": "/usr/bin:/bin"},
            pass_fds=[read_end],
            start_new_session=True,
        )
    finally:
        os.close(read_end)
    if done.returncode != 0:
        what = "made" if "-init" in command else "mounted"
        raise HostUnavailable(
            f"gocryptfs ended with {done.returncode}: a volume was not {what}; see that "
            f"{Path(folders[0]).parent} is on a disk with room, and broker doctor"
        )
