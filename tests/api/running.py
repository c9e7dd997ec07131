"""The API as a process of its own, and clients that behave badly."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from tests.conftest import PROJECT


@dataclass
class Server:
    """`python -m api` on a free port."""

    port: int
    process: subprocess.Popen
    log_file: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    @property
    def memory(self) -> int:
        return psutil.Process(self.process.pid).memory_info().rss

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def raw(self, *parts: bytes, pause: float = 0, until_closed: bool = False) -> bytes:
        """What comes back for these bytes: the first answer's beginning, or everything until the server closes."""
        with self.connect() as client:
            try:
                for part in parts:
                    client.sendall(part)
                    time.sleep(pause)
                received = client.recv(65536)
                while (until_closed or not is_whole(received)) and (more := client.recv(65536)):
                    received += more
            except (ConnectionResetError, BrokenPipeError):
                return b"reset"
            return received


def is_whole(answer: bytes) -> bool:
    """Whether all bytes of the first answer are there."""
    head, found, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    return bool(found) and (length is None or len(body) >= int(length[1]))


@contextmanager
def serving_process(database_url: str, jwks: str, **settings: object) -> Iterator[Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {"MESOCYCLE_API_DATABASE_URL": database_url, "MESOCYCLE_API_JWKS": jwks}
    environment |= {f"MESOCYCLE_API_{name.upper()}": str(value) for name, value in settings.items()}
    with tempfile.TemporaryDirectory() as folder:
        log_file = Path(folder) / "api.log"
        with log_file.open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "api", "--port", str(port), "--workers", "1"],
                cwd=PROJECT,
                env=os.environ | environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        server = Server(port, process, log_file)
        try:
            for _ in range(200):
                try:
                    if httpx.get(server.url + "/healthz", timeout=5).status_code == 200:
                        break
                except httpx.TransportError:
                    assert process.poll() is None, server.log
                    time.sleep(0.1)
            yield server
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
