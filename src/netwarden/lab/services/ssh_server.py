"""OpenSSH's server with a host key, configuration and accounts of its own; shells, scp, sftp and rsync work.

A wrong password costs about two seconds, as PAM does it everywhere.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from netwarden.lab.play import Part, enter
from netwarden.lab.services.accounts import in_private_etc
from netwarden.lab.services.serving import run

PACKAGES = ("sshd=openssh-server", "ssh-keygen=openssh-client", "rsync", "openssl", "unshare=util-linux")

_CONFIG = """
Port {port}
ListenAddress {address}
HostKey {folder}/host_key
PidFile none
UsePAM yes
UseDNS no
StrictModes no
PrintMotd no
PrintLastLog no
LoginGraceTime 30
MaxStartups 60:30:120
Subsystem sftp internal-sftp
"""


def main() -> None:
    part = enter()
    Path("/run/sshd").mkdir(exist_ok=True)  # sshd insists on it and keeps nothing there
    run(in_private_etc(part, "sshd", ["/usr/sbin/sshd", "-D", "-e", "-f", str(_configure(part))]))


def _configure(part: Part) -> Path:
    key, config = part.folder / "host_key", part.folder / "sshd_config"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    config.write_text(_CONFIG.format(port=part.port, address=part.address, folder=part.folder), encoding="utf-8")
    return config


if __name__ == "__main__":
    main()
