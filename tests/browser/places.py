"""Every page of the console, each with something on it to look at."""

import re
from pathlib import Path

from tests.browser.console import Account
from tests.processes import wait_until

FLAG = "checkout.express"
SEGMENT = "germans"
GROUP = "checkout"
SOURCE = "airports"
BROKEN = "orders.lost"
CHANNEL = "on-call-of-the-shop"
SCHEDULE = "airports.nightly"
BUILT_ON = "payments.v2"
# All that a flag can have.
RICH = {
    "percentage": "25",
    "tags": "shop mobile",
    "environments": "production",
    "group": GROUP,
    "rules-0-name": "paying",
    "rules-0-percentage": "50",
    "rules-0-segments": SEGMENT,
    "rules-0-conditions-0-attribute": "plan",
    "rules-0-conditions-0-operator": "in",
    "rules-0-conditions-0-values": "pro\nteam",
    "variants-0-name": "one-page",
    "variants-0-weight": "2",
    "variants-0-value": '{"steps": 1, "of": "a checkout that is all on one page"}',
    "variants-1-name": "two-page",
    "variants-1-weight": "1",
    "prerequisites-0-flag": BUILT_ON,
}


def furnish(account: Account, folder: Path) -> dict[str, str]:
    """Fill the console; returns the path of each page under its name."""
    make_shared(account)
    make_flag(account, BUILT_ON, percentage="100")
    make_flag(account, FLAG, **RICH)
    account.post(f"/flags/{FLAG}/rollout", version="1", percentage="40", reason="It went well")
    wait_until(
        lambda: "Succeeded" in account.get(f"/sources/{SOURCE}"), seconds=60, what="a first run"
    )
    file = make_source(account, BROKEN, folder)
    letter = lose_job(account, BROKEN, file)
    make_schedule(account, SCHEDULE)
    account.post(f"/schedules/{SCHEDULE}/run")
    make_channel(account, CHANNEL)
    account.post("/reports", kind="operations", format="html", days="7")
    failed = fail_job(account)
    job = re.search(r'href="/jobs/(\d+)"', account.get(f"/sources/{SOURCE}"))
    assert job, "the run names its job"
    return {
        "overview": "/",
        "flags": "/flags",
        "flag": f"/flags/{FLAG}?subject=user-7&attributes=%7B%22plan%22%3A%22pro%22%7D",
        "flag form": f"/flags/{FLAG}/edit",
        "new flag": "/flags/new",
        "import of flags": "/flags/import",
        "segments": "/flags/segments",
        "segment": f"/flags/segments/{SEGMENT}",
        "segment form": f"/flags/segments/{SEGMENT}/edit",
        "new segment": "/flags/segments/new",
        "groups": "/flags/groups",
        "group": f"/flags/groups/{GROUP}",
        "group form": f"/flags/groups/{GROUP}/edit",
        "new group": "/flags/groups/new",
        "jobs": "/jobs",
        "job": f"/jobs/{job[1]}",
        "failed job": failed,
        "no job": "/jobs?q=nothing-goes-by-this-name",
        "new job": "/jobs/new?type=test_steps",
        "question about jobs": "/jobs/bulk?action=retry&scope=all",
        "job types": "/jobs/types",
        "job type": "/jobs/types/etl",
        "dead letters by cause": "/dead-letters",
        "dead letters": "/dead-letters/list",
        "many dead letters": "/dead-letters/bulk?action=retry",
        "dead letter": letter,
        "schedules": "/schedules",
        "schedule": f"/schedules/{SCHEDULE}",
        "schedule form": f"/schedules/{SCHEDULE}/edit",
        "new schedule": "/schedules/new",
        "workers": "/workers",
        "breakers": "/breakers",
        "sources": "/sources",
        "source": f"/sources/{SOURCE}",
        "rate limit of a source": f"/sources/{SOURCE}/limit",
        "new source": "/sources/new",
        "edit of a source": f"/sources/{SOURCE}/edit",
        "models": "/models",
        "new model": f"/models/new?source={SOURCE}",
        "reports": "/reports",
        "new report": "/reports/new",
        "alerts": "/alerts",
        "alert rules": "/alerts/rules",
        "alert rule": "/alerts/rules/jobs-failing",
        "alert rule form": "/alerts/rules/jobs-failing/edit",
        "new alert rule": "/alerts/rules/new",
        "silences": "/alerts/silences",
        "new silence": "/alerts/silences/new",
        "channels": "/channels",
        "channel form": f"/channels/{CHANNEL}/edit",
        "new channel": "/channels/new",
        "audit": "/audit",
        "idempotency keys": "/idempotency-keys",
        "account": "/account",
        "users": "/settings/users",
        "user": make_user(account, "ulla"),
        "new user": "/settings/users/new",
        "tokens": make_token(account, "web-shop"),
        "new token": "/settings/tokens/new",
        "system": "/settings/system",
        "patterns": "/patterns",
    }


