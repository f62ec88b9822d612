"""Files: whole or not at all, and under names of our own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from webapp.files import remove, write_whole
from webapp.reports.files import path_of


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    path = path_of(tmp_path / "deep" / "folder", 7, "html")
    assert write_whole(path, [b"one", b"", b"two"]) == 6
    assert path.read_bytes() == b"onetwo"
    assert path.name == "report-7.html"


def test_a_file_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = path_of(tmp_path, 7, "csv")
    write_whole(path, [b"old"])

    def pieces() -> Iterator[bytes]:
        yield b"new"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(path, pieces())
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("form", ["../x", "html/..", "", "exe", "HTML"])
def test_no_format_but_ours_names_a_file(tmp_path: Path, form: str) -> None:
    with pytest.raises(ValueError, match="ReportFormat"):
        path_of(tmp_path, 7, form)


def test_removing_twice_is_no_error(tmp_path: Path) -> None:
    path = path_of(tmp_path, 7, "json")
    write_whole(path, [b"{}"])
    remove(path)
    remove(path)
    assert not path.exists()
