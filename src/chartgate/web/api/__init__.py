"""The versioned JSON API under /v1; openapi.yaml is its contract."""
