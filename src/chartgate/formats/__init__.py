"""Standards, parsed and written; knows nothing of Chartgate."""
