"""How answers and references are written: signs, letters and numbers in one form, worked references
by their final answer.
"""
