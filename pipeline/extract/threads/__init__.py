"""Forum threads, questions with answers, comments: posts in their order."""
