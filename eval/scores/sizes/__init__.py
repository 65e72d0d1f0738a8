"""How large a plain model would be that reasons, or remembers, as a contender does."""
