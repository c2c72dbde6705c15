/* split.c -- checks that the result does not depend on how TCP cuts the bytes.
 *
 * A grammar makes up the streams: messages of all kinds and lengths, fragments, control
 * frames between them, correct and broken UTF-8, closes with all kinds of codes, every
 * way to break the protocol, and junk.  Then some bytes are changed.
 *
 *   split           tries all seeds, and prints nothing if all is well
 *   split SEED      tries only this seed
 *
 * If a check fails, split prints the seed and the stream in hexadecimal.  split.h has
 * the checks and the ways of cutting.
 *
 * Order: the stream, frames, messages, breaches, requests, seeds. */

#define MAIN_ELSEWHERE
#include "split.h"

#define COUNT(array) (sizeof array / sizeof *array)

/* ---- The stream ---- */

static uint8_t stream[STREAM_MAX];
static size_t stream_len;
static uint64_t seed;

static void put_byte(size_t b)
{
    if (stream_len < STREAM_MAX)
        stream[stream_len++] = (uint8_t)(b & 0xFF);
}

static void put_text(const char *text)
{
    for (; *text != '\0'; text++)
        put_byte((uint8_t)*text);
}

static void show_stream(void)
{
    fprintf(stderr, "seed %ju, %zu bytes:\n", (uintmax_t)seed, stream_len);
    for (size_t i = 0; i < stream_len; i++)
        fprintf(stderr, "%02x", stream[i]);
    fputc('\n', stderr);
}

/* ---- Frames, RFC 6455 section 5.2 ---- */

static void put_length(size_t len, size_t bytes)
{
    put_byte(0x80 | (bytes == 1 ? len : bytes == 2 ? 126 : 127));
    for (size_t i = bytes; bytes > 1 && i-- > 0;)
        put_byte((uint64_t)len >> 8 * i & 0xFF);
}

static void put_header(size_t first, size_t len, uint8_t mask[4])
{
    put_byte(first);
    put_length(len, len < 126 ? 1 : len < 65536 ? 2 : 8);
    for (size_t i = 0; i < 4; i++)
        put_byte(mask[i] = (uint8_t)pick(256));
}

static void put_frame(size_t first, const uint8_t *payload, size_t len)
{
    uint8_t mask[4];
    put_header(first, len, mask);
    for (size_t i = 0; i < len; i++)
        put_byte(payload[i] ^ mask[i % 4]);
}

static void put_close(void)
{
    static const int codes[] = { 0, 999, 1000, 1001, 1003, 1004, 1005, 1006, 1007, 1011, 1014,
                                 1015, 2999, 3000, 4999, 5000, 65535 };
    static const char *const reasons[] = { "", "bye", "\xE2\x82\xAC", "\xE2\x82", "\xFF" };
    uint8_t payload[20];
    int code = codes[pick(COUNT(codes))];
    size_t len = (size_t)sprintf((char *)payload + 2, "%s", reasons[pick(COUNT(reasons))]) + 2;

    payload[0] = (uint8_t)(code / 256);
    payload[1] = (uint8_t)(code % 256);
    put_frame(0x88, payload, pick(4) == 0 ? pick(2) : len);
}

static void put_ping(void)
{
    static const size_t lens[] = { 0, 0, 1, 5, 124, 125 };
    uint8_t payload[WS_CONTROL_MAX];
    size_t len = lens[pick(COUNT(lens))];
    for (size_t i = 0; i < len; i++)
        payload[i] = (uint8_t)pick(256);
    put_frame(pick(2) == 0 ? 0x89 : 0x8A, payload, len);
}

/* ---- Messages, sections 5.4 and 8.1 ---- */

