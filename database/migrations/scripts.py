"""How a migration runs a script of several statements."""

from sqlalchemy import Connection


def run_script(bind: Connection, script: str) -> None:
    """Run `script` as it stands: past SQLAlchemy and psycopg's placeholders, so that a % in it stays a %."""
    driver_connection = bind.connection.driver_connection
    assert driver_connection is not None
    driver_connection.execute(script)
