"""Helpers behind the notebooks: files, models, neighbours, dimensions, overlaps, figures. The method is in the notebooks."""
