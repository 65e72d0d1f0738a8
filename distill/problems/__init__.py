"""Where problems come from: the planted world, reasoning-gym, data sets; and how their items are
split.
"""
