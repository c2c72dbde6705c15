#!/bin/sh
# Runs the tests with an instrumented copy of the tree, and shows which branches they
# took.  They must take all branches of the four protocol files, and 95 % of those of
# chat.c.
#
# The compiler decides what a branch is: each && and || is one, too.  Failing asserts do
# not count.
set -eu
cd "$(dirname "$0")/../.."

if ! command -v gcc >/dev/null || ! command -v gcovr >/dev/null; then
    echo "make coverage needs gcc and gcovr: pip install gcovr" >&2
    exit 1
fi
copy=test/bin/coverage
rm -rf $copy
mkdir -p $copy/test
cp Makefile README.md ./*.[ch] $copy
for file in test/*; do
    [ "$file" = test/bin ] || cp -r "$file" $copy/test
done
cd $copy
if ! make test CC=gcc CFLAGS='-O0 --coverage' >log 2>&1; then
    grep -v '^ok ' log
    exit 1
fi
grep -c '^ok ' log | sed 's/$/ tests passed/'

# branches PERCENT FILE...: prints the table of these files, and fails below PERCENT
branches() {
    wanted=$1
    shift
    for file in "$@"; do
        set -- "$@" --filter "$file\$"
        shift
    done
    gcovr --txt-metric branch --exclude-branches-by-pattern '.*assert\(' \
        --fail-under-branch "$wanted" "$@"
}
status=0
branches 100 sha1.c base64.c json.c ws.c || status=1
branches 95 chat.c || status=1
exit $status
