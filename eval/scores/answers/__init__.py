"""Answers of contenders as columns."""