static size_t fill(uint8_t *text, size_t len, bool broken)
{
    static const char *const right[] = { "a", "{\"", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80",
        "\xE2\x82\xAC", "\xED\x9F\xBF", "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF",
        "the quick brown fox jumps over" };
    static const char *const wrong[] = { "\x80", "\xC0\x80", "\xC1", "\xE0\x9F", "\xED\xA0",
        "\xF0\x8F", "\xF4\x90", "\xF5", "\xFF", "\xE2\x82", "\xF1\x80\x80", "\xC3" };
    size_t n = 0, at = broken ? pick(len + 1) : len;
    while (n < len) {
        const char *next = n >= at ? wrong[pick(COUNT(wrong))] : right[pick(COUNT(right))];
        if (n >= at)
            at = len;
        if (strlen(next) > len - n)
            next = "z";
        memcpy(text + n, next, strlen(next));
        n += strlen(next);
    }
    return n;
}

static void put_message(size_t len)
{
    static uint8_t text[STREAM_MAX];
    bool whole = pick(2) == 0;
    size_t opcode = 1 + pick(2), at = 0, end;

    fill(text, len, pick(4) == 0);
    for (;; at = end) {
        end = whole || pick(3) == 0 ? len : at + pick(len - at + 1);
        put_frame(opcode | (end == len ? 0x80u : 0u), text + at, end - at);
        if (end == len)
            return;
        opcode = 0;
        while (pick(3) == 0)
            put_ping();
    }
}

/* ---- Breaches, and bytes that only look like one ---- */

static void put_odd(void)
{
    static const struct { const char *bytes; size_t len; } headers[] = {
#define ODD(literal) { literal, sizeof literal - 1 }
        ODD("\xC1\x80"), ODD("\xA1\x80"), ODD("\x91\x80"),      /* a reserved bit */
        ODD("\x83\x80"), ODD("\x87\x80"), ODD("\x8B\x80"), ODD("\x8F\x80"),
        ODD("\x81\x05hello"), ODD("\x89\x00"),                  /* no mask */
        ODD("\x09\x80"), ODD("\x89\xFE\x00\x7E"),               /* no such control frame */
        ODD("\x80\x80kkkk"), ODD("\x01\x81kkkka\x81\x81kkkkb"), /* out of order */
        ODD("\x01\x81kkkka\x82\x81kkkkb"),
        ODD("\x81\xFE\x00\x7D"), ODD("\x81\xFF\0\0\0\0\0\0\xFF\xFF"),
        ODD("\x81\xFF\x80\0\0\0\0\0\0\0"), ODD("\x82\xFF\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF"),
        ODD("\x81"), ODD("\x81\xFE\x01"), ODD("\x82\xFF\0\0\0"),    /* cut */
    };
    size_t i = pick(COUNT(headers));
    for (size_t k = 0; k < headers[i].len; k++)
        put_byte((uint8_t)headers[i].bytes[k]);
}

static void put_junk(void)
{
    for (size_t n = pick(30); n > 0; n--)
        put_byte(pick(256));
}

static void change_bytes(void)
{
    for (size_t n = 1 + pick(4); n > 0 && stream_len > 1; n--) {
        size_t at = pick(stream_len);
        size_t what = pick(3);
        if (what == 0)
            stream[at] ^= (uint8_t)(1 << pick(8));
        else if (what == 1)
            stream[at] = (uint8_t)pick(256);
        else
            memmove(stream + at, stream + at + 1, --stream_len - at);
    }
}

static void make_frames(const size_t lens[], size_t count)
{
    for (size_t n = pick(12); n > 0; n--) {
        switch (pick(14)) {
        case 0: put_ping(); break;
        case 1: put_ping(); break;
        case 2: if (pick(2) == 0) put_odd(); break;
        case 3: if (pick(3) == 0) put_close(); break;
        case 4: if (pick(3) == 0) put_junk(); break;
        default: put_message(lens[pick(count)]);
        }
    }
    if (pick(3) == 0)
        change_bytes();
}

