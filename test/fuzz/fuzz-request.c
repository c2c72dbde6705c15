/* fuzz-request.c -- any bytes as a request: the same verdict from each first
 * part that is long enough, and nothing read or told beyond it (split.h). */

#include "split.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size <= 2 * WS_HEAD_MAX)
        check_request(data, size);
    return 0;
}
