"""Formulas of a page as LaTeX, whatever encodes them."""
