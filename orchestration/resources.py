"""What assets need from outside: the database, as owner (dbt) and as pipeline (everything else)."""

import dagster as dg
import psycopg

from database.connection import connect


class Warehouse(dg.ConfigurableResource):
    """URLs of the platform's database, one per role that orchestration takes."""

    owner_url: str
    pipeline_url: str

    def connect(self) -> psycopg.Connection:
        """A connection as pipeline: reads everything, writes plans and ops."""
        return connect(self.pipeline_url, application_name="mesocycle dagster")

    def connect_as_owner(self) -> psycopg.Connection:
        return connect(self.owner_url, application_name="mesocycle dagster")
