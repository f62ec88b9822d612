"""The pages of flags: the list, and one flag with a place to try it.

What changes flags stands in ``edit_pages`` and ``action_pages``, on the same blueprint.
"""

from typing import Final

from flask import Blueprint, Response, request, url_for

from webapp.audit.service import history
from webapp.audit.values import Entry
from webapp.clock import now
from webapp.db import db
from webapp.flags.evaluation import state_of
from webapp.flags.figures import (
    DAY_HOURS,
    recent_usage,
    subjects_seen,
    unknown_names,
    usage_of,
)
from webapp.flags.forms import FlagForm, form_of
from webapp.flags.models import FeatureFlag
from webapp.flags.playground import Question, answered, is_asked, question_in
from webapp.flags.presentation import choices_of, overrides_of, resuming, shortened
from webapp.flags.progress import guards_of
from webapp.flags.queries import (
    MAX_SKIP,
    PAGE_SIZE,
    FlagFilters,
    get_flag,
    list_flags,
    staleness_of_flag,
)
from webapp.flags.relations import states_of
from webapp.flags.rollout import marks
from webapp.flags.service import draft_of
from webapp.flags.snapshot import flag_store
from webapp.flags.snippets import curl_code, openfeature_code, python_code, unleash_code
from webapp.flags.values import FlagDefinition
from webapp.flags.wording import condition_in_words, some_of
from webapp.roles import Role
from webapp.unleash.documents import losses_of
from webapp.web.access import principal, requires
from webapp.web.cursors import read_search, read_skip
from webapp.web.htmx import render
from webapp.web.requests import current_settings

blueprint = Blueprint("flags", __name__, url_prefix="/flags")

HISTORY: Final = 20


@blueprint.get("")
@requires(Role.VIEWER)
def index() -> Response:
    """List the flags that the filters in the URL ask for."""
    filters = FlagFilters(
        q=read_search(),
        state=request.args.get("state", ""),
        environment=request.args.get("environment", ""),
        tag=request.args.get("tag", ""),
        group=request.args.get("group", ""),
        stale=request.args.get("stale", ""),
        rollout=request.args.get("rollout", ""),
        sort=request.args.get("sort", "name"),
    )
    at, counting = now(), flag_store().usage is not None
    skip = read_skip(MAX_SKIP)
    found = list_flags(db.session, filters, now=at, counting=counting, skip=skip)
    return render(
        "flags/index.html",
        "flags/_table.html",
        filters=filters,
        found=found,
        page_size=PAGE_SIZE,
        choices=choices_of(found),
        usage=recent_usage(db.session, [flag.name for flag in found.rows], now=at),
        unknown=unknown_names(db.session, now=at),
    )


@blueprint.get("/<name>")
@requires(Role.VIEWER)
def show(name: str) -> Response:
    """Show one flag: how it stands, its rollout, its history, and a place to try it."""
    flag = get_flag(db.session, name)
    return flag_page(flag, form_of(draft_of(flag), flag.version))


def flag_page(
    flag: FeatureFlag,
    form: FlagForm,
    *,
    status: int = 200,
    meanwhile: tuple[Entry, ...] = (),
) -> Response:
    """Answer with the page of a flag; ``form`` holds the rollout as it stands or was typed."""
    at, counting = now(), flag_store().usage is not None
    entries = history(db.session, "flag", flag.name, HISTORY)
    usage = usage_of(db.session, flag.name, hours=DAY_HOURS, now=at)
    stale = staleness_of_flag(
        db.session, flag, last_evaluated_at=usage.last_evaluated_at, now=at, counting=counting
    )
    definition, rollout = flag.definition(), flag.rollout()
    return render(
        "flags/show.html",
        "flags/_rollout.html",
        "flags/_plan.html",
        "flags/_guards.html",
        "flags/_status.html",
        "flags/_targeting.html",
        "flags/_usage.html",
        "flags/_history.html",
        "flags/_playground.html",
        status=status,
        flag=flag,
        definition=definition,
        form=form,
        state=state_of(definition, now=at, archived=flag.archived_at is not None),
        rollout=rollout,
        marks=list(zip(marks(rollout), rollout.plan, strict=True)),
        resuming=resuming(rollout),
        guards=guards_of(db.session, flag, alpha=current_settings().flag_false_alarm_rate),
        usage=usage,
        population=subjects_seen(db.session, flag.name, now=at),
        staleness=stale,
        counting=counting,
        overrides=overrides_of(flag.environment_overrides),
        whitelist=some_of(flag.whitelist),
        blacklist=some_of(flag.blacklist),
        states=states_of(db.session, [item.flag for item in definition.prerequisites], now=at),
        in_words=condition_in_words,
        entries=shortened(entries),
        meanwhile=shortened(meanwhile),
        tried=_tried(flag),
        code=_code(definition),
        losses=losses_of(definition, flag_store().current().found),
    )


def _tried(flag: FeatureFlag) -> Question:
    """Answer the question in the URL."""
    question = question_in(
        request.args, bound=principal().environment, own=flag_store().environment
    )
    return answered(db.session, question, flag, now=now()) if is_asked(request.args) else question


def _code(flag: FlagDefinition) -> dict[str, str]:
    """Write how programs ask for a flag, by what they ask with."""
    root = request.root_url.rstrip("/")
    address = url_for("flags_evaluation_api.evaluate_flag", name=flag.name, _external=True)
    return {
        "Python": python_code(flag),
        "curl": curl_code(flag, address),
        "OpenFeature": openfeature_code(flag, root),
        "Unleash": unleash_code(flag, root),
    }
