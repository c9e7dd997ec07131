"""Where rows live: connections, roles, migrations, tables that Python writes and marts that Python reads."""
