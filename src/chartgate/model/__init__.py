"""Our frozen records, their transition tables, and the ports that adapters implement."""
