"""The lab's accounts: who may log in to its servers, and a private /etc that knows them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from netwarden.lab.play import Part

PACKAGES = ("openssl", "unshare=util-linux", "setpriv=util-linux")

ACCOUNTS = {  # made up for the lab; valid nowhere else
    "alice": "meadow-Lantern-42",
    "bruno": "copper.Harbour77",
    "chen": "Quiet_River_2019",
    "deploy": "s7!Kestrel-norm",
    "archive": "archive123",
    "monitor": "watchful-Heron5",
}
WEAK = "archive"  # the account that guessing finds and that intruders use
FIRST_UID = 3001

_PAM = """auth required pam_unix.so
account required pam_unix.so
session required pam_permit.so
"""


def in_private_etc(part: Part, pam_service: str, command: list[str]) -> list[str]:
    """COMMAND in a mount namespace of its own, where the accounts exist and the machine's own files stay untouched."""
    files = {
        "/etc/passwd": _append("/etc/passwd", _passwd_lines()),
        "/etc/group": _append("/etc/group", [f"{name}:x:{uid}:" for name, uid in _uids().items()]),
        "/etc/shadow": _append("/etc/shadow", _shadow_lines()),
        f"/etc/pam.d/{pam_service}": _PAM,
    }
    homes = _make_homes(part.folder / "home")
    mounts = [f"mount --bind '{homes}' /home"]
    for target, text in files.items():
        own = part.folder / Path(target).name
        own.write_text(text, encoding="utf-8")
        own.chmod(0o600 if target.endswith("shadow") else 0o644)
        mounts.append(f"mount --bind '{own}' {target}")
    return ["unshare", "--mount", "sh", "-ec", "; ".join([*mounts, 'exec "$@"']), "sh", *command]


def _uids() -> dict[str, int]:
    return {name: FIRST_UID + nth for nth, name in enumerate(ACCOUNTS)}


def _append(path: str, lines: list[str]) -> str:
    return Path(path).read_text(encoding="utf-8").rstrip("\n") + "\n" + "\n".join(lines) + "\n"


def _passwd_lines() -> list[str]:
    return [f"{name}:x:{uid}:{uid}::/home/{name}:/bin/sh" for name, uid in _uids().items()]


def _shadow_lines() -> list[str]:
    return [f"{name}:{_hashed(password)}:19000:0:99999:7:::" for name, password in ACCOUNTS.items()]


def _hashed(password: str) -> str:
    ran = subprocess.run(
        ["openssl", "passwd", "-6", "-salt", "netwarden", password], capture_output=True, text=True, check=True
    )
    return ran.stdout.strip()


def _make_homes(folder: Path) -> Path:
    for name, uid in _uids().items():
        home = folder / name
        home.mkdir(parents=True)
        for file_name, kilobytes in {"notes.txt": 6, "report.bin": 900, "archive.bin": 3000}.items():
            _sparse(home / file_name, kilobytes * 1024)
        subprocess.run(["chown", "-R", f"{uid}:{uid}", home], check=True)
    return folder


def _sparse(path: Path, size_bytes: int) -> None:
    """A file of that size that takes no room: what matters of it is how long it travels."""
    with path.open("wb") as file:
        file.truncate(size_bytes)
