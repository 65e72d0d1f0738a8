"""Whether a fact was given by the prompt, derived from it, is common knowledge, or has no ground at
all.
"""
