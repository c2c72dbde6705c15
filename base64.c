/* base64.c -- base64, RFC 4648 section 4: three bytes in four characters.
 *
 * The opening handshake uses it for two values: the client's key of 16 bytes, and the
 * server's answer, a SHA-1 of 20 bytes (RFC 6455 section 4.2.2). */

#include "ws.h"

static const char alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Returns the 6 bits that c encodes, or -1. */
static int bits_of(char c)
{
    for (int i = 0; i < 64; i++)
        if (alphabet[i] == c)
            return i;
    return -1;
}

size_t base64_encode(const uint8_t *data, size_t len, char *out)
{
    size_t size = (len + 2) / 3 * 4;
    for (size_t i = 0; i < len; i += 3) {
        size_t have = len - i < 3 ? len - i : 3;
        uint32_t group = 0;
        for (size_t k = 0; k < 3; k++)
            group = group << 8 | (k < have ? data[i + k] : 0u);
        for (size_t k = 0; k < 4; k++)
            out[i / 3 * 4 + k] = k <= have ? alphabet[group >> (18 - 6 * k) & 63] : '=';
    }
    out[size] = '\0';
    return size;
}

/* Counts the padding, which ends the last group only: xx== or xxx=. */
static size_t padding(const char *text, size_t len)
{
    if (len < 4 || text[len - 1] != '=')
        return 0;
    return text[len - 2] == '=' ? 2 : 1;
}

/* The last character before the padding has 2 or 4 unused bits.  RFC 4648 section 3.5
 * lets the decoder choose whether they must be 0.  Here they may have any value,
 * because a key that is typed by hand seldom has them at 0. */
bool base64_decode(const char *text, size_t len, uint8_t *out, size_t cap, size_t *size)
{
    size_t pad = padding(text, len);
    uint32_t group = 0;
    size_t n = 0;

    if (len % 4 != 0)
        return false;
    for (size_t i = 0; i + pad < len; i++) {
        int bits = bits_of(text[i]);
        if (bits < 0)
            return false;
        group = (group << 6 | (uint32_t)bits) & 0xFFFFFF;
        if (i % 4 == 0)
            continue;               /* only 6 bits so far, less than a byte */
        if (n >= cap)
            return false;
        out[n++] = (uint8_t)(group >> (6 - 2 * (i % 4)) & 0xFF);
    }
    *size = n;
    return true;
}
