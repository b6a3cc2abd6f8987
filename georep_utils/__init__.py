"""Helpers of the notebooks. Nothing is imported here: each name is found in its own file."""
