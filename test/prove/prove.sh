#!/bin/sh
# prove.sh [WHAT...]: runs Frama-C's Eva on the functions of test/prove/prove.c: WHAT,
# or all.
set -eu
cd "$(dirname "$0")/../.."
out=test/bin/prove
mkdir -p "$out"

if ! command -v frama-c >/dev/null; then
    echo "make prove needs Frama-C: apt-get install frama-c-base" >&2
    exit 1
fi

# prove WHAT [OPTION...]: fails if Eva raises an alarm, or does not finish
prove() {
    what=$1
    shift
    case " $wanted " in
    *" $what "* | "  ") ;;
    *) return 0 ;;
    esac
    frama-c -eva -main "prove_$what" -lib-entry -machdep gcc_x86_64 \
        -cpp-extra-args=-D_POSIX_C_SOURCE=200809L -eva-precision 2 "$@" \
        test/prove/prove.c json.c sha1.c base64.c >"$out/$what" 2>&1 || true
    if grep -q '^\[eva\] done for function' "$out/$what" && ! grep -q 'eva:alarm' "$out/$what"; then
        echo "proved: $what"
    else
        echo "not proved: $what, see $out/$what"
        grep -A 1 'eva:alarm' "$out/$what" || tail -n 5 "$out/$what"
        failed=1
    fi
}

wanted=$*
failed=0
prove sha1 -eva-auto-loop-unroll 80
prove base64 -eva-auto-loop-unroll 4 -eva-widening-delay 40
prove json -eva-split-return auto
prove request -eva-precision 1 -eva-auto-loop-unroll 30 -eva-split-return auto \
    -eva-slevel-function is_word:500,is_one_of:500,is_exactly:100
prove origin -eva-auto-loop-unroll 10
prove sending -eva-auto-loop-unroll 80
prove frames -eva-auto-loop-unroll 30 -eva-split-return-function read_header:0
prove keeping
exit "$failed"
