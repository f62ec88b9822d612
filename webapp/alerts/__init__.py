"""Alerts: rules over what this program measures, who is told of it, and when."""
