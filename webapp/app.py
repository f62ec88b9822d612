"""The application factory: what is registered, in order, and nothing else."""

from pathlib import Path

from flask import Flask
from flask_migrate import Migrate

from webapp import collect_as_usual
from webapp.accounts.capability import accounts
from webapp.adoptions.capability import adoptions
from webapp.alerts.capability import alerts
from webapp.audit.capability import audit
from webapp.breakers.capability import breakers
from webapp.channels.capability import channels
from webapp.cli import register_commands
from webapp.db import db, engine_options
from webapp.dead_letters.capability import dead_letters
from webapp.demo.capability import demo
from webapp.flags.capability import flags
from webapp.guards.capability import guards
from webapp.health.capability import health
from webapp.idempotency.capability import idempotency
from webapp.jobs.capability import jobs
from webapp.limits.capability import limits
from webapp.logs import configure_logs
from webapp.ofrep.capability import ofrep
from webapp.outbound.capability import outbound
from webapp.overview.capability import overview
from webapp.predictions.capability import predictions
from webapp.reference.capability import reference
from webapp.reports.capability import reports
from webapp.retries.capability import retries
from webapp.schedules.capability import schedules
from webapp.settings import Settings
from webapp.sources.capability import sources
from webapp.system.capability import system
from webapp.telemetry.capability import telemetry
from webapp.telemetry.tracing import register_traces
from webapp.unleash.capability import unleash
from webapp.web.access import register_access
from webapp.web.aliases import register_aliases
from webapp.web.assets import register_assets
from webapp.web.before_flask import register_only_threads
from webapp.web.capability import register_capabilities
from webapp.web.credentials import register_credentials
from webapp.web.cross_origin import register_cross_origin
from webapp.web.cursors import register_cursors
from webapp.web.filters import register_filters
from webapp.web.htmx import register_htmx
from webapp.web.limits import register_limits
from webapp.web.masking import register_masking
from webapp.web.menu import register_menu
from webapp.web.metering import register_request_metrics
from webapp.web.patterns import register_patterns
from webapp.web.problems import register_problems
from webapp.web.request_log import register_request_log
from webapp.web.requests import register_requests
from webapp.web.security import register_proxies, register_security
from webapp.web.theme import register_theme
from webapp.web.transport import register_transport
from webapp.workers.capability import workers

ROOT = Path(__file__).resolve().parent.parent

# In the order of the navigation.
CAPABILITIES = (
    overview,
    flags,
    ofrep,
    unleash,
    adoptions,
    jobs,
    dead_letters,
    schedules,
    workers,
    breakers,
    sources,
    predictions,
    reports,
    alerts,
    channels,
    audit,
    accounts,
    system,
    health,
    outbound,
    retries,
    guards,
    limits,
    telemetry,
    reference,
    demo,
    # Last: it stands before the views of all others.
    idempotency,
)


def create_app(settings: Settings) -> Flask:
    """Build one application from one configuration."""
    configure_logs(settings.log_level)
    app = Flask(
        __name__, template_folder=str(ROOT / "templates"), static_folder=str(ROOT / "static")
    )
    app.extensions["settings"] = settings
    app.config.update(
        SQLALCHEMY_DATABASE_URI=settings.database_url,
        SQLALCHEMY_ENGINE_OPTIONS=engine_options(settings.database_url),
    )
    db.init_app(app)
    Migrate(app, db, directory=str(ROOT / "migrations"), render_as_batch=True)
    # First: what comes later, and is traced, happens inside of the request's span.
    register_traces(app, settings)
    register_request_metrics(app)
    register_requests(app)
    register_request_log(app)
    register_problems(app)
    register_transport(app, settings)
    register_limits(app, settings)
    register_security(app, settings)
    register_access(app)
    register_htmx(app)
    register_cursors(app)
    register_assets(app)
    register_filters(app)
    register_masking(app)
    register_menu(app)
    register_theme(app)
    register_patterns(app, settings)
    register_only_threads(app)
    register_aliases(app)
    register_capabilities(app, CAPABILITIES)
    register_commands(app)
    register_credentials(app)
    register_cross_origin(app, settings)
    register_proxies(app, settings)
    collect_as_usual()
    return app
