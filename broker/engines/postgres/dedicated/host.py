"""The agent on a test host: makes, starts and ends the servers of copies, and looks at them.

    <folder>/<name>/label      whose it is and until when, for the reaper; first made, last removed
    <folder>/<name>/sealed/    the volume's ciphertext
    <folder>/<name>/clear/     where it is mounted: data/, data.log
    <folder>/<name>/sockets/   of the set-up alone

Every call is idempotent, and none trusts what an earlier one noted.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from broker.embedded import install_folder
from broker.engines.postgres.dedicated import HostUnavailable, NewServer, Seen, Volume
from broker.engines.postgres.dedicated.cluster import Cluster, Tls, user_ids
from broker.engines.postgres.dedicated.seen import is_mounted, list_processes
from broker.engines.postgres.dedicated.volume import Gocryptfs
from broker.errors import Invalid
from broker.faults import crash_point
from broker.secret import Secret

_NAME = re.compile(r"sab_[a-z0-9]{1,40}")
_MAX_LABEL_BYTES = 1024


@dataclass(frozen=True, slots=True)
class SandboxHost:
    """`install` is the PostgreSQL that serves copies; the wheel's where there is none."""

    folder: Path
    volume: Volume
    user: str = "nobody"
    install: Path | None = None
    tls: Tls | None = None

    def make(self, new: NewServer, key: Secret[bytes]) -> None:
        """A running, empty server with the broker's account. Raises HostUnavailable."""
        self.destroy(new.name)
        place, ids = self._place(new.name), user_ids(self.user)
        self._make_folders(place, ids)
        _write_label(place, new.label)
        crash_point("volume-labelled")
        self.volume.make(str(place / "sealed"), key)
        crash_point("volume-made")
        self.volume.mount(str(place / "sealed"), str(place / "clear"), key)
        crash_point("volume-mounted")
        self._cluster(new.name).make(new)
        crash_point("server-made")

    def start(self, name: str, host: str, port: int, key: Secret[bytes]) -> None:
        """Bring back what a restart of the host ended. Raises HostUnavailable."""
        place = self._place(name)
        if not (place / "sealed").is_dir():
            raise HostUnavailable(f"the volume of {name} is not on this host")
        if not is_mounted(str(place / "clear")):
            self.volume.mount(str(place / "sealed"), str(place / "clear"), key)
        self._cluster(name).start(host, port)

    def destroy(self, name: str) -> None:
        """Processes, mount, folder; the label last. Raises HostUnavailable while one is left."""
        place = self._place(name)
        if not place.is_dir():
            return
        self._cluster(name).stop()
        crash_point("server-stopped")
        self.volume.unmount(str(place / "clear"))
        crash_point("volume-unmounted")
        for part in ("sealed", "clear", "sockets"):
            shutil.rmtree(place / part, ignore_errors=True)
            if (place / part).exists():
                raise HostUnavailable(f"{part} of {name} can't be removed")
        crash_point("volume-removed")
        (place / "label").unlink(missing_ok=True)
        place.rmdir()
        _sync(self.folder)

    def look(self) -> list[Seen]:
        """Everything under the folder, with what is mounted and what runs there.

        Raises HostUnavailable when a part can't be seen.
        """
        try:
            names = sorted(entry.name for entry in self.folder.iterdir())
        except OSError as error:
            raise HostUnavailable(f"{self.folder} can't be listed: {error.strerror}") from None
        return [self._see(name) for name in names]

    def see(self, name: str) -> Seen:
        """Also of a name whose folder is gone: its mount or a process may be left."""
        self._place(name)
        return self._see(name)

    def free_bytes(self) -> int:
        """What is left for volumes on the host's disk."""
        return shutil.disk_usage(self.folder).free

    def _see(self, name: str) -> Seen:
        place = self.folder / name
        return Seen(
            name=name,
            folder=place.exists(),
            mounted=is_mounted(str(place / "clear")),
            processes=len(list_processes(str(place))),
            label=_read_label(place),
        )

    def _place(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise Invalid(f"{name!r} is not the name of a server of ours")
        return self.folder / name

    def _make_folders(self, place: Path, ids: tuple[int, int] | None) -> None:
        """The server's user passes through, and lists nothing but its own."""
        place.mkdir(mode=0o711)
        place.chmod(0o711)
        for part, mode in (("sealed", 0o700), ("clear", 0o700), ("sockets", 0o700)):
            (place / part).mkdir(mode=mode)
        if ids is not None:
            os.chown(place / "sockets", *ids)

    def _cluster(self, name: str) -> Cluster:
        place = self._place(name)
        return Cluster(
            data=str(place / "clear" / "data"),
            sockets=str(place / "sockets"),
            install=self.install or install_folder(),
            user=self.user,
            tls=self.tls,
        )


def make_host(
    folder: Path, *, user: str = "nobody", install: Path | None = None, tls: Tls | None = None
) -> SandboxHost:
    """With volumes of gocryptfs. Raises HostUnavailable unless the folder is ours alone to write"""
    try:
        status = folder.stat()
    except OSError as error:
        raise HostUnavailable(
            f"{folder} can't be used: {error.strerror}; run: install -d -m 0711 {folder}"
        ) from None
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise HostUnavailable(
            f"{folder} must be this user's alone to write; run: chmod go-w {folder}"
        )
    folder = folder.resolve()  # as the kernel names it
    return SandboxHost(folder, Gocryptfs(user_ids(user)), user, install, tls)


def _write_label(place: Path, text: str) -> None:
    fresh = place / ".label"
    fresh.write_text(text)
    descriptor = os.open(fresh, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    fresh.rename(place / "label")
    _sync(place)


def _read_label(place: Path) -> str | None:
    try:
        with (place / "label").open("rb") as file:
            return file.read(_MAX_LABEL_BYTES).decode("ascii", errors="replace")
    except OSError:
        return None


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
