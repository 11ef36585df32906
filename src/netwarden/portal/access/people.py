"""Who asks, and what they may do: a viewer looks, an analyst decides on alerts, an admin changes what is in charge."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

Role = Literal["viewer", "analyst", "admin"]
ROLES: tuple[Role, ...] = ("viewer", "analyst", "admin")  # each may do what those before it may


@dataclass(frozen=True)
class Person:
    """Whoever sent a request. `known`: by an account of their own, so that the name is theirs."""

    name: str
    role: Role
    known: bool = False

    def may(self, role: Role) -> bool:
        """Whether this one has the rights of a role."""
        return ROLES.index(self.role) >= ROLES.index(role)


OWNER = Person("analyst", "admin")  # on this machine without a login, whoever is there may do everything
NOBODY = Person("nobody", "viewer")  # on the few addresses that are open to all


def person(request: HTTPConnection) -> Person:
    """Who sent a request, or opened a WebSocket, as the gatekeeper found out."""
    found: Person = getattr(request.state, "person", NOBODY)
    return found


@cache  # one dependency a role, by which a test knows them again
def needs(role: Role) -> Callable[[Request], Awaitable[Person]]:
    """A dependency that answers 403 to those who have fewer rights, and names the others."""

    async def allowed(request: Request) -> Person:  # not sent to a thread, which costs more than it does
        who = person(request)
        if not who.may(role):
            raise HTTPException(403, f"this needs the role {role}; {who.name} is {who.role}")
        return who

    return allowed
