"""A reader in a process of its own (dbt would hold the interpreter's lock): reads a query until its input ends, prints what it met."""

import json
import select
import subprocess
import sys
import time
from pathlib import Path

import psycopg

SCRIPT = Path(__file__)


class Reader:
    """Reads again and again while the block runs; afterwards `errors`, `waits` (seconds) and `answers` say what it met."""

    def __init__(self, url: str, query: str):
        self.url, self.query = url, query
        self.errors: list[str] = []
        self.waits: list[float] = []
        self.answers: list[int] = []

    def __enter__(self) -> "Reader":
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), self.url, self.query], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        output, _errors = self.process.communicate(input="", timeout=60)
        met = json.loads(output)
        self.errors, self.waits, self.answers = met["errors"], met["waits"], met["answers"]


def read(url: str, query: str) -> None:
    errors, waits, answers = [], [], set()
    with psycopg.connect(url, autocommit=True) as connection:
        while not select.select([sys.stdin], [], [], 0)[0]:
            start = time.perf_counter()
            try:
                row = connection.execute(query.encode()).fetchone()
                answers.add(row[0] if row else None)
            except psycopg.Error as error:
                errors.append(str(error))
            waits.append(time.perf_counter() - start)
            time.sleep(0.001)
    sys.stdout.write(json.dumps({"errors": errors, "waits": waits, "answers": sorted(answers)}))


if __name__ == "__main__":
    read(*sys.argv[1:])
