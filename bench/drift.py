"""Precision and recall of telling renamed fields by their names, beside a plain fuzzy match.

Each line of ``bench/renames.csv`` is a pair of names as they stand in data sets, and whether they
are one field.  What speaks for a rename beside the names (values, types) is left out here, so that
both see the same.  The plain match has the best threshold that there is for these very pairs.

    python bench/drift.py [pairs.csv]
"""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

from rapidfuzz import fuzz
from rapidfuzz.utils import default_process

from webapp.sources.drift import RENAME_CONFIDENCE
from webapp.sources.naming import likeness

PAIRS = Path(__file__).with_name("renames.csv")

Scored = Sequence[tuple[float, bool]]


def measure(scored: Scored, threshold: float) -> tuple[float, float, float]:
    """Return precision, recall and their harmonic mean, taking scores from the threshold up."""
    found = [same for score, same in scored if score >= threshold]
    right, all_same = sum(found), sum(same for _, same in scored)
    precision = right / len(found) if found else 1.0
    recall = right / all_same
    both = precision + recall
    return precision, recall, 2 * precision * recall / both if both else 0.0


def show(name: str, scored: Scored, threshold: float) -> None:
    """Print one line."""
    precision, recall, mean = measure(scored, threshold)
    print(f"{name:<34} {threshold:>9.2f} {precision:>10.3f} {recall:>8.3f} {mean:>6.3f}")


def main() -> None:
    """Print the table, and the pairs that are wrong at the threshold."""
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else PAIRS
    with file.open(newline="") as lines:
        pairs = [(row["old"], row["new"], row["same"] == "1") for row in csv.DictReader(lines)]
    ours = [(likeness(old, new).score, same) for old, new, same in pairs]
    plain = [
        (fuzz.WRatio(old, new, processor=default_process) / 100, same) for old, new, same in pairs
    ]
    same = sum(same for _, _, same in pairs)
    print(f"{same} renames, {len(pairs) - same} near misses\n")
    print(f"{'':<34} {'threshold':>9} {'precision':>10} {'recall':>8} {'F1':>6}")
    for threshold in (RENAME_CONFIDENCE, 0.5):
        show("names of fields", ours, threshold)
    best = max({score for score, _ in plain}, key=lambda level: measure(plain, level)[2])
    show("rapidfuzz WRatio, at its best", plain, best)
    for threshold in (RENAME_CONFIDENCE, 0.5):
        show("rapidfuzz WRatio", plain, threshold)
    for title, wanted in (("taken for a rename", False), ("not taken for one", True)):
        wrong = [
            f"{old}/{new} {score:.2f}"
            for (old, new, _), (score, same) in zip(pairs, ours, strict=True)
            if same == wanted and (score >= RENAME_CONFIDENCE) != wanted
        ]
        print(f"\nWrong at {RENAME_CONFIDENCE}, {title}: {len(wrong)}\n  " + ", ".join(wrong[:60]))


if __name__ == "__main__":
    main()
