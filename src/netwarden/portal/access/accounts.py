"""Who has an account, and how they show that it is they: password, token, or the signed cookie of a login."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from netwarden.errors import ConfigError
from netwarden.portal.access.passwords import fault_of, hash_token, is_password
from netwarden.portal.access.people import Person
from netwarden.sections import PersonSettings

SESSION_S = 12 * 3600
_HOLDER = ""  # the account of whoever holds NETWARDEN_TOKEN, which no settings can name


@dataclass(frozen=True)
class _Account:
    person: Person
    password: str
    token: str

    def key(self, secret: str) -> bytes:
        """What signs this account's cookies; another password or token ends all of its logins."""
        parts = "\0".join((secret, self.person.name, self.password, self.token))
        return hashlib.sha256(f"netwarden session\0{parts}".encode()).digest()


def accounts_of(token: str, people: Sequence[PersonSettings]) -> Accounts:
    """The accounts of a deployment. Raises ConfigError that names the person whose entry cannot be right."""
    for one in people:
        hashes = [secret for secret in (one.password.get_secret_value(), one.token.get_secret_value()) if secret]
        faults = [fault for fault in map(fault_of, hashes) if fault]
        if not hashes:
            faults = ["there is neither a password nor a token, so nobody could log in; run `netwarden password`"]
        if sum(other.name == one.name for other in people) > 1:
            faults.append("there are two of this name")
        if faults:
            raise ConfigError(f"portal.people, {one.name}: {faults[0]}")
    return Accounts(token, people)


class Accounts:
    """The people of the settings, and the holder of the one token, who is an admin."""

    def __init__(self, token: str, people: Sequence[PersonSettings]) -> None:
        self._secret = token
        self._accounts = {_HOLDER: _Account(Person("admin", "admin"), "", hash_token(token))}
        for one in people:
            person = Person(one.name, one.role, known=True)
            self._accounts[one.name] = _Account(person, one.password.get_secret_value(), one.token.get_secret_value())

    def by_password(self, name: str, password: str) -> Person | None:
        """Who logs in with a name and a password, which takes a while; None: nobody."""
        account = self._accounts.get(name) if name != _HOLDER else None
        fits = is_password(password, account.password if account else "")
        return account.person if account and fits else None

    def by_token(self, token: str) -> Person | None:
        """Whose token this is; None: nobody's."""
        offered = hash_token(token).encode()
        found = [one.person for one in self._accounts.values() if hmac.compare_digest(one.token.encode(), offered)]
        return found[0] if found else None

    def session(self, person: Person, now_s: float) -> str:
        """The cookie of a login: name, end and signature. Neither password nor token can be had from it."""
        name = person.name if person.known else _HOLDER
        said = f"{base64.urlsafe_b64encode(name.encode()).decode()}.{int(now_s) + SESSION_S}"
        return f"{said}.{self._signature(self._accounts[name], said)}"

    def by_session(self, cookie: str, now_s: float) -> Person | None:
        """Whose login a cookie is; None where it has ended or is not one of ours."""
        said, _, signature = cookie.rpartition(".")
        encoded, _, end = said.partition(".")
        try:
            account = self._accounts.get(base64.b64decode(encoded, altchars=b"-_", validate=True).decode())
        except ValueError:
            return None
        if account is None or not end.isascii() or not end.isdigit() or int(end) < now_s:
            return None
        ours = hmac.compare_digest(self._signature(account, said).encode(), signature.encode())
        return account.person if ours else None

    def _signature(self, account: _Account, said: str) -> str:
        return hmac.new(account.key(self._secret), said.encode(), hashlib.sha256).hexdigest()
