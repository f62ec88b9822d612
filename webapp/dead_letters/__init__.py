"""Dead letters: jobs that were given up, with what is needed to understand and retry them."""
