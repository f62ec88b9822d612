"""What this capability hands to the application."""

from webapp.accounts import api, pages, token_pages, user_pages
from webapp.accounts.commands import tokens, users
from webapp.web.capability import Capability
from webapp.web.menu import MenuEntry

for below in (user_pages, token_pages):
    pages.blueprint.register_blueprint(below.blueprint)

accounts = Capability(
    name="accounts",
    blueprints=(pages.blueprint, api.blueprint),
    menu=MenuEntry(
        label="Settings",
        endpoint="accounts.show",
        icon="settings",
        pages_of=("channels", "system"),
    ),
    commands=(users, tokens),
    setup=pages.setup,
)
