"""How dbt is run from Python: its project, its parsed manifest, and the environment that its profile reads."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import make_url

if TYPE_CHECKING:
    from dagster_dbt import DbtProject

DBT_PROJECT = Path(__file__).parent.parent / "dbt_project"
TARGET_VARIABLE = "MESOCYCLE_DBT_TARGET"


class ManifestFailed(RuntimeError):
    """dbt could not parse the project; its own message follows."""


def dbt_environment(owner_url: str, *, threads: int = 2) -> dict[str, str]:
    """The variables that `dbt_project/profiles.yml` reads, from the owner's URL."""
    url = make_url(owner_url)
    return {
        "MESOCYCLE_DBT_HOST": url.host or "127.0.0.1",
        "MESOCYCLE_DBT_PORT": str(url.port or 5432),
        "MESOCYCLE_DBT_USER": url.username or "",
        "MESOCYCLE_DBT_PASSWORD": str(url.password or ""),
        "MESOCYCLE_DBT_DATABASE": url.database or "",
        "MESOCYCLE_DBT_THREADS": str(threads),
    }


def target_folder() -> Path:
    """Where dbt's artefacts go: the platform's home where one runs, else the project's own target folder."""
    return Path(os.environ.get(TARGET_VARIABLE, DBT_PROJECT / "target")).resolve()


def dbt_project() -> "DbtProject":
    """The project with a manifest that matches its files; parses them first where they changed (about 5 s)."""
    from dagster_dbt import DbtProject  # noqa: PLC0415  # costs 2 s; `mesocycle up` only wants the manifest

    prepare_manifest()
    return DbtProject(DBT_PROJECT, target_path=target_folder(), profiles_dir=DBT_PROJECT)


def prepare_manifest(owner_url: str | None = None) -> None:
    """Run `dbt parse` unless the manifest is that of these very files; processes that start together wait for one parse.

    With the same connection as later builds have, they can go on from this parse instead of repeating it (dbt compares profiles).
    """
    owner_url = owner_url or os.environ.get("MESOCYCLE_OWNER_URL")
    environment = dbt_environment(owner_url) if owner_url else {}
    target = target_folder()
    target.mkdir(parents=True, exist_ok=True)
    with (target / "manifest.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        digest, stamp = project_digest(), target / "manifest.digest"
        if (target / "manifest.json").exists() and stamp.exists() and stamp.read_text() == digest:
            return
        dbt = Path(sys.executable).parent / "dbt"
        command = [dbt, "--quiet", "parse", "--project-dir", DBT_PROJECT, "--profiles-dir", DBT_PROJECT, "--target-path", target]
        result = subprocess.run(
            [*map(str, command), "--log-path", str(target)],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if result.returncode:
            raise ManifestFailed(f"dbt parse failed:\n{result.stdout}{result.stderr}")
        stamp.write_text(digest)


def build_folder() -> Path:
    """Where a build writes its artefacts. Builds run one after another, so one folder serves them all; it begins with the last parse."""
    folder = target_folder() / "build"
    folder.mkdir(parents=True, exist_ok=True)
    parsed = target_folder() / "partial_parse.msgpack"
    if parsed.exists():
        shutil.copy(parsed, folder / parsed.name)
    return folder


def project_digest() -> str:
    """SHA-256 over the files that make the manifest (SQL, YAML, seeds) and their paths."""
    digest = hashlib.sha256()
    for path in sorted(DBT_PROJECT.rglob("*")):
        relative = path.relative_to(DBT_PROJECT)
        if path.suffix in {".sql", ".yml", ".yaml", ".csv", ".md"} and relative.parts[0] not in {"target", "logs", "dbt_packages"}:
            digest.update(str(relative).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
