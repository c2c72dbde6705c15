/* sha1.c -- the SHA-1 hash, RFC 3174.
 *
 * The opening handshake uses it (RFC 6455 section 4.2.2).  SHA-1 is not safe for
 * signatures any more.  That does no harm here, because the accept key is no secret:
 * it only shows that the server understands WebSocket requests.
 *
 * Order: the function for one block, then the padding of the last block. */

#include "ws.h"

enum { BLOCK = 64 };                    /* bytes; the hash works block by block */

static uint32_t rotate_left(uint32_t x, unsigned bits)
{
    return (x << bits) | (x >> (32 - bits));
}

/* RFC 3174 section 5: one function and one constant for each 20 steps. */
static uint32_t step_value(unsigned t, uint32_t b, uint32_t c, uint32_t d)
{
    if (t < 20)
        return ((b & c) | (~b & d)) + 0x5A827999;
    if (t < 40)
        return (b ^ c ^ d) + 0x6ED9EBA1;
    if (t < 60)
        return ((b & c) | (b & d) | (c & d)) + 0x8F1BBCDC;
    return (b ^ c ^ d) + 0xCA62C1D6;
}

/* Makes 80 words from a block of 16.  Each of the other 64 words is computed from
 * four earlier ones (RFC 3174 section 6.1, step b). */
static void expand(const uint8_t *data, size_t at, uint32_t w[80])
{
    for (size_t t = 0; t < 16; t++) {
        w[t] = 0;
        for (size_t i = 0; i < 4; i++)
            w[t] = w[t] << 8 | data[at + 4 * t + i];
    }
    for (size_t t = 16; t < 80; t++)
        w[t] = rotate_left(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
}

/* RFC 3174 section 6.1, steps c to e, for the block at data[at]. */
static void hash_block(uint32_t h[5], const uint8_t *data, size_t at)
{
    uint32_t w[80];
    uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    expand(data, at, w);
    for (unsigned t = 0; t < 80; t++) {
        uint32_t next = rotate_left(a, 5) + step_value(t, b, c, d) + e + w[t];
        e = d;
        d = c;
        c = rotate_left(b, 30);
        b = a;
        a = next;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
}

/* RFC 3174 section 4: the last block holds the rest of the data, a 1 bit, zeros, and
 * the data's length in bits as 8 bytes.  If they do not fit, they take two blocks. */
static void hash_tail(uint32_t h[5], const uint8_t *data, size_t len)
{
    uint8_t tail[2 * BLOCK] = { 0 };
    size_t rest = len % BLOCK;
    size_t size = rest + 1 + 8 <= BLOCK ? BLOCK : 2 * BLOCK;
    uint64_t bits = (uint64_t)len * 8;

    for (size_t at = len - rest; at < len; at++)
        tail[at % BLOCK] = data[at];
    tail[rest] = 0x80;
    for (size_t i = 0; i < 8; i++)
        tail[size - 1 - i] = (uint8_t)(bits >> (8 * i) & 0xFF);
    for (size_t at = 0; at < size; at += BLOCK)
        hash_block(h, tail, at);
}

void sha1(const uint8_t *data, size_t len, uint8_t digest[SHA1_SIZE])
{
    uint32_t h[5] = { 0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0 };
    for (size_t blocks = len / BLOCK, i = 0; i < blocks; i++)
        hash_block(h, data, i * BLOCK);
    hash_tail(h, data, len);
    for (size_t i = 0; i < SHA1_SIZE; i++)
        digest[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)) & 0xFF);
}
