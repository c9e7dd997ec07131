"""A population that signs up, drops out, trains and improves: sample data, data for tests, and load for benchmarks."""

from domain.simulation.population import BLOCK_USERS, Population, simulate

__all__ = ["BLOCK_USERS", "Population", "simulate"]
