"""Other formats to FHIR, by tables; pure."""
