"""What people write of alerts: rules, silences, acknowledgements.

Never judges what was measured: that is in ``evaluating``.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Delete, delete, select, update
from sqlalchemy.exc import IntegrityError

from webapp.actors import Actor
from webapp.alerts.models import (
    Alert,
    AlertHead,
    AlertReport,
    AlertRule,
    AlertSilence,
    AlertTransition,
)
from webapp.alerts.values import (
    MAX_CHANNELS,
    MAX_COOLDOWN,
    MAX_FOR,
    MAX_LABEL,
    MAX_NAME,
    MAX_SAMPLE,
    MAX_SILENCE,
    MAX_THRESHOLD,
    MAX_WINDOW,
    METRICS,
    MINUTE,
    AlertEvent,
    AlertState,
    Direction,
    Metric,
    RuleDraft,
    Severity,
    SilenceDraft,
)
from webapp.audit.service import record
from webapp.audit.values import Change
from webapp.channels.service import check_channels
from webapp.db import DbSession
from webapp.errors import Conflict, FieldErrors, Invalid, NotFound
from webapp.reasons import UNFIT_TEXT, checked_reason, complaint_about_reason
from webapp.versions import FIRST_VERSION, refuse_outdated, remove_version, write_version

NAME: Final = re.compile(rf"[a-z0-9][a-z0-9._-]{{0,{MAX_NAME - 1}}}\Z")
# Pages have these places in the URL.
RESERVED_NAMES: Final = frozenset({"new", "preview"})
_FIELDS: Final = tuple(item.name for item in fields(RuleDraft))


def create_rule(
    session: DbSession, draft: RuleDraft, *, by: Actor, now: datetime, reason: str
) -> AlertRule:
    """Make a rule; :class:`Invalid` names every field that breaks one of ours."""
    draft = checked(session, draft, reason=reason)
    rule = AlertRule(
        **_stored(draft),
        version=FIRST_VERSION,
        created_at=now,
        created_by=by.name,
        updated_at=now,
        updated_by=by.name,
    )
    try:
        # The unique name settles the race between two who make the same rule.
        with session.begin_nested():
            session.add(rule)
    except IntegrityError:
        raise Conflict(f"There is a rule {draft.name!r} already.") from None
    given = {field: Change(None, value) for field, value in _stored(draft).items()}
    given.pop("name")
    _audit(session, rule.name, "alert_rule.created", by=by, now=now, reason=reason, changes=given)
    return rule


def change_rule(
    session: DbSession,
    draft: RuleDraft,
    *,
    by: Actor,
    now: datetime,
    reason: str,
    version: int | None = None,
) -> AlertRule:
    """Make the rule of that name what the draft says; the same again changes nothing.

    ``version`` is the one that the change was made from: :class:`Conflict` where it has passed.
    The next evaluation goes by it.
    """
    rule = find_rule(session, draft.name)
    refuse_outdated(rule, version)
    draft = checked(session, draft, reason=reason)
    before, after = _stored(draft_of(rule)), _stored(draft)
    changes = {
        field: Change(before[field], after[field])
        for field in _FIELDS
        if before[field] != after[field]
    }
    if not changes:
        return rule
    values = {field: change.new for field, change in changes.items()}
    write_version(session, rule, values, by=by, now=now)
    _audit(session, rule.name, "alert_rule.updated", by=by, now=now, reason=reason, changes=changes)
    return rule


def remove_rule(
    session: DbSession,
    name: str,
    *,
    by: Actor,
    now: datetime,
    reason: str,
    version: int | None = None,
) -> None:
    """Remove a rule; what fires by it alone is over at the next evaluation, its history stays."""
    rule = find_rule(session, name)
    refuse_outdated(rule, version)
    reason = checked_reason(reason)
    last = {
        field: Change(value, None)
        for field, value in _stored(draft_of(rule)).items()
        if field != "name"
    }
    remove_version(session, rule)
    _audit(session, name, "alert_rule.removed", by=by, now=now, reason=reason, changes=last)


def find_rule(session: DbSession, name: str) -> AlertRule:
    """Return one rule; :class:`NotFound` where there is none of that name."""
    found = select(AlertRule).where(AlertRule.name == name)
    rule = session.scalar(found.execution_options(populate_existing=True))
    if rule is None:
        raise NotFound(f"There is no rule {name!r}.")
    return rule


def draft_of(rule: AlertRule) -> RuleDraft:
    """Return a stored rule as the draft that would make it anew."""
    values = {field: getattr(rule, field) for field in _FIELDS}
    return RuleDraft(**values | {"channels": tuple(rule.channels)})


def checked(session: DbSession, draft: RuleDraft, *, reason: str) -> RuleDraft:
    """Return a draft as it is stored; :class:`Invalid` with all that is wrong with it."""
    errors: dict[str, list[str]] = {
        field: [message] for field, complain in _COMPLAINTS.items() if (message := complain(draft))
    }
    try:
        check_channels(session, draft.channels)
    except Invalid as error:
        errors.setdefault("channels", []).extend(error.errors["channels"])
    if message := complaint_about_reason(reason):
        errors["reason"] = [message]
    _refuse(errors)
    return replace(
        draft,
        channels=tuple(dict.fromkeys(draft.channels)),
        threshold=float(draft.threshold),
    )


def _refuse(errors: FieldErrors) -> None:
    if errors:
        place, messages = next(iter(errors.items()))
        raise Invalid(f"{place}: {messages[0]}", errors)


def _about_name(draft: RuleDraft) -> str | None:
    if NAME.match(draft.name) and draft.name not in RESERVED_NAMES:
        return None
    return (
        f"Use 1 to {MAX_NAME} small letters, digits, dots, dashes and underscores, "
        f"but not just {' or '.join(sorted(RESERVED_NAMES))}."
    )


def _about_scope(draft: RuleDraft) -> str | None:
    if draft.metric in set(Metric) and draft.scope and not METRICS[Metric(draft.metric)].label:
        return "This metric is one number, without a scope."
    return _about_text(draft.scope)


def _about_text(text: str) -> str | None:
    if len(text) > MAX_LABEL:
        return f"Use at most {MAX_LABEL} characters."
    return "Holds characters that cannot be shown." if UNFIT_TEXT.search(text) else None


def _about_threshold(draft: RuleDraft) -> str | None:
    number = draft.threshold
    if not math.isfinite(number) or not 0 <= number <= MAX_THRESHOLD:
        return f"A number from 0 to {MAX_THRESHOLD:,.0f}."
    return None


def _one_of(field: str, words: type[Metric] | type[Direction] | type[Severity]) -> "_Complain":
    def complain(draft: RuleDraft) -> str | None:
        return None if getattr(draft, field) in set(words) else f"One of {', '.join(words)}."

    return complain


def _whole(field: str, least: int, most: int) -> "_Complain":
    def complain(draft: RuleDraft) -> str | None:
        if least <= getattr(draft, field) <= most:
            return None
        return f"A whole number from {least:,} to {most:,}."

    return complain


_Complain = Callable[[RuleDraft], str | None]
_COMPLAINTS: Final[Mapping[str, _Complain]] = {
    "name": _about_name,
    "metric": _one_of("metric", Metric),
    "scope": _about_scope,
    "comparison": _one_of("comparison", Direction),
    "threshold": _about_threshold,
    "window_seconds": _whole("window_seconds", MINUTE, MAX_WINDOW),
    "min_sample": _whole("min_sample", 1, MAX_SAMPLE),
    "severity": _one_of("severity", Severity),
    "for_seconds": _whole("for_seconds", 0, MAX_FOR),
    "cooldown_seconds": _whole("cooldown_seconds", MINUTE, MAX_COOLDOWN),
    "channels": lambda draft: (
        f"At most {MAX_CHANNELS}." if len(draft.channels) > MAX_CHANNELS else None
    ),
}


def _stored(draft: RuleDraft) -> dict[str, Any]:
    values = {field: getattr(draft, field) for field in _FIELDS}
    return values | {"channels": list(draft.channels)}


def find_alert(session: DbSession, alert_id: int) -> Alert:
    """Return one alert; :class:`NotFound` where there is none of that number."""
    alert = session.get(Alert, alert_id, populate_existing=True)
    if alert is None:
        raise NotFound(f"There is no alert {alert_id}.")
    return alert


def acknowledge(
    session: DbSession, alert_id: int, *, by: Actor, now: datetime, note: str = ""
) -> Alert:
    """Say that somebody looks after an alert: it is not told again unless it gets worse.

    :class:`Conflict` where it does not fire, or somebody else has said so.
    """
    note = checked_reason(note, field="note", missing=None)
    alert = find_alert(session, alert_id)
    # Conditional, since an evaluation may end it at this moment, and somebody else be first.
    done = session.execute(
        update(Alert)
        .where(Alert.id == alert_id, Alert.state == AlertState.FIRING)
        .values(state=AlertState.ACKNOWLEDGED, acknowledged_at=now, acknowledged_by=by.name)
        .execution_options(synchronize_session=False)
    )
    if not done.rowcount:  # type: ignore[attr-defined]
        alert = find_alert(session, alert_id)
        whose = f" by {alert.acknowledged_by}" if alert.state == AlertState.ACKNOWLEDGED else ""
        raise Conflict(f"Alert {alert_id} is {alert.state}{whose}, not firing.")
    alert = find_alert(session, alert_id)
    session.add(
        AlertTransition(
            alert_id=alert_id,
            at=now,
            event=AlertEvent.ACKNOWLEDGED,
            state=AlertState.ACKNOWLEDGED,
            severity=alert.severity,
            rule=alert.rule,
            value=alert.value,
            comparison=alert.comparison,
            threshold=alert.threshold,
            sample=alert.sample,
            channels=[],
            actor=by.name,
            note=note or None,
        )
    )
    record(
        session,
        by=by,
        at=now,
        action="alert.acknowledged",
        subject="alert",
        name=str(alert_id),
        reason=note,
        changes={"state": Change(AlertState.FIRING, AlertState.ACKNOWLEDGED)},
    )
    session.flush()
    return alert


def create_silence(
    session: DbSession, draft: SilenceDraft, *, by: Actor, now: datetime
) -> AlertSilence:
    """Have nobody told of some alerts for a while; they change their state all the same."""
    errors: dict[str, list[str]] = {}
    if not draft.rule and not draft.label:
        errors["rule"] = ["Name a rule, a label or both."]
    for field in ("rule", "label"):
        if message := _about_text(getattr(draft, field)):
            errors[field] = [message]
    if draft.rule and not errors and not _is_rule(session, draft.rule):
        errors["rule"] = [f"There is no rule {draft.rule!r}."]
    if not now < draft.ends_at <= now + MAX_SILENCE:
        errors["ends_at"] = [f"A time within the next {MAX_SILENCE.days} days."]
    if message := complaint_about_reason(draft.reason):
        errors["reason"] = [message]
    _refuse(errors)
    silence = AlertSilence(
        rule=draft.rule,
        label=draft.label,
        reason=draft.reason.strip(),
        ends_at=draft.ends_at,
        created_at=now,
        created_by=by.name,
    )
    session.add(silence)
    session.flush()
    changes = {
        field: Change(None, getattr(draft, field))
        for field in ("rule", "label", "ends_at")
        if getattr(draft, field)
    }
    _audit_silence(
        session, silence, "created", by=by, now=now, reason=draft.reason, changes=changes
    )
    return silence


def _is_rule(session: DbSession, name: str) -> bool:
    return session.scalar(select(AlertRule.id).where(AlertRule.name == name)) is not None


def end_silence(
    session: DbSession, silence_id: int, *, by: Actor, now: datetime, reason: str
) -> AlertSilence:
    """End a silence now: what fires is told at the next evaluation.  409 where it has ended."""
    reason = checked_reason(reason)
    before = find_silence(session, silence_id).ends_at
    # Of two who end it, one does.
    ended = session.execute(
        update(AlertSilence)
        .where(AlertSilence.id == silence_id, AlertSilence.ends_at > now)
        .values(ends_at=now, ended_by=by.name)
        .execution_options(synchronize_session=False)
    )
    if not ended.rowcount:  # type: ignore[attr-defined]
        raise Conflict(f"Silence {silence_id} has ended already.")
    silence = find_silence(session, silence_id)
    changes = {"ends_at": Change(before, now)}
    _audit_silence(session, silence, "ended", by=by, now=now, reason=reason, changes=changes)
    return silence


def find_silence(session: DbSession, silence_id: int) -> AlertSilence:
    """Return one silence; :class:`NotFound` where there is none of that number."""
    silence = session.get(AlertSilence, silence_id, populate_existing=True)
    if silence is None:
        raise NotFound(f"There is no silence {silence_id}.")
    return silence


def last_evaluation(session: DbSession) -> datetime | None:
    """Return the minute that was evaluated last, None where none ever was."""
    return session.scalar(select(AlertHead.evaluated_at))


def remove_old(session: DbSession, *, before: datetime, most: int) -> int:
    """Remove some of what ended before a time: alerts with their history, silences, reports."""
    ended = select(Alert.id).where(Alert.ended_at < before).order_by(Alert.ended_at).limit(most)
    over = select(AlertSilence.id).where(AlertSilence.ends_at < before).limit(most)
    told = select(AlertReport.id).where(AlertReport.at < before).limit(most)
    session.execute(
        delete(AlertTransition)
        .where(AlertTransition.alert_id.in_(ended))
        .execution_options(synchronize_session=False)
    )
    gone = (
        delete(Alert).where(Alert.id.in_(ended)),
        delete(AlertSilence).where(AlertSilence.id.in_(over)),
        delete(AlertReport).where(AlertReport.id.in_(told)),
    )
    return sum(_number_of(session, statement) for statement in gone)


def _number_of(session: DbSession, statement: Delete) -> int:
    result = session.execute(statement.execution_options(synchronize_session=False))
    return int(result.rowcount)  # type: ignore[attr-defined]


def _audit(  # noqa: PLR0913 - all but the first three are named at the call
    session: DbSession,
    name: str,
    action: str,
    *,
    by: Actor,
    now: datetime,
    reason: str,
    changes: Mapping[str, Change],
) -> None:
    record(
        session,
        by=by,
        at=now,
        action=action,
        subject="alert_rule",
        name=name,
        reason=reason,
        changes=changes,
    )


def _audit_silence(  # noqa: PLR0913 - all but the first three are named at the call
    session: DbSession,
    silence: AlertSilence,
    what: str,
    *,
    by: Actor,
    now: datetime,
    reason: str,
    changes: Mapping[str, Change],
) -> None:
    record(
        session,
        by=by,
        at=now,
        action=f"alert_silence.{what}",
        subject="alert_silence",
        name=str(silence.id),
        reason=reason,
        changes=changes,
    )
