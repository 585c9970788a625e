"""Finding benchmark problems in documents: runs of words, normalised tokens, rearranged problems, the report."""
