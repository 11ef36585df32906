#!/usr/bin/env bash
# Puts the npm package axe-core (what finds barriers in pages) into the folder given, by version and checksum.
set -euo pipefail
version=4.14.1
sha256=e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745
folder=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

(cd "$scratch" && npm pack --silent "axe-core@$version" >/dev/null)
echo "$sha256  $scratch/axe-core-$version.tgz" | sha256sum --check --quiet
mkdir -p "$folder"
tar -xzf "$scratch/axe-core-$version.tgz" -C "$folder" --strip-components=1
