"""What a plan's ETag holds besides the plan's id: the code and the words that write it out. Other software, other bytes, another tag."""

from functools import cache
from hashlib import blake2b
from pathlib import Path

import database.plan_documents
import domain


@cache
def writers_version() -> str:
    """Equal for equal sources, so all instances of one release agree."""
    domain_folder = Path(domain.__file__).parent
    files = [
        Path(database.plan_documents.__file__),
        *domain_folder.rglob("*.py"),
        *domain_folder.rglob("*.csv"),
        *domain_folder.rglob("*.json"),
    ]
    digest = blake2b(digest_size=6)
    for file in sorted(files):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
