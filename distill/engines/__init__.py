"""Whoever answers: a model in this process, vLLM, a server; and the loop in which they call
tools.
"""
