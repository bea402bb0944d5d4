"""One folder a protocol or vendor; nothing outside a folder knows its vendor."""
