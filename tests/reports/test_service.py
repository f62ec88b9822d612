"""Reports: asked for, listed as their jobs stand, deleted with their files."""

import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from webapp.actors import COMMAND
from webapp.audit.service import history
from webapp.db import transaction
from webapp.errors import Invalid, NotFound
from webapp.files import write_whole
from webapp.jobs.models import Job
from webapp.jobs.values import JobState
from webapp.paging import Cursor
from webapp.reports import service
from webapp.reports.files import path_of
from webapp.reports.models import Report
from webapp.reports.queries import list_reports
from webapp.reports.values import ReportDraft


@pytest.mark.parametrize(
    ("draft", "fields"),
    [
        (ReportDraft(kind="secrets"), {"kind"}),
        (ReportDraft(format="../../etc/passwd"), {"format"}),
        (ReportDraft(days=0), {"days"}),
        (ReportDraft(days=91), {"days"}),
        (ReportDraft(kind="source"), {"source"}),
        (ReportDraft(kind="source", source="gone"), {"source"}),
        (ReportDraft(source="airports"), {"source"}),
        (ReportDraft(channels=("gone",)), {"channels"}),
        (ReportDraft(kind="x", format="y", days=-1), {"kind", "format", "days"}),
    ],
)
def test_what_could_not_be_written_is_refused(
    session: Session, now: datetime, draft: ReportDraft, fields: set[str]
) -> None:
    with pytest.raises(Invalid) as refused:
        service.request_report(session, draft, by=COMMAND, now=now)
    assert set(refused.value.errors) == fields
    assert session.scalar(select(func.count()).select_from(Job)) == 0


def test_a_report_stands_where_its_job_stands(session: Session, now: datetime) -> None:
    report = service.request_report(session, ReportDraft(), by=COMMAND, now=now)
    assert states(session) == ["queued"]
    session.get_one(Job, report.job_id).state = JobState.DEAD
    session.flush()
    assert states(session) == ["dead"]
    assert service.finish_report(session, report.id, size=7, now=now)
    assert not service.finish_report(session, report.id, size=8, now=now)
    assert states(session) == ["ready"]
    session.refresh(report)
    assert report.size == 8
    report.finished_at, report.job_id = None, None
    session.flush()
    assert states(session) == ["lost"]


def states(session: Session) -> list[str]:
    return [view.state for view in list_reports(session, Cursor()).rows]


def test_the_list_is_paged_newest_first_and_by_kind(session: Session, now: datetime) -> None:
    ids = [service.request_report(session, ReportDraft(), by=COMMAND, now=now).id for _ in range(5)]
    first = list_reports(session, Cursor(), size=2)
    assert [view.id for view in first.rows] == [ids[4], ids[3]]
    second = list_reports(session, Cursor(before=first.older), size=2)
    assert [view.id for view in second.rows] == [ids[2], ids[1]]
    assert list_reports(session, Cursor(), kind="source").rows == []


def test_without_a_file_there_is_nothing_to_download(
    session: Session, now: datetime, tmp_path: Path
) -> None:
    report = service.request_report(session, ReportDraft(), by=COMMAND, now=now)
    with pytest.raises(NotFound, match="not written yet"):
        service.find_file(session, report.id, folder=tmp_path)
    service.finish_report(session, report.id, size=7, now=now)
    with pytest.raises(NotFound, match="not in the folder"):
        service.find_file(session, report.id, folder=tmp_path)
    write_whole(path_of(tmp_path, report.id, "html"), [b"x"])
    assert service.find_file(session, report.id, folder=tmp_path)[1].read_bytes() == b"x"


@pytest.mark.usefixtures("app")
def test_a_deletion_takes_the_file_once_it_stands(
    session: Session, now: datetime, tmp_path: Path
) -> None:
    report = service.request_report(session, ReportDraft(), by=COMMAND, now=now)
    report_id, job_id = report.id, report.job_id
    path = path_of(tmp_path, report_id, "html")
    write_whole(path, [b"x"])
    session.commit()
    service.remove_report(
        session, report_id, folder=tmp_path, by=COMMAND, now=now, reason="Not needed"
    )
    assert path.exists()
    session.commit()
    assert not path.exists()
    assert session.get_one(Job, job_id).state == JobState.CANCELED
    assert history(session, "report", str(report_id))[0].action == "report.deleted"
    with pytest.raises(NotFound):
        service.remove_report(
            session, report_id, folder=tmp_path, by=COMMAND, now=now, reason="Again"
        )


