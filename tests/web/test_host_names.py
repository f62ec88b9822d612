"""Names that the console is served under: how they are read, and what may be set."""

from pathlib import Path

import pytest
from werkzeug.test import create_environ

from tests.conftest import make_settings
from webapp.settings import SettingsError
from webapp.web.transport import host_name


@pytest.mark.parametrize(
    ("header", "name"),
    [("a.b", "a.b"), ("A.B:80", "a.b"), ("web_1:8000", "web_1"), ("[::1]", "[::1]"), ("a:b", None)],
)
def test_a_host_is_told_without_its_port(header: str, name: str | None) -> None:
    assert host_name(create_environ("/", headers={"Host": header})) == name


@pytest.mark.parametrize(
    ("environ", "complaint"),
    [
        ({"ENVIRONMENT": "production"}, "ALLOWED_HOSTS: is needed"),
        ({"ALLOWED_HOSTS": "https://a.example"}, "ALLOWED_HOSTS: 'https://a.example' is not"),
        ({"ALLOWED_HOSTS": "a.example:8000"}, "ALLOWED_HOSTS: 'a.example:8000' is not"),
        ({"HTTPS_STRICT": "true"}, "HTTPS_STRICT: says nothing"),
        ({"HTTPS_PORT": "0"}, "HTTPS_PORT: must be"),
        ({"HTTPS_PORT": "65536"}, "HTTPS_PORT: must be"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(
    tmp_path: Path, environ: dict[str, str], complaint: str
) -> None:
    with pytest.raises(SettingsError, match=complaint):
        make_settings(tmp_path, **environ)
