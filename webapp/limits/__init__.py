"""Rate limits: how often another service may be called, by source."""
