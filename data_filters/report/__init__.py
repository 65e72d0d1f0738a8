"""What a filter stage did: counts, intervals, diversity, the page for people."""
