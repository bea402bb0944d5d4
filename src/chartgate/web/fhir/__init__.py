"""FHIR REST, one file an interaction."""
