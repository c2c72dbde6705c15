#!/bin/sh
# fuzz.sh TARGET [OPTION...]: runs fuzz-TARGET.c with these options of libFuzzer.
#
# libFuzzer starts with the files of test/fuzz/corpus/TARGET.  It keeps new inputs in
# test/bin/fuzz-TARGET.d.  An input that breaks a promise is in test/bin/TARGET-crash-*:
# give that file to test/bin/fuzz-TARGET.
set -eu
cd "$(dirname "$0")/../.."
target=$1
shift

if ! echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' |
    clang -fsanitize=fuzzer,address,undefined -x c -o /dev/null - 2>/dev/null; then
    echo "make fuzz needs clang with its libFuzzer: apt-get install clang libclang-rt-14-dev" >&2
    exit 1
fi
mkdir -p "test/bin/fuzz-$target.d"
clang -std=c99 -D_POSIX_C_SOURCE=200809L -O1 -g -fsanitize=fuzzer,address,undefined \
    -fno-sanitize-recover=all -DMAIN_ELSEWHERE -o "test/bin/libfuzzer-$target" \
    "test/fuzz/fuzz-$target.c" ws.c json.c sha1.c base64.c
echo "== $target"
"test/bin/libfuzzer-$target" -verbosity=0 -print_final_stats=1 -max_len=600 -timeout=20 \
    -artifact_prefix="test/bin/$target-" "$@" "test/bin/fuzz-$target.d" "test/fuzz/corpus/$target"
