"""The files of versions: named by what is in them, and read only where that is still so.

A name is made of the hash in the registry, so nothing that somebody typed is part of a path, and a
file that somebody exchanged is noticed before anything of it is looked at.
"""

import hashlib
import re
from pathlib import Path
from typing import Final

from webapp.errors import Invalid
from webapp.files import write_whole

_HASH: Final = re.compile(r"[0-9a-f]{64}")


def path_of(folder: Path, file_hash: str) -> Path:
    """Return where the file with this hash lies, or would."""
    if not _HASH.fullmatch(file_hash):
        raise ValueError(file_hash)
    return folder / f"{file_hash}.skops"


def keep(folder: Path, data: bytes) -> str:
    """Write a file in one step for whoever looks, and return its hash."""
    file_hash = hashlib.sha256(data).hexdigest()
    write_whole(path_of(folder, file_hash), [data])
    return file_hash


def fetch(folder: Path, file_hash: str) -> bytes:
    """Return what was kept; :class:`Invalid` where it is gone, or not that any more.

    What is returned is what was looked at: the file is read once.
    """
    path = path_of(folder, file_hash)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise Invalid(f"The file {path.name} is not in the folder of models.") from None
    if hashlib.sha256(data).hexdigest() != file_hash:
        raise Invalid(
            f"The file {path.name} is not the one that was registered: its hash differs. "
            "It is not read."
        )
    return data
