#!/bin/sh
# Runs the tests with the bats that is here, or says how to get one.
set -eu
cd "$(dirname "$0")"

if command -v bats >/dev/null; then
    exec bats "$@" .
elif command -v npx >/dev/null; then
    exec npx --yes bats "$@" .
fi
echo "make test needs bats: apt-get install bats, brew install bats-core, or npm install -g bats" >&2
exit 1
