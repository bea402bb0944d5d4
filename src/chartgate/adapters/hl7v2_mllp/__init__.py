"""HL7 v2 over MLLP: Feed."""

from chartgate.adapters.hl7v2_mllp.adapter import open_adapter

__all__ = ["open_adapter"]
