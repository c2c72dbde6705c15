/* fuzz-request.c -- parses any bytes as a request.  The parser must give the same
 * result for each first part that is long enough, and must not read beyond it
 * (split.h). */

#include "split.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size <= 2 * WS_HEAD_MAX)
        check_request(data, size);
    return 0;
}
