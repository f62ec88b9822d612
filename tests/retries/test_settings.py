"""What the settings say about retries."""

from pathlib import Path

import pytest
from flask import Flask

from webapp.retries.attempts import default_config, use_default_config
from webapp.retries.capability import retries
from webapp.retries.values import RetryConfig
from webapp.settings import Settings, SettingsError


def settings(folder: Path, **environ: str) -> Settings:
    return Settings.from_environment({"INSTANCE_DIR": str(folder), **environ})


@pytest.mark.parametrize(
    ("environ", "complaint"),
    [
        ({"RETRY_MAX_ATTEMPTS": "0"}, "RETRY_MAX_ATTEMPTS"),
        ({"RETRY_MAX_ATTEMPTS": "many"}, "RETRY_MAX_ATTEMPTS"),
        ({"RETRY_WAIT_MIN": "0"}, "RETRY_WAIT_MIN"),
        ({"RETRY_WAIT_MIN": "20"}, "RETRY_WAIT_MAX"),
    ],
)
def test_settings_that_make_no_retry_are_refused(
    tmp_path: Path, environ: dict[str, str], complaint: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        settings(tmp_path, **environ)
    assert [line.partition(":")[0] for line in refused.value.problems] == [complaint]


@pytest.mark.parametrize(
    ("environ", "config"),
    [
        ({}, RetryConfig(max_attempts=3, initial_delay=1.0, max_delay=10.0)),
        (
            {"RETRY_MAX_ATTEMPTS": "6", "RETRY_WAIT_MIN": "0.5", "RETRY_WAIT_MAX": "25"},
            RetryConfig(max_attempts=6, initial_delay=0.5, max_delay=25.0),
        ),
    ],
)
def test_a_retry_that_says_nothing_follows_the_settings(
    tmp_path: Path, environ: dict[str, str], config: RetryConfig
) -> None:
    before = default_config()
    app = Flask(__name__)
    app.extensions["settings"] = settings(tmp_path, **environ)
    assert retries.setup is not None
    retries.setup(app)
    assert default_config() == config
    use_default_config(before)
