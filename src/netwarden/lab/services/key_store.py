"""Redis without persistence, on the host's address."""

from __future__ import annotations

from netwarden.lab.play import enter
from netwarden.lab.services.serving import run

PACKAGES = ("redis-server",)


def main() -> None:
    part = enter()
    where = ["--bind", part.address, "--port", str(part.port), "--dir", str(part.folder)]
    run(["redis-server", *where, "--save", "", "--protected-mode", "no", "--maxmemory", "100mb"])


if __name__ == "__main__":
    main()
