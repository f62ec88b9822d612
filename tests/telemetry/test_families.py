"""Every family stands in docs/metrics.md with its labels, and nothing else does."""

import re
from pathlib import Path

from prometheus_client import Counter, Histogram

from webapp import metrics
from webapp.telemetry.exposition import GAUGES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
ROW = re.compile(r"^\| `([a-z_]+)` \| ([a-z_, ]*)\| ", re.MULTILINE)


def declared() -> dict[str, tuple[str, ...]]:
    """Return the labels of each family that the program knows, by the name that is scraped."""
    found = {name: labels for name, (_, labels) in GAUGES.items()}
    for family in vars(metrics).values():
        if isinstance(family, Counter | Histogram):
            (described,) = family.describe()
            suffix = "_total" if isinstance(family, Counter) else ""
            found[described.name + suffix] = tuple(family._labelnames)
    return found


def test_the_page_lists_every_family_with_its_labels() -> None:
    text = PAGE.read_text().partition("## Families\n")[2].partition("\n## ")[0]
    listed = {
        name: tuple(label.strip() for label in labels.split(",") if label.strip())
        for name, labels in ROW.findall(text)
    }
    assert listed == declared()


def test_no_family_is_labelled_by_what_has_no_bound() -> None:
    labels = {label for names in declared().values() for label in names}
    assert labels.isdisjoint(
        {"user", "user_id", "job_id", "path", "message", "request_id", "token"}
    )
