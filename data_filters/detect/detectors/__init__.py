"""Detectors of one kind of fact each, a file each; detect.py lists them."""
