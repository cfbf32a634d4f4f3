"""What several tests and benchmarks share: servers, stand-ins, files that are made."""
