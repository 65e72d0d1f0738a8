"""What was seen before: exact and near duplicates, held-out questions, how often a fact is seen,
the facts taken out.
"""
