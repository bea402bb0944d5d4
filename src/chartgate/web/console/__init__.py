"""The pages people use, one file a page."""
