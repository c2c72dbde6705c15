#!/bin/sh
# Runs the tests with the bats that is here, or with npx, or says how to get one.
set -eu
cd "$(dirname "$0")"

# The tests need bats 1.7: an older one does not know bats_require_minimum_version.
is_new_enough() {
    version=$(bats --version 2>/dev/null) || return 1
    version=${version#Bats }
    minor=${version#*.}
    [ "${version%%.*}" -gt 1 ] || [ "${minor%%.*}" -ge 7 ]
}

# The line to type on this system.
advice() {
    while read -r tool line; do
        if command -v "$tool" >/dev/null; then
            echo "$line"
            return
        fi
    done <<LINES
bats npm install -g bats
apt-get apt-get install bats
dnf dnf install bats
zypper zypper install bats
pacman pacman -S bats
apk apk add bats
brew brew install bats-core
pkg pkg install bats-core
LINES
    echo "npm install -g bats"
}

if is_new_enough; then
    exec bats "$@" .
elif command -v npx >/dev/null; then
    exec npx --yes bats "$@" .
fi
echo "make test needs bats 1.7 or newer: $(advice)" >&2
exit 1
