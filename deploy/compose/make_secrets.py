#!/usr/bin/env python3
"""Makes the secret files of compose.yaml, each value at random; files that are there stay as they are."""

import json
import secrets
import sys
from pathlib import Path

_FOLDER = Path(__file__).parent / "secrets"


def main(folder: Path = _FOLDER) -> None:
    """Write all files into a folder that only its owner may enter."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(folder.iterdir()):
        print(f"{folder} holds files already; remove them all to make new secrets")
        return
    for name, text in _files().items():
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o644)  # containers read them as users of their own; the folder keeps others out
    print(f"secrets are in {folder}; log in to the portal with the one in portal_token")


def _files() -> dict[str, str]:
    token, redis, mongodb, grafana, key, secret = (secrets.token_hex(24) for _ in range(6))
    identity = {
        "name": "netwarden",
        "credentials": [{"accessKey": key, "secretKey": secret}],
        "actions": ["Admin", "Read", "Write", "List"],
    }
    variables = {
        "NETWARDEN_TOKEN": token,
        "MONGODB_URI": f"mongodb://netwarden:{mongodb}@mongodb:27017/netwarden?authSource=admin",
        "REDIS_URL": f"redis://:{redis}@redis:6379/0",
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
    }
    return {
        "netwarden.env": "".join(f"{name}={value}\n" for name, value in variables.items()),
        "portal_token": token,
        "redis.conf": f"requirepass {redis}\nappendonly yes\n",
        "mongodb_password": mongodb,
        "s3.json": json.dumps({"identities": [identity]}, indent=2),
        "grafana_password": grafana,
    }


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
