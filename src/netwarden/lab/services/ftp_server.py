"""vsftpd for the lab's accounts; data connections are passive, so that clients open them."""

from __future__ import annotations

from netwarden.lab.play import enter
from netwarden.lab.services.accounts import in_private_etc
from netwarden.lab.services.serving import run

PACKAGES = ("vsftpd", "openssl", "unshare=util-linux")

_CONFIG = """
listen=YES
listen_address={address}
listen_port={port}
background=NO
anonymous_enable=NO
local_enable=YES
write_enable=YES
port_enable=NO
pasv_min_port=30000
pasv_max_port=39999
pam_service_name=vsftpd
secure_chroot_dir={folder}/empty
seccomp_sandbox=NO
delay_failed_login=1
max_login_fails=3
"""


def main() -> None:
    part = enter()
    (part.folder / "empty").mkdir()
    config = part.folder / "vsftpd.conf"
    config.write_text(_CONFIG.format(address=part.address, port=part.port, folder=part.folder), encoding="utf-8")
    run(in_private_etc(part, "vsftpd", ["/usr/sbin/vsftpd", str(config)]))


if __name__ == "__main__":
    main()
