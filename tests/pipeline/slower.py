"""How much slower than an idle machine the one that runs the tests may be.

Neighbours on the same core, and a collection of garbage that comes between, make CPU seconds longer, too. What these limits
are there to find takes a hundred times as long. Speed is measured in benchmarks/, not here.
"""

SLOWER = 6.0
