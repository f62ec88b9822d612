"""Workers: the consumer processes that are alive, and what they do."""
