/* fuzz-frames.c -- decodes any bytes as frames, in random pieces.  The decoder of ws.c
 * must return the same events as the second decoder in split.h, which sees all bytes at
 * once.
 *
 * The first byte chooses the limit of a message, and the second one the pieces. */

#include "split.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 5000)
        return 0;
    seed_random(data[1]);
    check_frames(data + 2, size - 2, (size_t)data[0] * 4 + 1, 3);
    return 0;
}
