"""The command that makes the hashes of accounts."""

from __future__ import annotations

from typing import Annotated

import typer


def password(
    token: Annotated[bool, typer.Option("--token", help="Make a bearer token instead, and its hash")] = False,
) -> None:
    """Make the hash of a password for `portal.people` in config/netwarden.yaml; the password itself is kept nowhere."""
    from netwarden.portal.access.passwords import hash_password, make_token

    if token:
        made, kept = make_token()
        print(f"the token, shown only now: {made}")
        print(f"token: {kept}")
        return
    chosen = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    if len(chosen) < _SHORTEST:
        raise typer.BadParameter(f"a password has at least {_SHORTEST} characters; several words make a good one")
    print(f"password: {hash_password(chosen)}")


_SHORTEST = 12
