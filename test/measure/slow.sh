#!/bin/sh
# slow.sh [-t] [-s SECONDS] CHAT: runs test/bin/slow, if possible with readers over a network.
#
# On its loopback interface, Linux bundles small segments: it passes on up to 64 KiB at once.  A
# network does not.  So this script runs test/bin/slow in a network namespace of its own, whose
# loopback interface passes on one segment at a time.  That takes Linux, unshare (of util-linux),
# ip (of iproute2), and the right to make a namespace, which some containers do not give.
set -eu
separate='ip link set lo up gso_max_segs 1'
for own in 'unshare -n' 'unshare -rn'; do
    if $own $separate 2>/dev/null; then
        exec $own sh -c "$separate"'; exec test/bin/slow -n "$@"' sh "$@"
    fi
done
echo "slow: no network of one's own is to be had here, so all readers are on loopback" >&2
exec test/bin/slow "$@"
