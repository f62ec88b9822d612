"""One module for each SDK, all of one shape.

``DIFFERS`` says what of the question the SDK answers otherwise, empty where nothing.  ``decider()``
is a context manager that yields the function which decides, with the flag loaded and all telling
switched off, and that lets go of the SDK afterwards.
"""
