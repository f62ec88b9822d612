"""Health: whether this process is alive, and whether it has what it needs."""
