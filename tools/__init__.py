"""Programs that look after the project: reference pages, tables, the independent verifier."""
