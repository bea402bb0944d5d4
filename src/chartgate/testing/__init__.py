"""Public conformance kit for adapters, fake clock, builders of synthetic records."""
