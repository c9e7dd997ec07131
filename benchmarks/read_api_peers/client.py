"""A load generator for where wrk is absent: `python -m benchmarks.read_api_peers.client PORT FILE SECONDS CONNECTIONS`.

FILE holds requests as JSON strings, one a line, or the two parts around a random user's number. Prints {"requests", "seconds", "errors", "p99_ms"}.
"""

import asyncio
import json
import random
import sys
import time
from pathlib import Path

import uvloop


class Connection(asyncio.Protocol):
    """Sends a random request, waits for its answer, sends the next."""

    def __init__(self, requests: list[bytes], until: float, latencies: list[float], done: asyncio.Future, errors: list[int]) -> None:
        self.requests, self.until, self.latencies, self.done, self.errors = requests, until, latencies, done, errors
        self.buffer = b""

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        self.sent_at = time.perf_counter()
        self.transport.write(random.choice(self.requests))

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.buffer[:end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self.buffer) < end + 4 + length:
            return
        if head[9:12] not in (b"200", b"304"):
            self.errors.append(1)
        self.buffer = b""
        now = time.perf_counter()
        self.latencies.append(now - self.sent_at)
        if now < self.until:
            self.send()
        else:
            self.transport.close()

    def connection_lost(self, _error) -> None:
        if not self.done.done():
            self.done.set_result(None)


async def main(port: int, requests: list[bytes], seconds: float, connections: int) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    errors: list[int] = []
    start = time.perf_counter()
    finished = []
    for _ in range(connections):
        done = loop.create_future()
        finished.append(done)
        await loop.create_connection(lambda done=done: Connection(requests, start + seconds, latencies, done, errors), "127.0.0.1", port)
    await asyncio.gather(*finished)
    took = time.perf_counter() - start
    latencies.sort()
    return {"requests": len(latencies), "seconds": took, "errors": len(errors), "p99_ms": 1000 * latencies[int(len(latencies) * 0.99)]}


if __name__ == "__main__":
    lines: list = [json.loads(line) for line in Path(sys.argv[2]).read_text().splitlines()]
    if isinstance(lines[0], dict):
        before, after = lines[0]["parts"]
        lines = [f"{before}{user}{after}" for user in range(1, lines[0]["users"] + 1)]
    lines = [line.encode() for line in lines]
    print(json.dumps(uvloop.run(main(int(sys.argv[1]), lines, float(sys.argv[3]), int(sys.argv[4])))))
