"""HTTP in: parse, call one flow, show."""
