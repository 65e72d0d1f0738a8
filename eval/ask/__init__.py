"""Asking a contender and grading what it says."""
