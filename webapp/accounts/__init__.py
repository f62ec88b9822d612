"""Accounts: the people who sign in, the tokens that programs show, and what guards the door."""
