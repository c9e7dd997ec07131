"""How dbt is run from Python: its project folder and the environment that its profile reads."""

from pathlib import Path

from sqlalchemy import make_url

DBT_PROJECT = Path(__file__).parent.parent / "dbt_project"


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
