#!/usr/bin/env bash
# Installs, by apt-get, the programs that the lab's scenarios play with and this machine lacks (`netwarden lab packages`).
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -t missing < <("${VENV:-.venv}/bin/netwarden" lab packages --missing)
[ ${#missing[@]} -gt 0 ] || exit 0

echo "installing ${missing[*]}"
as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo)
# RUNLEVEL=1: Debian's invoke-rc.d then starts none of their services; the lab starts its own, in its namespaces.
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
