"""From graded answers to numbers with intervals."""
