"""The overview: how everything stands, on one page; it reads the others' queries."""
