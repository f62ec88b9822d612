"""Which files may be a source."""

import sys
from pathlib import Path

import pytest

from webapp.errors import Invalid
from webapp.sources.locations import check_location, find_file

AIRPORTS = "package:airportsdata/airports.csv"


@pytest.mark.parametrize(
    "location",
    [
        AIRPORTS,
        "/srv/data/orders.csv",
        "/srv/DATA/ORDERS.CSV",
        "/srv/\u00e9t\u00e9.csv",
        "/" + "a" * 995 + ".csv",
    ],
)
def test_paths_and_files_of_packages_are_locations(location: str) -> None:
    assert check_location(location) == location


@pytest.mark.parametrize(
    "location",
    [
        "",
        "orders.csv",
        "../orders.csv",
        "/etc/passwd",
        "/proc/self/environ",
        "/srv/data/orders.csv\0.csv",
        "package:airports.csv",
        "package:/airports.csv",
        "package:airportsdata/__init__.py",
        "package:airportsdata/../secret.csv",
        "package:os.path/a.csv",
        "package:airportsdata/\0.csv",
        "package:airportsdata//srv/data/orders.csv",
        "/srv/data/\ud800.csv",
        "/srv/data/a\nb.csv",
        "/" + "a" * 996 + ".csv",
    ],
)
def test_anything_else_is_refused_by_name(location: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_location(location)
    assert "location" in caught.value.errors


def test_a_file_of_a_package_is_found_without_running_the_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "airportsdata", raising=False)
    assert find_file(AIRPORTS).name == "airports.csv"
    assert "airportsdata" not in sys.modules


@pytest.mark.parametrize("location", ["package:nowhere/a.csv", "package:airportsdata/no.csv"])
def test_what_a_package_does_not_have_is_a_file_that_is_not_there(location: str) -> None:
    with pytest.raises(FileNotFoundError):
        find_file(location)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(FileNotFoundError):
        find_file(str(tmp_path / "folder.csv"))


def test_a_link_does_not_lead_to_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "secret_key").write_text("secret")
    (tmp_path / "data.csv").symlink_to(tmp_path / "secret_key")
    with pytest.raises(FileNotFoundError):
        find_file(str(tmp_path / "data.csv"))
