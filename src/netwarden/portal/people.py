"""Who asks, and what they may do: a viewer looks, an analyst decides on alerts, an admin changes what is in charge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from fastapi import Request
from starlette.exceptions import HTTPException

Role = Literal["viewer", "analyst", "admin"]
ROLES: tuple[Role, ...] = ("viewer", "analyst", "admin")  # each may do what those before it may


@dataclass(frozen=True)
class Person:
    """Whoever sent a request."""

    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Whether this one has the rights of a role."""
        return ROLES.index(self.role) >= ROLES.index(role)


_OWNER = Person("analyst", "admin")  # where no accounts are set up, whoever is let in may do everything


def person(request: Request) -> Person:
    """Who sent a request, as the gatekeeper found out."""
    found: Person = getattr(request.state, "person", _OWNER)
    return found


def needs(role: Role) -> Callable[[Request], Person]:
    """A dependency that answers 403 to those who have fewer rights, and names the others."""

    def allowed(request: Request) -> Person:
        who = person(request)
        if not who.may(role):
            raise HTTPException(403, f"this needs the role {role}; {who.name} is {who.role}")
        return who

    return allowed
