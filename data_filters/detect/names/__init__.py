"""Names: which capitalised words are parts of one, and where a name begins and ends."""
