"""Code of a page: listings and spans, to the letter, with their language."""
