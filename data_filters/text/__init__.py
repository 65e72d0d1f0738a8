"""Reading text: tokens, numbers, dates, words that everybody knows, and what a prompt says."""
