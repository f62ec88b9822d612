"""Unleash: flags for Unleash's own SDKs, which fetch them all and decide by themselves.

``constraints`` and ``documents`` write a flag as the strategies that decide alike there, and say
what those cannot; ``reports`` reads what SDKs have counted.
"""
