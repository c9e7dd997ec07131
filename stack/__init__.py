"""The whole platform on one machine: embedded Postgres, the processes, the `mesocycle` command."""
