"""What a trace is and how it is stored: rows, shards, numbered units, tool calls."""
