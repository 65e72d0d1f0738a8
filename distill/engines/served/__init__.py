"""Servers as they are: requests to them, what their answers mean, what of their words is shown."""
