"""The evaluation edge: a process that decides flags and does nothing else.

It needs the flags and what tokens are worth, and has both from a console over HTTP, from Redis, or
from the database; it holds no session and serves no page.  What it answers, it answers by the same
short cut, views, schemas and errors as the web process.
"""

import gc
import os
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace

from flask import Flask, current_app
from sqlalchemy import Engine, create_engine

from webapp import clock, collect_as_usual
from webapp.accounts.database_tokens import DatabaseTokens
from webapp.accounts.http_tokens import HttpTokens
from webapp.accounts.redis_tokens import RedisTokens
from webapp.accounts.signatures import signing_key
from webapp.accounts.signed_tokens import SignedTokens
from webapp.accounts.token_sources import TokenSource
from webapp.accounts.tokens import TokenBook
from webapp.db import engine_options, reading
from webapp.flags import evaluation_api
from webapp.flags.feeds import DatabaseFeed, Feed, HttpFeed, RedisFeed
from webapp.flags.short_cut import register_short_cut as register_flag_short_cut
from webapp.flags.signals import RedisSignals, Signals
from webapp.flags.sinks import DatabaseSink, HttpSink, RedisSink
from webapp.flags.snapshot import FlagStore, provide_store
from webapp.flags.usage import UsageCounter, UsageSink
from webapp.health import api as health_api
from webapp.logs import configure_logs, get_logger
from webapp.ofrep import api as ofrep_api
from webapp.ofrep.short_cut import register_short_cut as register_ofrep_short_cut
from webapp.settings import ANY_HOST, Settings, SettingsError
from webapp.web.access import PROGRAMS_ONLY, Principal, register_access
from webapp.web.aliases import register_aliases
from webapp.web.credentials import register_credentials
from webapp.web.cross_origin import register_cross_origin
from webapp.web.limits import register_limits
from webapp.web.problems import register_problems
from webapp.web.requests import register_requests
from webapp.web.security import register_proxies, register_security
from webapp.web.transport import register_transport

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where an edge has its flags and tokens from, and whom it tells what it counted."""

    feed: Feed
    tokens: TokenSource
    sink: UsageSink
    signals: Signals | None = None


def create_edge_from_environment() -> Flask:
    """Build the edge as its server starts it; end the process where a setting is invalid."""
    try:
        app = create_edge(edge_settings(os.environ))
    except SettingsError as error:
        # A list of what to mend helps whoever starts this; a traceback would bury it.
        configure_logs("INFO")
        log.critical("settings_invalid", problems=error.problems)
        raise SystemExit(1) from None
    # What stays for ever is taken out of the collector's sight: its full rounds are pauses.
    gc.collect()
    gc.freeze()
    return app


def edge_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings; nothing is signed here, so any secret will do where none is given.

    So will any host name: there is no page whose links a false one could turn elsewhere.
    Nor is anything kept where the flags come from elsewhere: a read-only folder will do.
    """
    given = {name: value for name, value in environ.items() if value.strip()}
    ours = {"SECRET_KEY": secrets.token_urlsafe(48), "ALLOWED_HOSTS": ANY_HOST}
    if given.keys() & {"EDGE_UPSTREAM", "REDIS_URL", "DATABASE_URL"}:
        ours["INSTANCE_DIR"] = tempfile.gettempdir()
    return Settings.from_environment(ours | given)


def create_edge(settings: Settings) -> Flask:
    """Build an edge from one configuration."""
    configure_logs(settings.log_level)
    sources = sources_of(settings)
    store = FlagStore(
        sources.feed,
        environment=settings.flag_environment,
        poll_seconds=settings.flag_poll_seconds,
        trust_seconds=settings.flag_cache_ttl,
        usage=UsageCounter(sources.sink) if settings.flag_metrics else None,
        signals=sources.signals,
    )
    book = TokenBook(sources.tokens)

    def authenticate(text: str) -> Principal | None:
        grant = book.grant(text, clock.now())
        if grant is None:
            return None
        return Principal(grant.kind, grant.name, grant.role, grant.environment, grant.expires_at)

    app = Flask(__name__, static_folder=None)
    app.config[PROGRAMS_ONLY] = True
    app.extensions |= {"settings": settings, "flag_store": store, "token_book": book}
    app.extensions["authenticator"] = authenticate
    # Of several applications in one process, as in tests, each keeps its own.
    provide_store(store, lambda: current_app.extensions["flag_store"])
    register_requests(app)
    register_problems(app)
    register_transport(app, settings)
    register_limits(app, replace(settings, redis_url=""))
    register_security(app, settings)
    register_access(app)
    app.register_blueprint(evaluation_api.blueprint)
    app.register_blueprint(ofrep_api.blueprint)
    app.register_blueprint(health_api.edge_blueprint)
    register_aliases(app)
    register_flag_short_cut(app)
    register_ofrep_short_cut(app)
    register_credentials(app)
    register_cross_origin(app, settings)
    register_proxies(app, settings)
    collect_as_usual()
    return app


def sources_of(settings: Settings) -> Sources:
    """Choose what is nearest: the console that is named, else Redis, else the database."""
    if url := settings.edge_upstream:
        token = settings.edge_token
        return Sources(HttpFeed(url, token), HttpTokens(url), HttpSink(url, token))
    if url := settings.redis_url:
        signals = RedisSignals(url)
        return Sources(RedisFeed(signals), RedisTokens(url), RedisSink(url), signals)
    url = settings.database_url
    engine = _engine(url)
    known = DatabaseTokens(url)
    tokens = SignedTokens(known, known.standings, key=signing_key(settings.secret_key))
    return Sources(DatabaseFeed(lambda: reading(engine)), tokens, DatabaseSink(url))


def _engine(database_url: str) -> Engine:
    options = engine_options(database_url) | {"pool_size": 1, "max_overflow": 1}
    return create_engine(database_url, **options)
