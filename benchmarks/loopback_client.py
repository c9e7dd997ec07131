"""A small HTTP/1.1 client for loads on this machine: one keep-alive connection per request under way, little CPU of its own."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """A response."""

    status: int
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class LoopbackClient:
    """Requests to 127.0.0.1:`port` over at most `connections` connections; the next waits for one to come free."""

    def __init__(self, port: int, token: str, connections: int = 64) -> None:
        self._port = port
        self._headers = f"Host: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._slots = asyncio.Semaphore(connections)

    async def request(self, method: str, path: str, body: Any = None, headers: str = "") -> Answer:
        """Raises OSError when the server can't be reached or closes the connection."""
        content = b"" if body is None else json.dumps(body).encode()
        kind = f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n" if content else ""
        async with self._slots:
            reader, writer = self._free.pop() if self._free else await asyncio.open_connection("127.0.0.1", self._port)
            try:
                writer.write(f"{method} {path} HTTP/1.1\r\n{self._headers}{headers}{kind}\r\n".encode() + content)
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.decode("latin-1").lower().split("\r\n")
                length = next((int(line[15:]) for line in lines if line.startswith("content-length:")), 0)
                payload = await reader.readexactly(length) if length else b""
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                writer.close()
                raise OSError("the server closed the connection") from error
            self._free.append((reader, writer))
            return Answer(int(lines[0].split(" ")[1]), payload)

    def close(self) -> None:
        for _, writer in self._free:
            writer.close()
