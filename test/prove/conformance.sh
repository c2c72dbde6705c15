#!/bin/sh
# Runs the Autobahn cases of sections 1 to 7, 9 and 10 with test/bin/echo.  (Sections 12
# and 13 are about compression, which echo does not support.)
#
# In the report, every case and its close must be OK or INFORMATIONAL.  A server that
# refuses bad UTF-8 too late gets NON-STRICT.  kosoku counts that as passed, but this
# script does not.
set -eu
cd "$(dirname "$0")/../bin"

if ! command -v kosoku >/dev/null; then
    echo "make conformance needs kosoku: pip install kosoku==0.1.0" >&2
    exit 1
fi
rm -rf autobahn
mkdir autobahn
mkfifo autobahn/where
./echo >autobahn/where &
echo=$!
trap 'kill $echo; rm -rf autobahn' EXIT
read -r line <autobahn/where

cases=
for section in 1 2 3 4 5 6 7 9 10; do
    cases="$cases -i $section.*"
done
set -f                          # the stars are kosoku's
kosoku -p 4 $cases -o autobahn/report "127.0.0.1:${line##*:}" >autobahn/log 2>&1 ||
    cat autobahn/log
awk -F '"' -v want=301 '
    $2 ~ /^[0-9]+(\.[0-9]+)+$/ {
        id = $2
        cases++
    }
    $2 == "behavior" || $2 == "behaviorClose" {
        if ($4 == "OK" || $4 == "INFORMATIONAL")
            good++
        else
            print "case " id ": " $2 " is " $4
    }
    END {
        printf "%d Autobahn cases, %d are wanted; ", cases, want
        printf "%d of %d verdicts are OK or INFORMATIONAL\n", good, 2 * want
        exit cases != want || good != 2 * want
    }' autobahn/report/index.json
