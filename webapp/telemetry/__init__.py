"""Telemetry: what all processes have counted, and how things stand, for Prometheus and programs."""
