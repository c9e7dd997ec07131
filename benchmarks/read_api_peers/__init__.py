"""What people would use instead of the read API, each as an idiomatic little service: the peers of benchmarks.read_api."""
