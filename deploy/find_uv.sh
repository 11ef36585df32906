#!/usr/bin/env bash
# Prints the path of a working uv: the one on PATH, else a pinned, hash-checked one in a small environment of its own.
# Usage: find_uv.sh PYTHON FOLDER
set -euo pipefail
python=$1 folder=$2
here=$(cd "$(dirname "$0")" && pwd)

if command -v uv >/dev/null && uv --version >/dev/null 2>&1; then
  command -v uv
  exit
fi

"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || {
  echo "Python 3.11 is needed, and '$python' is $("$python" --version 2>&1 || true). Set PYTHON=/path/to/python3.11." >&2
  exit 1
}

# Debian splits venv's pip off into a package of its own.
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv; } >&2
  else
    echo "'$python' cannot make virtual environments. On Debian or Ubuntu: sudo apt-get install python3-venv" >&2
    exit 1
  fi
fi

if ! "$folder/bin/uv" --version >/dev/null 2>&1; then
  { "$python" -m venv --clear "$folder" &&
    "$folder/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r "$here/requirements-uv.txt"; } >&2
fi
echo "$folder/bin/uv"
