"""Data for trying sources out, served by the console itself where ``DEMO`` is true.

Real data of packages and files that are here anyway; nothing is made up, and nothing secret told.
"""
