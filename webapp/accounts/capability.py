"""What this capability hands to the application."""

from webapp.accounts.commands import tokens, users
from webapp.accounts.pages import blueprint, setup
from webapp.web.capability import Capability

accounts = Capability(
    name="accounts", blueprints=(blueprint,), commands=(users, tokens), setup=setup
)
