#!/usr/bin/env bash
# Looks every locked package up in the advisories of osv.dev (ADVISORIES: another address); fails where one is named.
# Without a network it says so and passes, but not on GitHub. Usage: audit.sh PIP-AUDIT LOCK
set -uo pipefail
log=$(mktemp)
trap 'rm -f "$log"' EXIT
"$1" --vulnerability-service osv --osv-url "${ADVISORIES:-https://api.osv.dev/v1/query}" --disable-pip --require-hashes \
  --progress-spinner off --requirement "$2" 2>&1 | tee "$log"
status=${PIPESTATUS[0]}
if [ "$status" != 0 ] && [ -z "${GITHUB_ACTIONS:-}" ] &&
  grep -qE 'ConnectionError|ProxyError|Max retries exceeded|Could not connect|Name or service not known' "$log"; then
  echo "audit: not done, the advisories cannot be reached from here"
  exit 0
fi
exit "$status"
