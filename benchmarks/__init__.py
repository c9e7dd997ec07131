"""What is measured, against whom. Each module is run by `python -m benchmarks.<name> [--quick] [--json FILE]`."""
