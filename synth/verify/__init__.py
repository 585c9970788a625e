"""Is an answer right? Verifiers for mathematics, procedural problems, program code and free text."""
