#!/bin/sh
# Follows a message through test/bin/chat-trip with gdb and trip.py, or says what is missing.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../advice.sh"

if [ "$(gdb -nx -batch -ex 'python print("yes")' 2>/dev/null)" != yes ]; then
    echo "make trip needs gdb with Python, and Linux or a BSD: $(advice gdb)" >&2
    exit 1
fi
dir=$(mktemp -d)
trap 'cd / && rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
cd "$dir"
status=0
TRIP=$* SHELL=/bin/sh gdb -nx -q -batch -x "$here/trip.py" "$here/../bin/chat-trip" 3>&1 >gdb 2>&1 || status=$?
if [ $status -gt 128 ]; then
    echo "make trip: the server did not come back to look in 60 s" >&2
elif grep -q '^Traceback' gdb; then     # some versions of gdb end with 0 then
    tail -n 1 gdb >&2
    status=1
fi
exit $status
