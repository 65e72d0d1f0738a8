"""Scores of reasoning-gym, where no text of an answer is ever run."""
