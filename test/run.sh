#!/bin/sh
# run.sh [FILE]: runs the tests, or those in one file, with the bats that is here, or with npx.
# If there is neither, says how to get one.
set -eu
cd "$(dirname "$0")/.."
. test/advice.sh

# The tests need bats 1.7: an older one does not know bats_require_minimum_version.
is_new_enough() {
    version=$(bats --version 2>/dev/null) || return 1
    version=${version#Bats }
    minor=${version#*.}
    [ "${version%%.*}" -gt 1 ] || [ "${minor%%.*}" -ge 7 ]
}

if is_new_enough; then
    exec bats "${@:-test}"
elif command -v npx >/dev/null; then
    exec npx --yes bats "${@:-test}"
fi
# Where bats is too old, the system has no newer package.
line=$(advice bats bats-core)
! command -v bats >/dev/null || line='npm install -g bats'
echo "make test needs bats 1.7 or newer: $line" >&2
exit 1
