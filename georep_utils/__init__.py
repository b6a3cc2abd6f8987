"""Helpers of the notebooks. Nothing is imported here: a name is found in the file that defines it."""
