"""Traces that look a fact up instead of recalling it, and the knowledge base they ask."""
