"""Facts below capitals: names in lower case or glued to signs, scores of games."""
