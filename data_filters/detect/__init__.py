"""Where a text may state a fact: numbers, names, titles, entities of word lists and of models."""
