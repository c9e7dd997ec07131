"""`python -m api`: the read API on a port of this machine, one worker per core."""

import argparse
import os
import sys

from api.server import serve
from api.settings import SettingsInvalid


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m api", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one per core)")
    options = parser.parse_args()
    try:
        serve(host=options.host, port=options.port, workers=options.workers)
    except SettingsInvalid as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
