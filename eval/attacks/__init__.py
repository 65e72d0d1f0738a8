"""Attacks on what seems removed: other prompts, four bits, learning a part of it again."""
