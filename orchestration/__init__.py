"""The Dagster code location, its assets and schedules, and the plan worker. Imports domain and database, never the API."""
