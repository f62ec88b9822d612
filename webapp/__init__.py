"""Switchyard's web side.

Files in this folder are plumbing (settings, database, clock, errors, logs, commands); folders are
capabilities, one plural noun each, and ``web`` holds the Flask code that belongs to none of them.
Inside a capability the file names are promises: ``values`` and the pure modules decide,
``service`` writes, ``queries`` reads, ``pages`` and ``api`` speak HTTP.  Start with ``app.py``,
then read one capability from ``values`` upwards: whoever knows one knows all.
"""

import gc
import os
from pathlib import Path

__version__ = "0.1.0"

# What is imported stays: the collector would look through all of it again and again, for a tenth
# of the time that a process takes to start. An application that is built ends this.
_usual_collection = gc.get_threshold()
gc.set_threshold(100_000)


def collect_as_usual() -> None:
    """Look for garbage as often as Python does: from here on, objects come and go."""
    gc.set_threshold(*_usual_collection)


if _folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
    # prometheus_client opens its files there as soon as a family is declared.
    Path(_folder).mkdir(parents=True, exist_ok=True)
