"""The teacher writes: attempts, the journal of answers, shards of traces, figures while it runs."""
