"""System: what this installation is made of, how it stands, and what it is set to."""
