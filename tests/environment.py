"""What the tests' own process is configured with: nothing of the developer's, all in a new folder.

Imported before the program, because ``tasks`` reads the environment when it is imported.
"""

import os
import tempfile
from dataclasses import fields

from webapp.settings import Settings


def isolate() -> None:
    """Forget every setting of the shell, and point the instance folder at a new one."""
    for field in fields(Settings):
        os.environ.pop(field.metadata["name"], None)
    os.environ["ENVIRONMENT"] = "test"
    os.environ["LOG_LEVEL"] = "WARNING"
    os.environ["INSTANCE_DIR"] = tempfile.mkdtemp(prefix="switchyard-tests-")
