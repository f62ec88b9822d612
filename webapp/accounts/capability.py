"""What this capability hands to the application."""

from webapp.accounts import api, pages
from webapp.accounts.commands import tokens, users
from webapp.web.capability import Capability

accounts = Capability(
    name="accounts",
    blueprints=(pages.blueprint, api.blueprint),
    commands=(users, tokens),
    setup=pages.setup,
)
