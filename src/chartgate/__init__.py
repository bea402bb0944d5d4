"""Chartgate: the gate between clinical AI and a hospital's systems of record."""

__version__ = "0.1.0"
