"""Segments and groups over JSON: what flags share."""

from flask import Blueprint, Response, url_for

from webapp.clock import now
from webapp.db import db
from webapp.flags import shared
from webapp.flags.relations import (
    flags_in_group,
    flags_with_segment,
    get_group,
    get_segment,
    list_groups,
    list_segments,
)
from webapp.flags.responses import GroupResponse, RemovalQuery, SegmentResponse
from webapp.flags.schemas import (
    GroupUpdate,
    NewGroup,
    NewSegment,
    SegmentUpdate,
    group_as_json,
    segment_as_json,
)
from webapp.flags.shared import Trace
from webapp.flags.values import GroupDraft
from webapp.roles import Role
from webapp.web.access import actor, requires
from webapp.web.answers import json_answer
from webapp.web.openapi import Collection, describes
from webapp.web.requests import makes
from webapp.web.schemas import Removal, read_json, read_removal

blueprint = Blueprint("flags_shared_api", __name__, url_prefix="/api/v1")


@blueprint.get("/segments")
@requires(Role.VIEWER)
@describes({200: Collection[SegmentResponse]})
def segments() -> Response:
    """List every segment, by name."""
    found = list_segments(db.session)
    items = [segment_as_json(item.segment, item.flags) for item in found]
    return json_answer({"items": items, "total": len(items)})


@blueprint.post("/segments")
@requires(Role.ADMIN)
@describes({201: SegmentResponse}, body=NewSegment)
@makes
def create_segment() -> Response:
    """Make a segment."""
    body = read_json(NewSegment)
    segment = shared.create_segment(db.session, body.draft(), _trace(body.reason))
    db.session.commit()
    response = json_answer(segment_as_json(segment, ()), status=201)
    response.headers["Location"] = url_for("flags_shared_api.show_segment", name=segment.name)
    return response


@blueprint.get("/segments/<name>")
@requires(Role.VIEWER)
@describes({200: SegmentResponse})
def show_segment(name: str) -> Response:
    """Write one segment."""
    segment = get_segment(db.session, name)
    return json_answer(segment_as_json(segment, flags_with_segment(db.session, name)))


@blueprint.put("/segments/<name>")
@requires(Role.ADMIN)
@describes({200: SegmentResponse}, body=SegmentUpdate)
def change_segment(name: str) -> Response:
    """Change the fields given."""
    body = read_json(SegmentUpdate)
    stands = shared.segment_draft(get_segment(db.session, name))
    segment = shared.change_segment(
        db.session, body.draft(stands), _trace(body.reason), version=body.version
    )
    db.session.commit()
    return json_answer(segment_as_json(segment, flags_with_segment(db.session, name)))


@blueprint.delete("/segments/<name>")
@requires(Role.ADMIN)
@describes({204: None}, body=Removal, query=RemovalQuery)
def remove_segment(name: str) -> Response:
    """Remove a segment that no flag uses."""
    shared.remove_segment(db.session, name, _trace(read_removal().reason))
    db.session.commit()
    return Response(status=204)


@blueprint.get("/feature-flag-groups")
@requires(Role.VIEWER)
@describes({200: Collection[GroupResponse]})
def groups() -> Response:
    """List every group, by name."""
    items = [group_as_json(item.group, item.flags) for item in list_groups(db.session)]
    return json_answer({"items": items, "total": len(items)})


@blueprint.post("/feature-flag-groups")
@requires(Role.ADMIN)
@describes({201: GroupResponse}, body=NewGroup)
@makes
def create_group() -> Response:
    """Make a group."""
    body = read_json(NewGroup)
    group = shared.create_group(db.session, body.draft(), _trace(body.reason))
    db.session.commit()
    response = json_answer(group_as_json(group, ()), status=201)
    response.headers["Location"] = url_for("flags_shared_api.show_group", name=group.name)
    return response


@blueprint.get("/feature-flag-groups/<name>")
@requires(Role.VIEWER)
@describes({200: GroupResponse})
def show_group(name: str) -> Response:
    """Write one group."""
    group = get_group(db.session, name)
    return json_answer(group_as_json(group, flags_in_group(db.session, name)))


@blueprint.put("/feature-flag-groups/<name>")
@requires(Role.ADMIN)
@describes({200: GroupResponse}, body=GroupUpdate)
def change_group(name: str) -> Response:
    """Change a group's description."""
    body = read_json(GroupUpdate)
    draft = GroupDraft(name=name, description=body.description)
    group = shared.change_group(db.session, draft, _trace(body.reason), version=body.version)
    db.session.commit()
    return json_answer(group_as_json(group, flags_in_group(db.session, name)))


@blueprint.delete("/feature-flag-groups/<name>")
@requires(Role.ADMIN)
@describes({204: None}, body=Removal, query=RemovalQuery)
def remove_group(name: str) -> Response:
    """Remove a group that no flag is in."""
    shared.remove_group(db.session, name, _trace(read_removal().reason))
    db.session.commit()
    return Response(status=204)


def _trace(reason: str) -> Trace:
    return Trace(actor(), now(), reason)
