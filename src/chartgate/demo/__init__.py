"""The sample hospital, the sample AI clients and the story that joins them."""
