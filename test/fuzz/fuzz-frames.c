/* fuzz-frames.c -- any bytes as frames, cut at random: the same events as from
 * the second decoder in split.h, which never sees a cut.
 *
 * The first byte chooses the largest message, the second one the cuts. */

#include "split.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 5000)
        return 0;
    seed_random(data[1]);
    check_frames(data + 2, size - 2, (size_t)data[0] * 4 + 1, 3);
    return 0;
}
