"""mosquitto, an MQTT broker that lets everybody in and keeps nothing."""

from __future__ import annotations

from netwarden.lab.play import enter
from netwarden.lab.services.serving import run

PACKAGES = ("mosquitto",)


def main() -> None:
    part = enter()
    config = part.folder / "mosquitto.conf"
    config.write_text(f"listener {part.port} {part.address}\nallow_anonymous true\nuser root\n", encoding="utf-8")
    run(["/usr/sbin/mosquitto", "-c", str(config)])


if __name__ == "__main__":
    main()
