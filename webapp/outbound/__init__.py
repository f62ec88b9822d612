"""Calls to addresses that somebody else has named: only public ones, or those that are allowed.

``addresses`` decides, ``http`` resolves, checks and calls, ``signatures`` says who called.
"""
