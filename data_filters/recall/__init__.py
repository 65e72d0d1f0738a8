"""What is recalled and has no capital letters: passages known by heart, and statements that a model
names in an audit.
"""
