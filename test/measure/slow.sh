#!/bin/sh
# slow.sh [-t] [-s SECONDS] CHAT: runs slow, with readers over a network if possible.
#
# On its loopback interface, Linux passes on up to 64 KiB at once, however small the segments are.
# So this script gives slow a network of its own, whose loopback interface passes on each segment by
# itself.  That takes Linux, unshare (of util-linux) and ip (of iproute2), and a right that a
# container may not give.
set -eu
separate='ip link set lo up gso_max_segs 1'
for own in 'unshare -n' 'unshare -rn'; do
    if $own $separate 2>/dev/null; then
        exec $own sh -c "$separate"'; exec test/bin/slow -n "$@"' sh "$@"
    fi
done
echo "slow: no network of one's own is to be had here, so all readers are on loopback" >&2
exec test/bin/slow "$@"
