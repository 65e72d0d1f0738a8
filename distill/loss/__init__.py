"""The distillation loss: divergences, teacher signals, a loss in chunks of tokens, the learner
around them.
"""
