"""The walks: one file a use case, the only place that joins policy, store and adapters."""
