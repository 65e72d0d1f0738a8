"""Recall: what a contender still knows by heart."""
