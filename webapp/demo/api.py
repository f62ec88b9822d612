"""The demo's addresses, which answer where ``DEMO`` is true and are not there otherwise."""

from flask import Blueprint, Response, jsonify, request

from webapp.demo.data import news, page_of_areas
from webapp.errors import NotFound
from webapp.web.access import public
from webapp.web.requests import current_settings

blueprint = Blueprint("demo", __name__, url_prefix="/demo")
MOST_CODE = 3


@blueprint.before_request
def _only_where_wanted() -> None:
    if not current_settings().demo:
        raise NotFound("There is no demo here: DEMO is not true.")


@blueprint.get("/areas")
@public
def areas() -> Response:
    """Answer metropolitan areas, ten at a time: ``next`` is what ``after`` is to be then."""
    return jsonify(page_of_areas(request.args.get("after", "")[:MOST_CODE]))


@blueprint.get("/news.xml")
@public
def news_feed() -> Response:
    """Answer what is new in this console, as RSS."""
    return Response(news(), mimetype="application/rss+xml")
