"""Other forms of a given name: who lives in a place, initials, misspellings."""
