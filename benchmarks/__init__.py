"""Whole-process measurements: `make bench`, `make chaos`, `make proof`."""
