"""Taking memory out of finished weights: curvature, directions, the search, the delta that undoes
it.
"""