static void try_frames(void)
{
    static const size_t lens[] = { 0, 1, 7, 8, 9, 20, 60, 124, 125, 126, 127, 128, 200, 299, 300 };
    static const size_t limits[] = { 1, 125, 126, 200, 300, 300, 300, 1000 };

    make_frames(lens, COUNT(lens));
    check_frames(stream, stream_len, limits[pick(COUNT(limits))], 4);
}

/* There are few long ones, because reading them byte by byte takes long. */
static void try_long_frames(void)
{
    static const size_t lens[] = { 65535, 65536, 65537 };
    put_message(lens[seed % COUNT(lens)]);
    put_message(3);
    check_frames(stream, stream_len, 65536, 4);
}

/* ---- Requests ---- */

static const char *const first_lines[] = {
    "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\n",
    "\r\nGET /chat?x=1 HTTP/1.1\r\n", "HEAD / HTTP/1.1\r\n", "POST / HTTP/1.1\r\n",
    "GET / HTTP/1.0\r\n", "GET /\r\n", "GET  HTTP/1.1\r\n", "\r\n\r\n", "GET / HTTP/1.1\n",
};
static const char *const good_lines[] = {
    "Host: localhost:8080\r\n", "Upgrade: websocket\r\n", "Connection: keep-alive, Upgrade\r\n",
    "Sec-WebSocket-Version: 13\r\n", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
};
static const char *const more_lines[] = {
    "Origin: http://localhost\r\n", "Sec-WebSocket-Protocol: chat, notices\r\n", "X:\r\n",
    "user-agent:\tsomeone \r\n", "Content-Length: 0\r\n", "Content-Length: 5\r\n",
    "Transfer-Encoding: chunked\r\n", "Host: a\r\n", "Sec-WebSocket-Version: 8\r\n",
    "Sec-WebSocket-Key: short\r\n", "Origin: null\r\n", "no colon\r\n", " folded: x\r\n",
    "space : x\r\n", ": no name\r\n", "bare: LF\n", "bare: CR\rx\r\n", "control: \x01\r\n",
};

static void make_request(size_t filler)
{
    put_text(first_lines[pick(COUNT(first_lines))]);
    for (size_t i = 0; i < COUNT(good_lines); i++) {
        if (pick(8) == 0)
            put_text(more_lines[pick(COUNT(more_lines))]);
        if (pick(12) != 0)
            put_text(good_lines[i]);
    }
    if (filler > 0)
        put_text("X-Filler: ");
    while (filler > 0 && stream_len < filler)
        put_byte('x');
    put_text(filler > 0 ? "\r\n\r\n" : "\r\n");
    if (pick(3) == 0)
        change_bytes();
    if (pick(2) == 0)
        put_ping();
}

static void try_request(void)
{
    make_request(0);
    check_request(stream, stream_len);
}

static void try_long_request(void)
{
    make_request(WS_HEAD_MAX - 12 + seed % 12);
    check_request(stream, stream_len);
}

/* ---- Seeds ---- */

static const struct {
    void (*run)(void);
    uint64_t seeds;             /* how many */
} tries[] = {
    { try_frames, 3000 }, { try_request, 1500 }, { try_long_frames, 3 }, { try_long_request, 24 },
};

static void try_seed(uint64_t n)
{
    uint64_t first = 0;
    seed = n;
    seed_random(seed);
    stream_len = 0;
    for (size_t i = 0; i < COUNT(tries); i++) {
        if (seed >= first && seed - first < tries[i].seeds)
            tries[i].run();
        first += tries[i].seeds;
    }
}

int main(int argc, char **argv)
{
    uint64_t all = 0;

    before_abort = show_stream;
    if (argc > 1) {
        try_seed(strtoull(argv[1], NULL, 10));
        return 0;
    }
    for (size_t i = 0; i < COUNT(tries); i++)
        all += tries[i].seeds;
    for (uint64_t n = 0; n < all; n++)
        try_seed(n);
    printf("%ju streams\n", (uintmax_t)all);
    return 0;
}
