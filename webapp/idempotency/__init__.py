"""Idempotency keys: a request that a program repeats is carried out once."""
