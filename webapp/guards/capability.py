"""What this capability hands to the application."""

from webapp.guards.commands import guards as commands
from webapp.web.capability import Capability

guards = Capability(name="guards", commands=(commands,))
