"""Arithmetic in a text: what is written as a formula or in words, and what numbers it makes."""
