"""OFREP: flags for OpenFeature's own providers, by its Remote Evaluation Protocol (0.3.0).

``questions`` reads what is asked, ``documents`` says what a decision is in the protocol's words,
``answers`` decides and writes.  The views, the short cut before Flask and the edge all call
``answers``.
"""
