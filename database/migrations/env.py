"""Alembic's entry: runs the migrations of `versions/` with the URL that database.migrate gives it."""

from alembic import context
from sqlalchemy import create_engine, make_url

config = context.config
engine = create_engine(make_url(config.attributes["url"]).set(drivername="postgresql+psycopg"))

with engine.connect() as connection:
    # Two starts at once would race for the same table: the second waits here and then finds nothing left to do.
    connection.exec_driver_sql("select pg_advisory_lock(hashtext('mesocycle.migrations'))")
    connection.commit()
    context.configure(connection=connection, version_table_schema="public", transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
