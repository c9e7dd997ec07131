"""Alembic migrations: they own the schemas app, plans and ops."""
