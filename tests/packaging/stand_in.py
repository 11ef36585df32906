"""docker, aws and gh for tests: they keep containers as files, and write down how they were called.

Usage: stand_in.py STATE-FOLDER PROGRAM ARGUMENT...
"""

import json
import sys
from pathlib import Path

DIGEST = f"sha256:{'d' * 64}"


def docker(containers: Path, words: list[str]) -> int:
    """What the daemon would answer."""
    match words:
        case ["login", *_]:
            return 0 if sys.stdin.read().strip() == "password of the registry" else 1
        case ["container", "inspect", name]:
            return 0 if (containers / name).exists() else 1
        case ["inspect", "--format", wanted, name]:
            print(_fact(containers, wanted, name))  # noqa: T201 - its answer
        case ["run", *options]:
            (containers / options[options.index("--name") + 1]).write_text(options[-1])
        case ["rename", old, new]:
            (containers / old).rename(containers / new)
        case ["rm", *_, name]:
            (containers / name).unlink()
        case ["start" | "stop" | "rmi" | "pull" | "push" | "tag" | "logs" | "build", *_]:
            pass
        case _:
            raise SystemExit(f"docker {words} is not known here")
    return 0


def _fact(containers: Path, wanted: str, name: str) -> str:
    if "RepoDigests" in wanted:
        return f"{name.rpartition(':')[0]}@{DIGEST}"
    image = (containers / name).read_text()
    if "Health" in wanted:
        return "unhealthy" if "bad" in image else "healthy"
    return image


def main(state: Path, program: str, words: list[str]) -> int:
    """Write the call down and answer it."""
    with (state / "calls").open("a") as calls:
        calls.write(json.dumps([program, *words]) + "\n")
    if program == "docker":
        return docker(state / "containers", words)
    if program == "aws":
        print("password of the registry")  # noqa: T201 - its answer
    return 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
