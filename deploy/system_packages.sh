#!/usr/bin/env bash
# Installs, by apt-get, the programs that the tests drive and this machine lacks.
set -euo pipefail

missing=()
for need in make=make gcc=gcc git=git chromium=chromium redis-server=redis-server node=nodejs npm=npm \
  ip=iproute2 tcpreplay=tcpreplay tcpdump=tcpdump unshare=util-linux \
  setpriv=util-linux ping=iputils-ping nmap=nmap nginx=nginx-light openssl=openssl java=openjdk-17-jre-headless; do # program=package; from setpriv on: smoke.yaml of the lab
  command -v "${need%%=*}" >/dev/null || missing+=("${need#*=}")
done
[ ${#missing[@]} -gt 0 ] || exit 0

echo "installing ${missing[*]}"
as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo)
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
