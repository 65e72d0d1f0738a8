"""Whether an answer is right: by its text, by equations, by reasoning-gym's scorers, by programs in
a sandbox.
"""
