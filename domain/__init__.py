"""What the words mean: rules and definitions. No Dagster, no FastAPI, no SQL."""