@pytest.mark.parametrize("reason", ["", " ", "x" * 501])
def test_a_deletion_wants_a_reason(
    session: Session, now: datetime, tmp_path: Path, reason: str
) -> None:
    report = service.request_report(session, ReportDraft(), by=COMMAND, now=now)
    with pytest.raises(Invalid):
        service.remove_report(
            session, report.id, folder=tmp_path, by=COMMAND, now=now, reason=reason
        )


def old_file(path: Path, at: datetime) -> Path:
    path.write_bytes(b"x")
    os.utime(path, (at.timestamp(), at.timestamp()))
    return path


def walk(step: Callable[..., service.Leftovers], folder: Path, before: datetime) -> list[int]:
    """Go through all leftovers two at a time; return how many each step removed."""
    gone, after, over = [], 0, False
    while not over:
        with transaction() as writing:
            found = step(writing, folder=folder, before=before, after=after, most=2)
        gone.append(found.number)
        after, over = found.last, found.over
    return gone


def test_files_without_a_report_go_once_they_are_old(
    session: Session, now: datetime, tmp_path: Path
) -> None:
    del session
    old, limit = now - timedelta(days=2), now - timedelta(days=1)
    with transaction() as writing:
        report = service.request_report(writing, ReportDraft(), by=COMMAND, now=old)
        kept = [old_file(path_of(tmp_path, report.id, "html"), old)]
        numbers = [report.id + more for more in range(5)]
    kept += [
        old_file(tmp_path / name, now)
        for name in (f"report-{numbers[1]}.json", ".report-7.html.abc123.part")
    ]
    kept += [
        old_file(tmp_path / name, old)
        for name in ("notes.txt", "report-1.exe", "report-01.csv", "report-x.csv", "a.part")
    ]
    gone = [
        old_file(tmp_path / name, old)
        for name in (
            f"report-{numbers[0]}.csv",  # a report of that number is no report of that format
            *(f"report-{number}.csv" for number in numbers[1:]),
            ".report-7.html.x_1y2z3w.part",
        )
    ]
    assert sum(walk(service.remove_stray_files, tmp_path, limit)) == len(gone)
    assert sorted(tmp_path.iterdir()) == sorted(kept)
    assert walk(service.remove_stray_files, tmp_path / "nowhere", limit) == [0]


def test_reports_without_a_file_go_once_they_are_old(
    session: Session, now: datetime, tmp_path: Path
) -> None:
    del session
    old, limit = now - timedelta(days=2), now - timedelta(days=1)

    def report(at: datetime, *, finished: bool, job: bool = True, file: bool = False) -> int:
        with transaction() as writing:
            made = service.request_report(writing, ReportDraft(), by=COMMAND, now=at)
            made.finished_at = at if finished else None
            made.job_id = made.job_id if job else None
            if file:
                path_of(tmp_path, made.id, "html").write_bytes(b"x")
            return made.id

    kept = [
        report(old, finished=True, file=True),
        report(old, finished=False),
        report(now, finished=True),
        report(now, finished=False, job=False),
    ]
    for _ in range(3):
        report(old, finished=True)
    report(old, finished=False, job=False)
    assert sum(walk(service.remove_lost_reports, tmp_path, limit)) == 4
    with transaction() as reading:
        assert list(reading.scalars(select(Report.id).order_by(Report.id))) == kept


def test_a_folder_that_is_not_there_takes_no_reports_with_it(
    session: Session, now: datetime, tmp_path: Path
) -> None:
    del session
    with transaction() as writing:
        service.request_report(writing, ReportDraft(), by=COMMAND, now=now).finished_at = now
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert walk(service.remove_lost_reports, folder, now + timedelta(days=2)) == [0]


def test_old_reports_go_with_their_files_some_at_a_time(
    session: Session, now: datetime, tmp_path: Path
) -> None:
    del session
    with transaction() as writing:
        for days in (0, 89, 91, 92, 93):
            report = service.request_report(
                writing, ReportDraft(), by=COMMAND, now=now - timedelta(days=days)
            )
            write_whole(path_of(tmp_path, report.id, "html"), [b"x"])
    gone = []
    for _ in range(3):
        with transaction() as writing:
            gone.append(
                service.remove_old_reports(
                    writing, before=now - timedelta(days=90), most=2, folder=tmp_path
                )
            )
    assert gone == [2, 1, 0]
    assert len(list(tmp_path.iterdir())) == 2
    with transaction() as reading:
        assert reading.scalar(select(func.count()).select_from(Report)) == 2
