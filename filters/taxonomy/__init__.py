"""Taggers: what a document is about and how good it is, learnt from labels, with an honest report beside each model."""