def make_shared(account: Account) -> None:
    """Make what flags share: a segment and a group."""
    account.post("/flags/groups", name=GROUP, description="Cart to receipt", reason="For a test")
    make_segment(account, SEGMENT, country="DE\nAT\nCH")


def make_segment(account: Account, name: str, **values: str) -> None:
    """Make a segment of attributes that must be among values."""
    conditions = {
        f"conditions-{at}-{field}": text
        for at, (attribute, among) in enumerate(values.items())
        for field, text in (("attribute", attribute), ("operator", "in"), ("values", among))
    }
    account.post("/flags/segments", name=name, reason="For a test", **conditions)


def make_flag(account: Account, name: str, **fields: str) -> None:
    """Make a flag that is switched on."""
    account.post("/flags", name=name, **({"enabled": "1", "reason": "For a test"} | fields))


def make_channel(account: Account, name: str) -> None:
    """Make a channel of somebody else's machine."""
    url = "jsons://hooks.example.com/alerts"
    account.post("/channels", name=name, url=url, enabled="1", reason="For a test")


def make_schedule(account: Account, name: str, **fields: str) -> None:
    """Make a schedule that reads the airports every day."""
    usual = {
        "type": "etl",
        "arguments": f'{{"source": "{SOURCE}"}}',
        "kind": "daily",
        "at": "06:00",
        "timezone": "Europe/Berlin",
        "reason": "For a test",
    }
    account.post("/schedules", name=name, **(usual | fields))


def make_source(account: Account, name: str, folder: Path, rows: int = 20) -> Path:
    """Make a source over a file of its own; returns the file."""
    file = folder / f"{name}.csv"
    lines = (f"order-{number},{number % 97},EUR\n" for number in range(rows))
    file.write_text("id,amount,currency\n" + "".join(lines))
    account.post("/sources", name=name, location=str(file), key_field="id")
    return file


def lose_job(account: Account, source: str, file: Path) -> str:
    """Run a source whose file is gone, until its job is given up; returns the letter's path."""
    file.unlink()
    account.post(f"/sources/{source}/runs")
    listed = f"/dead-letters/list?q={source}"
    wait_until(lambda: bool(_letter(account.get(listed))), seconds=60, what=f"{source} is given up")
    return _letter(account.get(listed))


def fail_job(account: Account) -> str:
    """Run a job that says something and then fails for good; returns its path."""
    account.post("/jobs", type="test_steps", **{"arguments.fail_at": "3"})
    listed = "/jobs?type=test_steps&state=dead"
    wait_until(lambda: bool(_job(account.get(listed))), seconds=60, what="a job is given up")
    return _job(account.get(listed))


def make_user(account: Account, name: str) -> str:
    """Make an account with a password that nobody keeps; returns the path of its page."""
    account.post("/settings/users", username=name, role="viewer")
    found = re.search(rf'href="(/settings/users/\d+)"[^>]*>{name}<', account.get("/settings/users"))
    assert found, f"{name} is listed"
    return found[1]


def make_token(account: Account, name: str) -> str:
    """Make a token that nobody keeps; returns the path of the list."""
    account.post("/settings/tokens", name=name, role="operator", environment="staging", days="30")
    return "/settings/tokens"


def _job(page: str) -> str:
    found = re.search(r'class="table__main" href="(/jobs/\d+)"', page)
    return found[1] if found else ""


def _letter(page: str) -> str:
    found = re.search(r'href="(/dead-letters/\d+)"', page)
    return found[1] if found else ""
