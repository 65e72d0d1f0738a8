"""Traces as rows of tokens: encoding, weights, packing."""
