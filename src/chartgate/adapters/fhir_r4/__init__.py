"""FHIR R4 REST, as client: Source and Sink."""
