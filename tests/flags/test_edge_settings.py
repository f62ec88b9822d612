"""What an edge is told: where its flags are, and no secret."""

from pathlib import Path

import pytest

from tests.conftest import SECRET
from webapp.edge import edge_settings
from webapp.settings import SettingsError


@pytest.mark.parametrize(
    ("environ", "complaint"),
    [
        ({"EDGE_UPSTREAM": "https://console.internal"}, "EDGE_TOKEN"),
        ({"EDGE_UPSTREAM": "https://console.internal", "EDGE_TOKEN": " "}, "EDGE_TOKEN"),
        ({"EDGE_UPSTREAM": "console.internal", "EDGE_TOKEN": "swy_edge"}, "EDGE_UPSTREAM"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY"),
    ],
)
def test_settings_that_make_no_edge_are_refused(
    tmp_path: Path, environ: dict[str, str], complaint: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        edge_settings({"INSTANCE_DIR": str(tmp_path)} | environ)
    assert [line.partition(":")[0] for line in refused.value.problems] == [complaint]


@pytest.mark.parametrize("given", [{}, {"SECRET_KEY": ""}, {"SECRET_KEY": SECRET}])
def test_an_edge_needs_no_secret_in_production(tmp_path: Path, given: dict[str, str]) -> None:
    environ = {"INSTANCE_DIR": str(tmp_path), "ENVIRONMENT": "production"} | given
    settings = edge_settings(environ)
    assert settings.is_production
    assert len(settings.secret_key) >= 32
    if given.get("SECRET_KEY"):
        assert settings.secret_key == SECRET


@pytest.mark.parametrize(
    "given",
    [
        {"EDGE_UPSTREAM": "https://console.internal", "EDGE_TOKEN": "swy_edge"},
        {"REDIS_URL": "redis://localhost:6379/0"},
        {"DATABASE_URL": "postgresql+psycopg://localhost/switchyard"},
    ],
)
def test_an_edge_makes_no_folder_where_its_flags_come_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert edge_settings(given).secret_key
    assert list(tmp_path.iterdir()) == []
