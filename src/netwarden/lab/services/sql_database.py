"""PostgreSQL with a cluster of its own; everybody is let in as `lab`, on the host's address."""

from __future__ import annotations

import subprocess
from pathlib import Path

from netwarden.lab.play import Part, enter, refuse
from netwarden.lab.services.serving import run

PACKAGES = ("pg_lsclusters=postgresql", "setpriv=util-linux", "unshare=util-linux")

_SETTINGS = {"fsync": "off", "unix_socket_directories": "", "shared_buffers": "16MB", "max_connections": "60"}
_USER = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]


def main() -> None:
    part = enter()
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        refuse("PostgreSQL is not installed: /usr/lib/postgresql is empty")
    _make_cluster(part, programs[-1])
    settings = {**_SETTINGS, "port": str(part.port), "listen_addresses": part.address}
    run(_at_home(part, [f"{programs[-1]}/postgres", *(f"--{name}={value}" for name, value in settings.items())]))


def _make_cluster(part: Part, programs: Path) -> None:
    data = part.folder / "data"
    data.mkdir()
    subprocess.run(["chown", "postgres:postgres", data], check=True)
    command = [f"{programs}/initdb", "--no-sync", "-A", "trust", "-U", "lab", "--no-locale"]
    subprocess.run(_at_home(part, command), capture_output=True, check=True)
    with (data / "pg_hba.conf").open("a", encoding="utf-8") as rules:
        rules.write("host all all 0.0.0.0/0 trust\n")


def _at_home(part: Part, command: list[str]) -> list[str]:
    """COMMAND as the user postgres, who sees the cluster where he may reach it: PostgreSQL refuses to run as root."""
    mount = f"mount --bind '{part.folder}/data' /var/lib/postgresql; cd /; export PGDATA=/var/lib/postgresql"
    return ["unshare", "--mount", "sh", "-ec", f'{mount}; exec "$@"', "sh", *_USER, *command]


if __name__ == "__main__":
    main()
