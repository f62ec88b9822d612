"""Audit: who changed what, when and why, written in the transaction of the change."""
