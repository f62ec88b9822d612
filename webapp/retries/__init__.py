"""Retries: what kind of failure an exception is, whether to try again, and when.

``classification`` is the only place that knows exception types, ``policy`` decides, and
``decorators`` apply both around a function.
"""
