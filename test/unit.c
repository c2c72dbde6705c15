/* unit.c -- tests of the four files that do no I/O: sha1.c, base64.c, json.c and ws.c.
 * Most of them are tables of inputs and results.
 *
 *   unit [sha1|base64|json|request|origin|frames|utf8|write]...   (without names: all)
 *
 * unit prints one line for each wrong result, and then exits with status 1.
 *
 * Each input lies in heap memory of exactly its size.  So AddressSanitizer notices a
 * function that reads one byte too many.  Requests and frames may arrive in pieces, so
 * each is tested whole and in pieces, and must give the same result. */

#include "../json.h"
#include "../ws.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BYTES(literal) literal, sizeof literal - 1
#define COUNT(array) (sizeof array / sizeof *array)

static int checked, failed;

static void check(bool right, const char *format, ...)
{
    va_list args;

    checked++;
    if (right)
        return;
    failed++;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

static uint8_t *heap_copy(const void *bytes, size_t len)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);

    if (copy == NULL)
        exit(2);
    if (len == 0)               /* a sanitizer then allows no read at all */
        return realloc(copy, 1);
    return memcpy(copy, bytes, len);
}

static const char *hex(const uint8_t *bytes, size_t len)
{
    static char text[2 * 64 + 1];

    for (size_t i = 0; i < len && i < 64; i++)
        sprintf(text + 2 * i, "%02x", bytes[i]);
    return text;
}

/* ---- sha1.c: RFC 3174 section 7.3, FIPS 180-2 appendix A ---- */

static void check_sha1(const char *what, const uint8_t *data, size_t len, const char *want)
{
    uint8_t digest[SHA1_SIZE];

    sha1(data, len, digest);
    check(strcmp(hex(digest, SHA1_SIZE), want) == 0, "sha1 of %s: got %s, want %s", what,
          hex(digest, SHA1_SIZE), want);
}

static void test_sha1(void)
{
    static const struct { const char *text; int times; const char *digest; } rows[] = {
        { "abc", 1, "a9993e364706816aba3e25717850c26c9cd0d89d" },
        { "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
          "84983e441c3bd26ebaae4aa1f95129e5e54670f1" },
        { "a", 1000000, "34aa973cd4c4daa4f61eeb2bdbad27316534016f" },
        { "0123456701234567012345670123456701234567012345670123456701234567", 10,
          "dea356a2cddd90c7a7ecedc5ebb563934f460452" },
    };
    uint8_t all[131 * SHA1_SIZE];

    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t one = strlen(rows[i].text), len = one * (size_t)rows[i].times;
        uint8_t *data = malloc(len);
        for (size_t at = 0; data != NULL && at < len; at += one)
            memcpy(data + at, rows[i].text, one);
        check_sha1(rows[i].text, data, len, rows[i].digest);
        free(data);
    }
    /* Texts of every length up to two blocks.  The result is the digest of all their
     * digests, in Python: h(b"".join(h(b"a" * n) for n in range(131))). */
    for (size_t n = 0; n <= 130; n++) {
        uint8_t *data = heap_copy("", 0);
        data = realloc(data, n > 0 ? n : 1);
        memset(data, 'a', n);
        sha1(data, n, all + n * SHA1_SIZE);
        free(data);
    }
    check_sha1("digests of 0 to 130 a", all, sizeof all, "60afa284c7b19b978fd27334fd33aa6e654cf3ff");
}

/* ---- base64.c: RFC 4648 section 10 ---- */

static void test_base64(void)
{
    static const char *const rows[][2] = {
        { "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" }, { "foob", "Zm9vYg==" },
        { "fooba", "Zm9vYmE=" }, { "foobar", "Zm9vYmFy" },
        { "\xfb\xff\xbf\xff", "+/+//w==" },     /* the last two of the alphabet */
    };
    static const char *const malformed[] = {
        "Z", "Zg", "Zg=", "Z===", "====", "Zg==Zg==", "Zm9v!mFy", "Zm 9", "Zm9-", "Zm9_", "=Zg=",
    };
    uint8_t data[64];
    char text[64];
    size_t size;

    for (size_t i = 0; i < COUNT(rows); i++) {
        uint8_t *plain = heap_copy(rows[i][0], strlen(rows[i][0]));
        base64_encode(plain, strlen(rows[i][0]), text);
        check(strcmp(text, rows[i][1]) == 0, "base64 of %s: got %s", rows[i][0], text);
        free(plain);
        check(base64_decode(rows[i][1], strlen(rows[i][1]), data, sizeof data, &size)
              && size == strlen(rows[i][0]) && memcmp(data, rows[i][0], size) == 0,
              "decoding %s gives another text", rows[i][1]);
    }
    for (size_t i = 0; i < COUNT(malformed); i++)
        check(!base64_decode(malformed[i], strlen(malformed[i]), data, sizeof data, &size),
              "base64 %s is malformed, but was decoded", malformed[i]);
    check(!base64_decode("Zm9v", 4, data, 2, &size), "decoded 3 bytes into 2");
    check(base64_decode("Zm9v", 4, data, 3, &size) && size == 3, "3 bytes don't fit 3");
    check(base64_decode("Zh==", 4, data, 1, &size) && size == 1 && data[0] == 'f',
          "bits left over by padding: not ignored");
}

/* ---- json.c: RFC 8259 ---- */

static const struct json_row {
    const char *rule;
    const char *text;
    size_t len;
    const char *want;           /* "ID TOKEN", or "byte N: WORDS OF THE REASON" */
} json_rows[] = {
    { "the article", BYTES("{\"recipient_id\":2,\"message\":\"Go Braves!\"}"), "2 \"Go Braves!\"" },
    { "2 white space", BYTES(" \t\r\n{ \"recipient_id\" : 2 , \"message\" : \"a\" } \n"), "2 \"a\"" },
    { "2 no other white space", BYTES("{\v\"recipient_id\":2,\"message\":\"a\"}"), "byte 2: a key" },
    { "2 no byte order mark", BYTES("\xEF\xBB\xBF{\"recipient_id\":2,\"message\":\"a\"}"), "byte 1: this is a byte order mark" },
    { "4 any order", BYTES("{\"message\":\"a\",\"recipient_id\":2}"), "2 \"a\"" },
    { "4 others are ignored", BYTES("{\"x\":{\"message\":1},\"recipient_id\":2,\"message\":\"a\",\"y\":[]}"), "2 \"a\"" },
    { "4 the last of equal keys", BYTES("{\"recipient_id\":1,\"message\":\"a\",\"message\":\"b\",\"recipient_id\":2}"), "2 \"b\"" },
    { "4 even if the first is bad", BYTES("{\"recipient_id\":\"1\",\"recipient_id\":2,\"message\":\"b\"}"), "2 \"b\"" },
    { "4 even if only the last is", BYTES("{\"recipient_id\":2,\"recipient_id\":null,\"message\":\"b\"}"), "byte 34: recipient_id must be an integer" },
    { "4 a comma too many", BYTES("{\"recipient_id\":2,\"message\":\"a\",}"), "byte 33: a key" },
    { "4 a comma missing", BYTES("{\"recipient_id\":2 \"message\":\"a\"}"), "byte 19: a comma or }" },
    { "4 a colon missing", BYTES("{\"recipient_id\" 2}"), "byte 17: a colon" },
    { "4 a key without quotes", BYTES("{recipient_id:2}"), "byte 2: a key" },
    { "4 a value missing", BYTES("{\"recipient_id\":}"), "byte 17: a value" },
    { "2 nothing behind", BYTES("{\"recipient_id\":2,\"message\":\"a\"}{}"), "byte 33: nothing may follow" },
    { "2 not an object", BYTES("[]"), "byte 1: a message looks like" },
    { "2 not an object", BYTES("\"recipient_id\""), "byte 1: a message looks like" },
    { "ours: empty", BYTES(""), "byte 1: a message looks like" },
    { "ours: blank", BYTES(" \n"), "byte 3: a message looks like" },
    { "ours: both fields", BYTES("{}"), "byte 2: recipient_id is missing" },
    { "ours: both fields", BYTES("{\"recipient_id\":2} "), "byte 18: message is missing" },
    { "ours: a string", BYTES("{\"recipient_id\":2,\"message\":5}"), "byte 29: message must be a string" },
    { "ours: a string", BYTES("{\"recipient_id\":2,\"message\":{}}"), "byte 29: message must be a string" },
    { "ours: an integer", BYTES("{\"recipient_id\":\"2\",\"message\":\"a\"}"), "byte 17: recipient_id must be an integer" },
    { "ours: an integer", BYTES("{\"recipient_id\":1.0,\"message\":\"a\"}"), "byte 17: recipient_id must be an integer" },
    { "ours: an integer", BYTES("{\"recipient_id\":1e0,\"message\":\"a\"}"), "byte 17: recipient_id must be an integer" },
    { "ours: an integer", BYTES("{\"recipient_id\":[2],\"message\":\"a\"}"), "byte 17: recipient_id must be an integer" },
    { "ours: below 0", BYTES("{\"recipient_id\":-70,\"message\":\"a\"}"), "-70 \"a\"" },
    { "ours: -0", BYTES("{\"recipient_id\":-0,\"message\":\"a\"}"), "0 \"a\"" },
    { "ours: the largest", BYTES("{\"recipient_id\":9223372036854775807,\"message\":\"a\"}"), "9223372036854775807 \"a\"" },
    { "ours: the smallest", BYTES("{\"recipient_id\":-9223372036854775808,\"message\":\"a\"}"), "-9223372036854775808 \"a\"" },
    { "ours: too large", BYTES("{\"recipient_id\":9223372036854775808,\"message\":\"a\"}"), "byte 17: recipient_id must fit" },
    { "ours: too small", BYTES("{\"recipient_id\":-9223372036854775809,\"message\":\"a\"}"), "byte 17: recipient_id must fit" },
    { "ours: far too large", BYTES("{\"recipient_id\":123456789012345678901234567890,\"message\":\"a\"}"), "byte 17: recipient_id must fit" },
    { "6 leading zero", BYTES("{\"recipient_id\":01,\"message\":\"a\"}"), "byte 18: a number has no" },
    { "6 leading zero", BYTES("{\"a\":-00}"), "byte 8: a number has no" },
    { "6 only a minus", BYTES("{\"a\":-}"), "byte 7: a digit" },
    { "6 a plus", BYTES("{\"a\":+1}"), "byte 6: a value" },
    { "6 no digit behind the point", BYTES("{\"a\":1.}"), "byte 8: a digit" },
    { "6 no digit before the point", BYTES("{\"a\":.5}"), "byte 6: a value" },
    { "6 an empty exponent", BYTES("{\"a\":1e+}"), "byte 9: a digit" },
    { "6 numbers of all forms", BYTES("{\"a\":[0,-0.5e-10,1E5,12e+3,-1.25],\"recipient_id\":3,\"message\":\"\"}"), "3 \"\"" },
    { "3 words", BYTES("{\"a\":[true,false,null],\"recipient_id\":3,\"message\":\"\"}"), "3 \"\"" },
    { "3 a word cut", BYTES("{\"a\":tru}"), "byte 9: the only words" },
    { "3 a word too long", BYTES("{\"a\":nulll}"), "byte 10: a comma or }" },
    { "3 a word in capitals", BYTES("{\"a\":True}"), "byte 6: a value" },
    { "5 empty ones", BYTES("{\"a\":[[],{},[{}]],\"recipient_id\":3,\"message\":\"\"}"), "3 \"\"" },
    { "5 a bracket for a brace", BYTES("{\"a\":[1}"), "byte 8: a comma or ]" },
    { "5 a brace for a bracket", BYTES("{\"a\":{\"b\":1]"), "byte 12: a comma or }" },
    { "5 a comma too many", BYTES("{\"a\":[1,]}"), "byte 9: a value" },
    { "5 only a comma", BYTES("{\"a\":[,1]}"), "byte 7: a value" },
    { "7 the token is not touched", BYTES("{\"recipient_id\":2,\"message\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\xC3\xA9\x7F\"}"), "2 \"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\xC3\xA9\x7F\"" },
    { "7 unpaired surrogates pass", BYTES("{\"recipient_id\":2,\"message\":\"\\ud800\\uDC00\\uDBFF\"}"), "2 \"\\ud800\\uDC00\\uDBFF\"" },
    { "7 an unknown escape", BYTES("{\"a\":\"\\x41\"}"), "byte 8: no such escape" },
    { "7 an escaped NUL byte", BYTES("{\"a\":\"\\\0\"}"), "byte 8: no such escape" },
    { "7 three hex digits", BYTES("{\"a\":\"\\u12g4\"}"), "byte 11: four hex digits" },
    { "7 a control character", BYTES("{\"a\":\"x\x1Fy\"}"), "byte 8: control characters" },
    { "7 a NUL", BYTES("{\"a\":\"12345678\0\"}"), "byte 15: control characters" },
    { "7 a line break", BYTES("{\"recipient_id\":2,\"message\":\"a\nb\"}"), "byte 31: a message is one line" },
    { "7 a carriage return", BYTES("{\"recipient_id\":2,\"message\":\"a\r\n\"}"), "byte 31: a message is one line" },
    { "7 a curly quote for a key", BYTES("{\xE2\x80\x9Crecipient_id\xE2\x80\x9D:2}"), "byte 2: this is a curly quote" },
    { "7 one for a message", BYTES("{\"message\":\xE2\x80\x9Ehi\xE2\x80\x9C}"), "byte 12: this is a curly quote" },
    { "7 a single one", BYTES("{\xE2\x80\x98recipient_id\xE2\x80\x99:2}"), "byte 2: this is a curly quote" },
    { "7 the last of them", BYTES("{\"a\":1 \xE2\x80\x9F}"), "byte 8: this is a curly quote" },
    { "7 one that belongs to the message", BYTES("{\"recipient_id\":2,\"message\":\"\xE2\x80\x9Chi\xE2\x80\x9D\"}"), "2 \"\xE2\x80\x9Chi\xE2\x80\x9D\"" },
    { "7 a string in single quotes", BYTES("{\"message\":'hi'}"), "byte 12: a string needs double quotes" },
    { "7 a key with the backslashes of a notice", BYTES("{\\\"a\\\":2}"), "byte 2: write the quotes without" },
    { "2 a no-break space", BYTES("{\xC2\xA0\"recipient_id\":2}"), "byte 2: this is a no-break space" },
    { "2 a no-break space behind", BYTES("{\"recipient_id\":2,\"message\":\"a\"}\xC2\xA0"), "byte 33: this is a no-break space" },
    { "2 a narrow one", BYTES("{\"recipient_id\":\xE2\x80\xAF" "2}"), "byte 17: this is a no-break space" },
    { "2 a byte order mark and nothing else", BYTES("\xEF\xBB\xBF"), "byte 1: this is a byte order mark" },
    { "2 near a byte order mark", BYTES("\xEF\xBB\xBE{}"), "byte 1: a message looks like" },
    { "2 near a byte order mark", BYTES("\xEF\xBC\xBF{}"), "byte 1: a message looks like" },
    { "2 near a no-break space", BYTES("{\xC2\xA1}"), "byte 2: a key" },
    { "2 near a narrow one", BYTES("{\xE2\x80\xB0}"), "byte 2: a key" },
    { "2 near one and a curly quote", BYTES("{\xE2\x81\xAF\xE2\x81\x98}"), "byte 2: a key" },
    { "7 near a curly quote", BYTES("{\xE2\x80\x97}"), "byte 2: a key" },
    { "7 near the last of them", BYTES("{\xE2\x80\xA0}"), "byte 2: a key" },
    { "7 eight at a time: a quote in each place", BYTES("{\"1\":\"\",\"2\":\"a\",\"3\":\"ab\",\"4\":\"abc\",\"5\":\"abcd\",\"6\":\"abcde\",\"7\":\"abcdef\",\"8\":\"abcdefg\",\"9\":\"abcdefgh\",\"recipient_id\":2,\"message\":\"abcdefghi\"}"), "2 \"abcdefghi\"" },
    { "8.3 keys are equal unescaped", BYTES("{\"recipient\\u005Fid\":2,\"m\\u0065ss\\u0061ge\":\"a\"}"), "2 \"a\"" },
    { "8.3 a key with a NUL is another", BYTES("{\"recipient_id\\u0000\":1,\"recipient_id\":2,\"message\":\"a\"}"), "2 \"a\"" },
    { "8.3 digits of either case", BYTES("{\"r\\u0065cip\\u0069\\u0065\\u006et\\u005fi\\u0064\":2,\"\\u006D\\u0065ssage\":\"a\"}"), "2 \"a\"" },
    { "8.3 other digits", BYTES("{\"\\u005Eecipient_id\":1,\"recipient\\u006fid\":1,\"recipient_id\":2,\"message\":\"a\"}"), "2 \"a\"" },
    { "7 a key that is none", BYTES("{\"a\tb\":1,\"recipient_id\":2,\"message\":\"a\"}"), "byte 4: control characters" },
    { "8.3 a quote that is escaped ends no key", BYTES("{\"recipient_id\":2,\"message\":\"a\",\"message\\u0022\":1,\"message\\u0022,\":1}"), "2 \"a\"" },
    { "8.3 nor does it begin one", BYTES("{\"recipient_id\":2,\"message\":\"a\",\"\\u0022message\":1}"), "2 \"a\"" },
    { "8.3 a key with another escape is another", BYTES("{\"message\\n\":1,\"\\\"recipient_id\":1,\"mess\\/age\":1,\"recipient_id\":2,\"message\":\"a\"}"), "2 \"a\"" },
    { "8.3 a longer key is another", BYTES("{\"recipient_id\":2,\"message\":\"a\",\"recipient_id2\":1,\"messages\":1,\"message\\u0073\":1}"), "2 \"a\"" },
    { "8.3 a shorter key is another", BYTES("{\"recipient_id\":2,\"message\":\"a\",\"recipient_i\":1,\"messag\":1,\"m\\u0065ssag\":1}"), "2 \"a\"" },
    { "8.3 a short escape has no digits", BYTES("{\"recipient_id\":2,\"message\":\"a\",\"m\\n0065ssage\":1}"), "2 \"a\"" },
    { "8.3 letter case counts", BYTES("{\"Recipient_id\":2,\"message\":\"a\"}"), "byte 32: recipient_id is missing" },
};

/* Each value is tested as one more member of a message, before the two fields and
 * behind them.  right: the value is JSON, so the message is accepted. */
static const struct value_row {
    const char *rule;
    bool right;
    const char *text;
    size_t len;
} value_rows[] = {
    { "2 nothing at all", false, BYTES("") },
    { "2 only white space", false, BYTES(" \n") },
    { "2 white space around", true, BYTES(" \t\r\n[ \t\r\n] \t\r\n") },
    { "2 white space inside", true, BYTES("{ \"a\" : [ 1 , { } , [ ] , \"b\" ] , \"c\" : 2 }") },
    { "2 a form feed", false, BYTES("[\f]") },
    { "2 a vertical tab", false, BYTES("[\v1]") },
    { "2 a NUL", false, BYTES("[\0]") },
    { "2 a NUL behind a value", false, BYTES("123\0") },
    { "2 U+00A0, a space to some", false, BYTES("[\xC2\xA0]") },
    { "2 U+2060, a space to some", false, BYTES("[\xE2\x81\xA0]") },
    { "8.1 a byte order mark", false, BYTES("\xEF\xBB\xBF{}") },
    { "8.1 nothing but that", false, BYTES("\xEF\xBB\xBF") },
    { "2 two values", false, BYTES("1 2") },
    { "2 two arrays", false, BYTES("[][]") },
    { "2 a letter behind", false, BYTES("[1]x") },
    { "2 a bracket too many", false, BYTES("[1]]") },
    { "2 a brace too many", false, BYTES("{\"a\":1}}") },
    { "2 a bracket alone", false, BYTES("]") },
    { "2 a brace alone", false, BYTES("}") },
    { "2 a comment", false, BYTES("[1/* one */]") },
    { "2 a comment behind", false, BYTES("{\"a\":1}/**/") },
    { "2 a comment to the end of the line", false, BYTES("{\"a\":1}//") },
    { "2 half of one", false, BYTES("{\"a\":1}/") },
    { "2 a comment of a shell", false, BYTES("{\"a\":1}#") },
    { "3 the words", true, BYTES("[true,false,null,true]") },
    { "3 true", true, BYTES("true") },
    { "3 false", true, BYTES("false") },
    { "3 null", true, BYTES("null") },
    { "3 tru", false, BYTES("tru") },
    { "3 fals", false, BYTES("[fals") },
    { "3 nul", false, BYTES("nul") },
    { "3 truf", false, BYTES("[truf]") },
    { "3 nope", false, BYTES("nope") },
    { "3 fall", false, BYTES("fall") },
    { "3 truest", false, BYTES("truest") },
    { "3 two words in one", false, BYTES("truefalse") },
    { "3 capitals", false, BYTES("[True]") },
    { "3 more capitals", false, BYTES("NULL") },
    { "3 a word of another language", false, BYTES("undefined") },
    { "3 a word that is not ASCII", false, BYTES("\xC3\xA9t\xC3\xA9") },
    { "3 an escape outside a string", false, BYTES("[\\n]") },
    { "3 \\u outside a string", false, BYTES("\\u0041") },
    { "3 a star", false, BYTES("*") },
    { "3 angle brackets", false, BYTES("<null>") },
    { "3 round brackets", false, BYTES("(1)") },
    { "4 no member", true, BYTES("{}") },
    { "4 members", true, BYTES("{\"a\":1,\"b\":\"c\",\"d\":[],\"e\":{},\"f\":null}") },
    { "4 equal keys", true, BYTES("{\"a\":1,\"a\":2}") },
    { "4 equal members", true, BYTES("{\"a\":1,\"a\":1}") },
    { "4 an empty key", true, BYTES("{\"\":0}") },
    { "4 a key with escapes", true, BYTES("{\"a\\u0000\\n\\\"\":0}") },
    { "4 line breaks between", true, BYTES("{\n\"a\":\n1\n}") },
    { "4 our names deeper down", true, BYTES("[{\"recipient_id\":7,\"message\":\"b\"}]") },
    { "4 a comma too many", false, BYTES("{\"a\":1,}") },
    { "4 two of them", false, BYTES("{\"a\":1,,}") },
    { "4 two commas between", false, BYTES("{\"a\":1,,\"b\":2}") },
    { "4 only a comma", false, BYTES("{,}") },
    { "4 a comma before", false, BYTES("{,\"a\":1}") },
    { "4 no comma", false, BYTES("{\"a\":1 \"b\":2}") },
    { "4 no colon", false, BYTES("{\"a\" 1}") },
    { "4 two colons", false, BYTES("{\"a\"::1}") },
    { "4 a comma for the colon", false, BYTES("{\"a\",1}") },
    { "4 an equals sign for it", false, BYTES("{\"a\"=1}") },
    { "4 another value for it", false, BYTES("{\"a\" \"b\":1}") },
    { "4 a semicolon for the comma", false, BYTES("{\"a\":1;\"b\":2}") },
    { "4 no key", false, BYTES("{:1}") },
    { "4 only a colon", false, BYTES("{:}") },
    { "4 only a key", false, BYTES("{\"a\"}") },
    { "4 only a key behind a member", false, BYTES("{\"a\":1,\"b\"}") },
    { "4 no value", false, BYTES("{\"a\":}") },
    { "4 no value but a comma", false, BYTES("{\"a\":,\"b\":1}") },
    { "4 a key without quotes", false, BYTES("{a:1}") },
    { "4 a key in single quotes", false, BYTES("{'a':1}") },
    { "4 a number for a key", false, BYTES("{1:1}") },
    { "4 a larger number for a key", false, BYTES("{9e99:1}") },
    { "4 a word for a key", false, BYTES("{null:null}") },
    { "4 words for members", false, BYTES("{null,null}") },
    { "4 an array for a key", false, BYTES("{[]:1}") },
    { "4 an object for a key", false, BYTES("{{}:1}") },
    { "4 another value behind", false, BYTES("{\"a\":\"b\" 123}") },
    { "4 a picture for a key", false, BYTES("{\xF0\x9F\x8E\xB2}") },
    { "4 a brace", false, BYTES("{") },
    { "4 a brace and a key", false, BYTES("{\"a\"") },
    { "4 and a colon", false, BYTES("{\"a\":") },
    { "4 and a value", false, BYTES("{\"a\":1") },
    { "4 and a comma", false, BYTES("{\"a\":1,") },
    { "4 a brace and a comma", false, BYTES("{,") },
    { "4 an object in an object is open", false, BYTES("{\"a\":{}") },
    { "4 ended as an array", false, BYTES("{\"a\":1]") },
    { "4 an empty one ended as an array", false, BYTES("{]") },
    { "5 no element", true, BYTES("[]") },
    { "5 elements", true, BYTES("[1,\"a\",null,[],{},[1,[2]],{\"a\":[{}]}]") },
    { "5 one element", true, BYTES("[\"\"]") },
    { "5 a comma too many", false, BYTES("[1,]") },
    { "5 two of them", false, BYTES("[1,,]") },
    { "5 two commas between", false, BYTES("[1,,2]") },
    { "5 a comma before", false, BYTES("[,1]") },
    { "5 only a comma", false, BYTES("[,]") },
    { "5 a comma behind", false, BYTES("[1],") },
    { "5 no comma", false, BYTES("[1 true]") },
    { "5 no comma before an array", false, BYTES("[1[2]]") },
    { "5 no comma before a string", false, BYTES("[\"a\"\"b\"]") },
    { "5 a colon for the comma", false, BYTES("[\"a\":1]") },
    { "5 a semicolon for it", false, BYTES("[1;2]") },
    { "5 a bracket", false, BYTES("[") },
    { "5 a bracket and an element", false, BYTES("[1") },
    { "5 and a comma", false, BYTES("[1,") },
    { "5 a bracket and a comma", false, BYTES("[,") },
    { "5 and line breaks", false, BYTES("[1,\n1\n,1") },
    { "5 a bracket and half a word", false, BYTES("[ false, nul") },
    { "5 a bracket and a brace", false, BYTES("[{") },
    { "5 the same again and again", false, BYTES("[{\"\":[{\"\":[{\"\":") },
    { "5 an array in an array is open", false, BYTES("[[1]") },
    { "5 ended as an object", false, BYTES("[1}") },
    { "5 an empty one ended as an object", false, BYTES("[}") },
    { "5 crossed", false, BYTES("[{]}") },
    { "6 integers", true, BYTES("[0,-0,7,-7,10,123,-1234567890]") },
    { "6 too small for any machine", true, BYTES("[1e-9999,-1e-9999]") },
    { "6 an integer", true, BYTES("42") },
    { "6 a fraction", true, BYTES("-0.1") },
    { "6 fractions", true, BYTES("[0.0,-0.5,1.25,123.456,0.000000000000000000000000000001]") },
    { "6 exponents", true, BYTES("[0e1,0e+1,0E-1,1e2,1E2,1e+2,1E+2,1e-2,1E-2,1e01,20e0]") },
    { "6 all of it", true, BYTES("[-12.34e+56,0.5E-07]") },
    { "6 too large for any machine", true, BYTES("[1e9999,-1e9999,123456789012345678901234567890]") },
    { "6 a leading zero", false, BYTES("[01]") },
    { "6 more of them", false, BYTES("[1,001]") },
    { "6 a leading zero below 0", false, BYTES("[-01]") },
    { "6 a leading zero before a point", false, BYTES("[00.5]") },
    { "6 a plus", false, BYTES("[+1]") },
    { "6 two of them", false, BYTES("[++1]") },
    { "6 a minus", false, BYTES("-") },
    { "6 two of them", false, BYTES("[--1]") },
    { "6 a minus and a space", false, BYTES("[- 1]") },
    { "6 a minus and a letter", false, BYTES("[-x]") },
    { "6 a minus and a point", false, BYTES("[-.5]") },
    { "6 a point first", false, BYTES("[.5]") },
    { "6 a point first, with a minus behind", false, BYTES("[.-1]") },
    { "6 a point last", false, BYTES("[1.]") },
    { "6 a point last, below 0", false, BYTES("[-2.]") },
    { "6 two points", false, BYTES("[0.1.2]") },
    { "6 two points in a row", false, BYTES("[1..2]") },
    { "6 a point and an e", false, BYTES("[1.e1]") },
    { "6 no digit in the exponent", false, BYTES("[1e]") },
    { "6 no digit in a capital one", false, BYTES("[0E]") },
    { "6 no digit behind its plus", false, BYTES("[1.0e+]") },
    { "6 no digit behind its minus", false, BYTES("[1.0E-]") },
    { "6 two signs", false, BYTES("[1e+-1]") },
    { "6 two exponents", false, BYTES("[1eE2]") },
    { "6 one exponent behind the other", false, BYTES("[1e2e3]") },
    { "6 a point in the exponent", false, BYTES("[1e1.5]") },
    { "6 a letter behind", false, BYTES("[1a]") },
    { "6 a letter behind the exponent", false, BYTES("[1ea]") },
    { "6 hexadecimal", false, BYTES("[0x1F]") },
    { "6 a sum", false, BYTES("[1+2]") },
    { "6 a space in a number", false, BYTES("[1 000]") },
    { "6 a line below", false, BYTES("[1_000]") },
    { "6 infinity", false, BYTES("[Infinity]") },
    { "6 infinity below 0", false, BYTES("[-Infinity]") },
    { "6 infinity for short", false, BYTES("[Inf]") },
    { "6 not a number", false, BYTES("[NaN]") },
    { "6 not a number below 0", false, BYTES("[-nan]") },
    { "6 U+FF11, a digit to some", false, BYTES("[\xEF\xBC\x91]") },
    { "7 empty", true, BYTES("\"\"") },
    { "7 escapes", true, BYTES("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\"") },
    { "7 hex digits of both cases", true, BYTES("\"\\u0123\\u4567\\u89aB\\uCdef\\uFFFE\"") },
    { "7 escapes that are none", true, BYTES("\"\\\\n\\\\u\\\\\"") },
    { "7 an escaped NUL", true, BYTES("\"\\u0000\"") },
    { "7 a pair of surrogates", true, BYTES("\"\\uD83D\\ude39\\uDBFF\\uDFFF\"") },
    { "7 surrogates without a pair", true, BYTES("\"\\ud800x\\uDC00\\uDC00\\uD800\"") },
    { "7 a comment in a string", true, BYTES("\"/* a */ // b\"") },
    { "7 DEL, and three characters like line breaks", true, BYTES("\"\x7F\xC2\x85\xE2\x80\xA8\xE2\x80\xA9\"") },
    { "7 two, three and four bytes", true, BYTES("\"\xC3\xA9\xE2\x82\xAC\xF0\x9D\x84\x9E\"") },
    { "7 noncharacters", true, BYTES("\"\xEF\xB7\x90\xEF\xBF\xBF\xF4\x8F\xBF\xBF\"") },
    { "7 open", false, BYTES("\"a") },
    { "7 only a quote", false, BYTES("\"") },
    { "7 a single quote", false, BYTES("'") },
    { "7 in single quotes", false, BYTES("['a']") },
    { "7 in typographic ones", false, BYTES("[\xE2\x80\x9C" "a\xE2\x80\x9D]") },
    { "7 no quotes", false, BYTES("[a]") },
    { "7 a letter behind", false, BYTES("\"\"x") },
    { "7 a letter before", false, BYTES("x\"\"") },
    { "7 the quote is escaped", false, BYTES("[\"a\\\"]") },
    { "7 so is the next but one", false, BYTES("[\"\\\\\\\"]") },
    { "7 a quote too many", false, BYTES("[\"\\\\\"\"]") },
    { "7 a picture escaped", false, BYTES("\"\\\xF0\x9F\x8C\x80\"") },
    { "7 an escape, cut", false, BYTES("[\"\\") },
    { "7 \\u, cut", false, BYTES("\"\\u\"") },
    { "7 \\u and a digit, cut", false, BYTES("\"\\u0\"") },
    { "7 \\u and two digits, cut", false, BYTES("\"\\u00\"") },
    { "7 \\u and three digits, cut", false, BYTES("\"\\u00A\"") },
    { "7 a quote escaped behind a surrogate", false, BYTES("\"\\uD800\\\"") },
    { "7 a second surrogate, cut", false, BYTES("\"\\uD834\\u12x\"") },
    { "7 \\u and another escape", false, BYTES("\"\\u\\n000\"") },
};

static void check_json(const char *rule, const char *text, size_t len, const char *want)
{
    uint8_t *copy = heap_copy(text, len);
    struct json_message m;
    char got[1500];

    if (json_read(copy, len, &m))
        snprintf(got, sizeof got, "%" PRId64 " %.*s", m.recipient_id, (int)m.len,
                 (const char *)copy + m.at);
    else
        snprintf(got, sizeof got, "byte %zu: %s", m.byte, m.wanted == NULL ? "ends" : m.wanted);
    if (strncmp(want, "byte", 4) == 0)
        check(strstr(got, want) == got, "%s: %.*s: got %s, want %s", rule, (int)len, text, got, want);
    else
        check(strcmp(got, want) == 0, "%s: %.*s: got %s, want %s", rule, (int)len, text, got, want);
    free(copy);
}

/* A correct text that is cut anywhere must be refused, because it ends too early. */
static void check_json_prefixes(const struct json_row *row)
{
    size_t whole = row->len;
    char want[40];

    while (whole > 0 && row->text[whole - 1] != '}')
        whole--;
    for (size_t len = strcspn(row->text, "{") + 1; len < whole; len++) {
        sprintf(want, "byte %zu: ends", len + 1);
        check_json(row->rule, row->text, len, want);
    }
}

/* Tests a value as one more member of a message.  If it is right, the message is
 * accepted.  If not, the message is refused, and the faulty byte is not before the
 * value. */
static void check_value(const char *rule, bool right, const void *value, size_t len)
{
    static const char *const around[][2] = {
        { "{\"x\":", ",\"recipient_id\":2,\"message\":\"a\"}" },
        { "{\"recipient_id\":2,\"message\":\"a\",\"x\":", "}" },
    };
    struct json_message m;

    for (size_t i = 0; i < COUNT(around); i++) {
        size_t before = strlen(around[i][0]), after = strlen(around[i][1]);
        uint8_t *copy = heap_copy("", 0);
        copy = realloc(copy, before + len + after);
        memcpy(copy, around[i][0], before);
        memcpy(copy + before, value, len);
        memcpy(copy + before + len, around[i][1], after);
        if (json_read(copy, before + len + after, &m))
            check(right && m.recipient_id == 2 && m.len == 3
                  && memcmp(copy + m.at, "\"a\"", 3) == 0, "%s: %.*s: taken", rule,
                  (int)(before + len + after), (char *)copy);
        else
            check(!right && m.byte > before, "%s: %.*s: refused at byte %zu", rule,
                  (int)(before + len + after), (char *)copy, m.byte);
        free(copy);
    }
}

/* A value alone is not a message, even if it is JSON. */
static void check_alone(const struct value_row *row)
{
    uint8_t *copy = heap_copy(row->text, row->len);
    struct json_message m;

    check(!json_read(copy, row->len, &m), "%s: %s: taken alone", row->rule, row->text);
    free(copy);
}

/* Section 7: tests every ASCII character and one byte beyond ASCII in three ways:
 *   - in strings of every length and at every place, because json.c takes steps of 16,
 *     8 and 1 bytes
 *   - behind a backslash
 *   - as each digit of a \u escape */
static void check_characters(void)
{
    char text[50];

    for (int c = 0; c <= 0x80; c++) {
        char byte = (char)(c == 0x80 ? 0xE9 : c);
        for (size_t len = 1; len < 40; len++)
            for (size_t at = 1; at <= len; at++) {
                memset(text, 'z', sizeof text);
                text[0] = text[len + 1] = '"';
                text[at] = byte;
                check_value("7 a character", c >= ' ' && c != '"' && c != '\\', text, len + 2);
            }
        sprintf(text, "\"\\%c\"", byte);
        check_value("7 an escape", c != 0 && strchr("\"\\/bfnrt", byte) != NULL, text, 4);
        for (size_t digit = 0; digit < 4; digit++) {
            memcpy(text, "\"\\u0000\"", 8);
            text[3 + digit] = byte;
            check_value("7 a hex digit", c != 0 && strchr("0123456789abcdefABCDEF", byte) != NULL,
                        text, 8);
        }
    }
}

static void check_nesting(int depth, const char *want)
{
    char text[1000] = "{\"a\":";

    for (int i = 1; i < depth; i++)
        strcat(text, i % 2 ? "[" : "{\"k\":");
    strcat(text, "0");
    for (int i = depth - 1; i > 0; i--)
        strcat(text, i % 2 ? "]" : "}");
    strcat(text, ",\"recipient_id\":1,\"message\":\"m\"}");
    check_json("ours: depth", text, strlen(text), want);
}

static void check_json_write(int64_t id)
{
    uint8_t out[200];
    char want[100];
    size_t n = json_write(out, id, (const uint8_t *)"\"hi\"", 4);

    sprintf(want, "{\"sender_id\":%" PRId64 ",\"message\":\"hi\"}", id);
    check(n == strlen(want) && memcmp(out, want, n) == 0, "json_write: %.*s", (int)n, (char *)out);
    check(json_size(id, 4) == n, "json_size(%" PRId64 ", 4)", id);
}

/* json.c looks for special bytes in 8 or 256 at once.  Digits and spaces are never taken for
 * special ones, so each special byte is found at its own place, or missed. */
static void check_special_bytes(void)
{
    enum { MOST = 600 };
    static const char head[] = "{\"recipient_id\":1,\"message\":\"";
    char fives[MOST + 1], spaces[MOST + 1], text[3 * MOST + 100], want[2 * MOST + 100];

    memset(fives, '5', MOST);
    memset(spaces, ' ', MOST);
    fives[MOST] = spaces[MOST] = '\0';
    for (int n = 0; n <= MOST; n++) {
        sprintf(text, "%s%.*s\"%s}", head, n, fives, spaces);
        sprintf(want, "1 \"%.*s\"", n, fives);
        check_json("7", text, strlen(text), want);
        sprintf(text, "%s%.*s\\\"%s\"%s}", head, n, fives, fives, spaces);
        sprintf(want, "1 \"%.*s\\\"%s\"", n, fives, fives);
        check_json("7", text, strlen(text), want);
        sprintf(text, "%s%.*s\x01%s\"%s}", head, n, fives, fives, spaces);
        sprintf(want, "byte %zu: ", strlen(head) + (size_t)n + 1);
        check_json("7", text, strlen(text), want);
    }
}

static void test_json(void)
{
    for (size_t i = 0; i < COUNT(json_rows); i++) {
        check_json(json_rows[i].rule, json_rows[i].text, json_rows[i].len, json_rows[i].want);
        if (strncmp(json_rows[i].want, "byte", 4) != 0)
            check_json_prefixes(&json_rows[i]);
    }
    for (size_t i = 0; i < COUNT(value_rows); i++) {
        check_value(value_rows[i].rule, value_rows[i].right, value_rows[i].text, value_rows[i].len);
        check_alone(&value_rows[i]);
    }
    check_characters();
    check_special_bytes();
    check_nesting(JSON_DEPTH, "1 \"m\"");
    check_nesting(JSON_DEPTH + 1, "byte 193: nested too deeply");
    for (int64_t id = 1; id <= INT64_MAX / 10; id *= 10) {
        check_json_write(id - 1);
        check_json_write(id);
        check_json_write(id + 1);
    }
    check_json_write(1234567890123456789);
    check_json_write(INT64_MAX);
    check(json_size(INT64_MAX, 7) == 7 + JSON_AROUND, "JSON_AROUND is not the most");
}

/* ---- ws.c: requests ---- */

#define HOST "Host: localhost:8080\r\n"
#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define GET "GET / HTTP/1.1\r\n"
#define END "\r\n"

static const struct request_row {
    const char *rule;
    const char *text;
    size_t len;
    int status;
    const char *reason;         /* words from the reason; "": there is none */
} request_rows[] = {
    { "4.2.1 a handshake", BYTES(GET HOST UPGRADE KEY VERSION END), 101, "" },
    { "4.2.1 header names and words in any case", BYTES(GET "hOST: x\r\nUPGRADE: WebSocket\r\nconnection: uPGRADE\r\nsec-websocket-KEY: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version:13\r\n" END), 101, "" },
    { "RFC 9110 5.6.1 lists", BYTES(GET HOST "Upgrade: h2c , websocket\r\nConnection: keep-alive,Upgrade\r\n" KEY VERSION END), 101, "" },
    { "RFC 9110 5.3 lists in several lines", BYTES(GET HOST "Upgrade: h2c\r\nUpgrade: websocket\r\nConnection: keep-alive\r\nConnection: Upgrade\r\n" KEY VERSION END), 101, "" },
    { "4.2.1 item 1 any path", BYTES("GET /chat?room=1 HTTP/1.1\r\n" HOST UPGRADE KEY VERSION END), 101, "" },
    { "4.1 HTTP/1.1 or higher", BYTES("GET / HTTP/1.2\r\n" HOST UPGRADE KEY VERSION END), 101, "" },
    { "4.2.1 what follows are frames", BYTES(GET HOST UPGRADE KEY VERSION END "\x81\x80 a b\r\nHost: x\r\n"), 101, "" },
    { "RFC 9112 2.2 one empty line before", BYTES("\r\n" GET HOST UPGRADE KEY VERSION END), 101, "" },
    { "RFC 9112 2.2 but not two", BYTES("\r\n\r\n"), 400, "GET / HTTP/1.1 wanted" },
    { "RFC 9112 5.1 spaces around a value", BYTES(GET "Host:   x \t \r\n" UPGRADE KEY "Sec-WebSocket-Version:\t13 \r\n" END), 101, "" },
    { "ours: a body of no bytes", BYTES(GET HOST "Content-Length: 0\r\n" UPGRADE KEY VERSION END), 101, "" },
    { "RFC 9110 15.5.22 a plain GET", BYTES(GET HOST END), 426, "" },
    { "a plain HEAD", BYTES("HEAD / HTTP/1.1\r\n" HOST END), 426, "" },
    { "curl --http2", BYTES(GET HOST "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n" END), 426, "" },
    { "ours: a key without Upgrade", BYTES(GET HOST KEY END), 400, "no \"Upgrade" },
    { "ours: a version without Upgrade", BYTES(GET HOST VERSION END), 400, "no \"Upgrade" },
    { "ours: HEAD asks for none", BYTES("HEAD / HTTP/1.1\r\n" HOST UPGRADE KEY VERSION END), 426, "" },
    { "RFC 9110 5.3 the same in several lines", BYTES(GET HOST UPGRADE UPGRADE KEY VERSION END), 101, "" },
    { "RFC 9110 2.5 the highest minor version", BYTES("GET / HTTP/1.9\r\n" HOST END), 426, "" },
    { "RFC 9110 5.6.2 all characters of a name", BYTES(GET HOST "!#$%&'*+-.^_`|~09azAZ: x\r\n" END), 426, "" },
    { "RFC 9112 3.2 all characters of a Host", BYTES(GET "Host: [09azAZ-._~:]%!$&'()*+;=\r\n" END), 426, "" },
    { "RFC 9112 3.2 an empty Host", BYTES(GET "Host:\r\n" END), 426, "" },
    { "4.2.1 item 3", BYTES(GET HOST "Connection: Upgrade\r\n" KEY VERSION END), 400, "no \"Upgrade" },
    { "4.2.1 item 3", BYTES(GET HOST "Upgrade: websockets\r\nConnection: Upgrade\r\n" KEY VERSION END), 400, "no \"Upgrade" },
    { "4.2.1 item 4", BYTES(GET HOST "Upgrade: websocket\r\nConnection: close\r\n" KEY VERSION END), 400, "no \"Connection" },
    { "4.2.1 item 5 no key", BYTES(GET HOST UPGRADE VERSION END), 400, "no Sec-WebSocket-Key" },
    { "11.3.1 two keys", BYTES(GET HOST UPGRADE KEY KEY VERSION END), 400, "several Sec-WebSocket-Key" },
    { "4.2.1 item 5 15 bytes", BYTES(GET HOST UPGRADE "Sec-WebSocket-Key: MTIzNDU2Nzg5MDEyMzQ1\r\n" VERSION END), 400, "not 16 bytes" },
    { "4.2.1 item 5 17 bytes", BYTES(GET HOST UPGRADE "Sec-WebSocket-Key: MTIzNDU2Nzg5MDEyMzQ1Njc=\r\n" VERSION END), 400, "not 16 bytes" },
    { "4.2.1 item 5 no base64", BYTES(GET HOST UPGRADE "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j!Q==\r\n" VERSION END), 400, "not 16 bytes" },
    { "4.2.1 item 5 a key and more", BYTES(GET HOST UPGRADE "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==A\r\n" VERSION END), 400, "not 16 bytes" },
    { "4.2.1 item 5 empty", BYTES(GET HOST UPGRADE "Sec-WebSocket-Key:\r\n" VERSION END), 400, "not 16 bytes" },
    { "4.2.1 item 6 no version", BYTES(GET HOST UPGRADE KEY END), 400, "no Sec-WebSocket-Version" },
    { "11.3.5 two versions", BYTES(GET HOST UPGRADE KEY VERSION VERSION END), 400, "several Sec-WebSocket-Version" },
    { "4.4 an old version", BYTES(GET HOST UPGRADE KEY "Sec-WebSocket-Version: 8\r\n" END), 426, "13 wanted" },
    { "4.4 a list is no version", BYTES(GET HOST UPGRADE KEY "Sec-WebSocket-Version: 8, 13\r\n" END), 426, "13 wanted" },
    { "4.2.1 item 2 no Host", BYTES(GET UPGRADE KEY VERSION END), 400, "no Host" },
    { "RFC 9112 3.2 two Hosts", BYTES(GET HOST HOST UPGRADE KEY VERSION END), 400, "several Host" },
    { "RFC 9112 3.2 a Host that is none", BYTES(GET "Host: a b\r\n" END), 400, "not a host" },
    { "RFC 9112 3.2 the name of Host is whole", BYTES(GET "Hos: x\r\nHostt: x\r\nGost: x\r\n" END), 400, "no Host" },
    { "RFC 9112 3.2 a Host with a path", BYTES(GET "Host: a/b\r\n" END), 400, "not a host" },
    { "RFC 6454 7.3 one Origin", BYTES(GET HOST "Origin: http://a\r\n" END), 426, "" },
    { "RFC 6454 7.3 two Origins", BYTES(GET HOST "Origin: http://a\r\nOrigin: http://b\r\n" END), 400, "several Origin" },
    { "ours: a body", BYTES(GET HOST "Content-Length: 5\r\n" END), 400, "body" },
    { "ours: a body", BYTES(GET HOST "Transfer-Encoding: chunked\r\n" END), 400, "body" },
    { "ours: a body of no bytes, and one", BYTES(GET HOST "Content-Length: 5\r\nContent-Length: 0\r\n" END), 400, "body" },
    { "4.2.1 item 1 no minor version", BYTES("GET / HTTP/1.x\r\n" HOST END), 400, "HTTP/1.1 wanted" },
    { "4.2.1 item 1 a minor version that is no digit", BYTES("GET / HTTP/1.:\r\n" HOST END), 400, "HTTP/1.1 wanted" },
    { "4.2.1 item 1 HTTP/1.0", BYTES("GET / HTTP/1.0\r\n" HOST END), 400, "HTTP/1.1 wanted" },
    { "4.2.1 item 1 HTTP/2", BYTES("GET / HTTP/2.0\r\n" HOST END), 400, "HTTP/1.1 wanted" },
    { "RFC 9112 2.3 letter case", BYTES("GET / http/1.1\r\n" HOST END), 400, "HTTP/1.1 wanted" },
    { "RFC 9112 3 no version", BYTES("GET /\r\n" HOST END), 400, "GET / HTTP/1.1 wanted" },
    { "RFC 9112 3 an empty version", BYTES("GET / \r\n" HOST END), 400, "GET / HTTP/1.1 wanted" },
    { "RFC 9112 3 no target", BYTES("GET  HTTP/1.1\r\n" HOST END), 400, "GET / HTTP/1.1 wanted" },
    { "RFC 9112 3 a space in the target", BYTES("GET /a b HTTP/1.1\r\n" HOST END), 400, "HTTP/1.1 wanted" },
    { "RFC 9112 3 no method", BYTES(" / HTTP/1.1\r\n" HOST END), 400, "GET / HTTP/1.1 wanted" },
    { "RFC 9110 15.5.6 a method", BYTES("POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n" END), 405, "GET and HEAD" },
    { "ours: curl -T before 8.20", BYTES("PUT / HTTP/1.1\r\n" HOST UPGRADE KEY VERSION END), 405, "use curl 8.20 or newer to chat" },
    { "RFC 9110 9.1 letter case", BYTES("get / HTTP/1.1\r\n" HOST END), 405, "GET and HEAD" },
    { "RFC 9112 5 no colon", BYTES(GET HOST "Upgrade websocket\r\n" END), 400, "without a colon" },
    { "RFC 9112 5 no name", BYTES(GET HOST ": x\r\n" END), 400, "without a name" },
    { "RFC 9112 5.1 space before the colon", BYTES(GET HOST "Upgrade : websocket\r\n" END), 400, "space before" },
    { "RFC 9110 5.6.2 a name", BYTES(GET HOST "Up(grade): websocket\r\n" END), 400, "bad character" },
    { "RFC 9112 5.2 folded", BYTES(GET HOST "X: a\r\n b\r\n" END), 400, "folded" },
    { "RFC 9112 5.2 folded at once", BYTES(GET " Host: a\r\n" END), 400, "folded" },
    { "RFC 9110 5.5 a NUL", BYTES(GET "Host: a\0b\r\n" END), 400, "control character" },
    { "RFC 9110 5.5 DEL", BYTES(GET "Host: a\x7F" "b\r\n" END), 400, "control character" },
    { "RFC 9110 5.5 a character below the space", BYTES(GET "Host: a\x1F" "b\r\n" END), 400, "control character" },
    { "4.3 a list of subprotocols", BYTES(GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Protocol: ,a.b , c!,\r\n" END), 101, "" },
    { "4.3 a short list of subprotocols", BYTES(GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Protocol: a\r\n" END), 101, "" },
    { "4.3 one that is none", BYTES(GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Protocol: ab,=\r\n" END), 400, "Protocol is not" },
    { "RFC 9110 5.6.1.2 no subprotocol", BYTES(GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Protocol:\r\n" END), 101, "" },
    { "RFC 9110 5.6.1.2 no subprotocol but a comma", BYTES(GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Protocol: ,\r\n" END), 101, "" },
    { "4.3 no list of subprotocols", BYTES(GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Protocol: a b\r\n" END), 400, "Protocol is not" },
    { "4.3 a subprotocol in UTF-8", BYTES(GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Protocol: a, \xC3\xA9\r\n" END), 400, "Protocol is not" },
    { "9.1 an extension", BYTES(GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" END), 101, "" },
    { "9.1 several extensions", BYTES(GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Extensions: a;b=1 ; c = \"10\" ,, d;e=\"\\f\\g\"\r\n" END), 101, "" },
    { "9.1 a short value in quotes", BYTES(GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Extensions: a; b=\"c\"\r\n" END), 101, "" },
    { "9.1 a value that is none in quotes", BYTES(GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Extensions: a; b=\"=c\"\r\n" END), 400, "Extensions is malformed" },
    { "9.1 an extension with a value", BYTES(GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Extensions: a=1\r\n" END), 400, "Extensions is malformed" },
    { "RFC 9110 5.6.1.2 no extension", BYTES(GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Extensions:\r\n" END), 101, "" },
    { "RFC 9110 5.6.1.2 no extension but a comma", BYTES(GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Extensions: \t,\r\n" END), 101, "" },
    { "9.1 an extension without a name", BYTES(GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Extensions: ;a=1\r\n" END), 400, "Extensions is malformed" },
    { "9.1 a semicolon alone", BYTES(GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Extensions: ;\r\n" END), 400, "Extensions is malformed" },
    { "9.1 an extension of two words", BYTES(GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Extensions: a b\r\n" END), 400, "Extensions is malformed" },
    { "9.1 a semicolon and no parameter", BYTES(GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Extensions: a;\r\n" END), 400, "Extensions is malformed" },
    { "9.1 a parameter without a name", BYTES(GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Extensions: a; =1\r\n" END), 400, "Extensions is malformed" },
    { "9.1 a parameter without its value", BYTES(GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Extensions: a; b=\r\n" END), 400, "Extensions is malformed" },
    { "9.1 a quote that does not end", BYTES(GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Extensions: a; b=\"10\r\n" END), 400, "Extensions is malformed" },
    { "9.1 a quote that does not begin", BYTES(GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Extensions: a; b=10\"\r\n" END), 400, "Extensions is malformed" },
    { "9.1 one quote", BYTES(GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Extensions: a; b=\"\r\n" END), 400, "Extensions is malformed" },
    { "9.1 nothing in quotes", BYTES(GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Extensions: a; b=\"\"\r\n" END), 400, "Extensions is malformed" },
    { "9.1 two words in quotes", BYTES(GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Extensions: a; b=\"c d\"\r\n" END), 400, "Extensions is malformed" },
    { "9.1 a quote in quotes", BYTES(GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Extensions: a; b=\"c\\\"\r\n" END), 400, "Extensions is malformed" },
    { "RFC 9112 2.2 LF alone", BYTES("GET / HTTP/1.1\nHost: x\n\n"), 400, "use nc -C" },
    { "RFC 9112 2.2 CR alone", BYTES("GET / HTTP/1.1\rHost: x\r\r"), 400, "CR without" },
    { "RFC 9110 5.5 a control character at once", BYTES("\x01" GET HOST END), 400, "control character" },
    { "RFC 9112 2.2 LF at once", BYTES("\n" GET HOST END), 400, "use nc -C" },
    { "RFC 8446 5.1 a TLS hello", BYTES("\x16\x03\x01\x02"), 400, "use http:// and ws://, not https:// and wss://" },
    { "ours: JSON typed into nc", BYTES("{\"recipient_id\":1,\"message\":\"hi\"}\n"), 400, "use websocat or a browser" },
    { "ours: JSON behind an empty line", BYTES("\r\n{}\r\n\r\n"), 400, "GET / HTTP/1.1 wanted" },
};

/* Gives every first part of the request to the parser.  It must ask for more bytes, or
 * give the final result.  When it has given the result, it must not ask for more. */
static void check_request(const struct request_row *row)
{
    struct ws_request r;
    bool done = false;

    for (size_t len = 0; len <= row->len; len++) {
        uint8_t *copy = heap_copy(row->text, len);
        bool told = ws_parse_request(copy, len, "notices", &r);
        check(told || !done, "%s: told, and then not any more at %zu", row->rule, len);
        done = told;
        if (told)
            check(r.status == row->status
                  && strstr(r.reason == NULL ? "" : r.reason, row->reason) != NULL
                  && (r.reason == NULL) == (row->reason[0] == '\0'),
                  "%s: after %zu bytes got %d %s, want %d %s", row->rule, len, r.status,
                  r.reason == NULL ? "" : r.reason, row->status, row->reason);
        free(copy);
    }
    check(done, "%s: nothing told", row->rule);
}

/* Tests every byte in the middle of a header's name, a subprotocol, and a Host. */
static void check_bytes_of_names(void)
{
    static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    static const struct {
        const char *before, *behind, *others;   /* legal besides letters and digits */
        int status;
    } places[] = {
        { GET HOST "X", "Y: z\r\n\r\n", "!#$%&'*+-.^_`|~:", 426 },
        { GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Protocol: a", "b\r\n\r\n",
          "!#$%&'*+-.^_`|~,", 101 },
        { GET "Host: a", "b\r\n\r\n", "-._~:[]%!$&'()*+;=", 426 },
    };
    struct ws_request r;
    char text[400];

    for (size_t i = 0; i < COUNT(places); i++)
        for (int c = 1; c < 256; c++) {
            bool right = strchr(letters, c) != NULL || strchr(places[i].others, c) != NULL;
            int n = sprintf(text, "%s%c%s", places[i].before, c, places[i].behind);
            bool told = ws_parse_request((uint8_t *)text, (size_t)n, "notices", &r);
            check(told && r.status == (right ? places[i].status : 400),
                  "byte %02X in %s...: got %d", (unsigned)c, places[i].before, r.status);
        }
}

/* If a request has several faults, the parser reports the first, with the faulty
 * value. */
static void check_seen(const char *text, const char *seen)
{
    struct ws_request r;
    bool told = ws_parse_request((const uint8_t *)text, strlen(text), "notices", &r);
    check(told && r.seen.len == strlen(seen) && memcmp(text + r.seen.at, seen, r.seen.len) == 0,
          "%s: seen %.*s, want %s", text, (int)r.seen.len, text + r.seen.at, seen);
}

/* RFC 9110 section 9.3.2: HEAD gets no body, even if its first line has a fault. */
static void check_head(const char *text, bool head)
{
    struct ws_request r;
    bool told = ws_parse_request((const uint8_t *)text, strlen(text), NULL, &r);
    check(told && r.head == head, "%s: got head %d, want %d", text, r.head, head);
    for (size_t len = 0; len <= strlen(text); len++) {
        uint8_t *copy = heap_copy(text, len);
        bool whole = len >= strcspn(text, " ") + 1;
        check(ws_is_head(copy, len) == (head && whole), "%.*s: HEAD or not?", (int)len, text);
        free(copy);
    }
}

static void check_long_line(void)
{
    static char text[WS_HEAD_MAX];
    struct ws_request r;
    uint8_t *copy;

    memset(text, 'x', sizeof text);
    copy = heap_copy(text, sizeof text);
    check(!ws_parse_request(copy, WS_HEAD_MAX - 1, NULL, &r), "a long line: told before its time");
    check(ws_parse_request(copy, WS_HEAD_MAX, NULL, &r) && r.status == 414,
          "a request line of %d bytes: got %d, want 414", (int)WS_HEAD_MAX, r.status);
    free(copy);
}

static void check_long_head(size_t len, int status)
{
    static char text[WS_HEAD_MAX + 2];
    struct ws_request r;
    size_t n = (size_t)sprintf(text, "%s", GET HOST "X: ");
    uint8_t *copy;

    memset(text + n, 'x', len - n);
    memcpy(text + len - 4, "\r\n\r\n", 4);
    copy = heap_copy(text, len);
    ws_parse_request(copy, len, NULL, &r);
    check(r.status == status,
          "a head of %zu bytes: got %d, want %d", len, r.status, status);
    check(ws_parse_request(copy, len < WS_HEAD_MAX ? len : WS_HEAD_MAX, NULL, &r)
          && r.status == status, "a head of %zu bytes: not told in time", len);
    check(!ws_parse_request(copy, len < WS_HEAD_MAX ? len - 1 : WS_HEAD_MAX - 1, NULL, &r),
          "a head of %zu bytes: told before its end", len);
    free(copy);
}

static void check_offers(const char *header, bool offers)
{
    char text[400];
    struct ws_request r;

    sprintf(text, "%s%s%s", GET HOST UPGRADE KEY VERSION, header, END);
    ws_parse_request((uint8_t *)text, strlen(text), NULL, &r);
    check(r.status == 101 && !r.offers, "%s offers what nobody asked for", header);
    ws_parse_request((uint8_t *)text, strlen(text), "notices", &r);
    check(r.status == 101 && r.offers == offers, "%s offers notices: got %d", header, r.offers);
}

static void check_html(const char *accept, bool html)
{
    char text[400];
    struct ws_request r;

    sprintf(text, "%s%s%s\r\n%s", GET HOST, "Accept: ", accept, END);
    ws_parse_request((uint8_t *)text, strlen(text), NULL, &r);
    check(r.status == 426 && r.html == html, "Accept: %s: got %d", accept, r.html);
}

static void test_request(void)
{
    static const char views[] = GET "Host: a:1\r\nOrigin:  http://b \r\n" END "frames";
    struct ws_request r;
    char accept[WS_ACCEPT_LEN + 1];

    for (size_t i = 0; i < COUNT(request_rows); i++)
        check_request(&request_rows[i]);
    check_bytes_of_names();
    check_seen("GET / HTTP/1.0\r\nHost: a b\r\n\r\n", "HTTP/1.0");
    check_seen("\r\nGET /\r\nHost: a\r\n\r\n", "GET /");
    check_seen("PUT / HTTP/1.1\r\nHost: a b\r\n\r\n", "PUT");
    check_seen(GET "Host: a b\r\nX: y\r\n\r\n", "a b");
    check_seen(GET HOST "Upgrade x\r\n : y\r\n\r\n", "Upgrade x");
    check_seen(GET HOST UPGRADE KEY "Sec-WebSocket-Version: 12\r\n\r\n", "12");
    check_seen(GET HOST UPGRADE VERSION "Sec-WebSocket-Key: abc\r\n\r\n", "abc");
    check_seen(GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Protocol: a b\r\n\r\n", "a b");
    check_seen(GET HOST UPGRADE VERSION END, "");
    check_head("HEAD / HTTP/1.1\r\n" HOST END, true);
    check_head("HEAD /\n", true);
    check_head("HEAD /\x01", true);
    check_head("HEADS / HTTP/1.1\r\n" HOST END, false);
    check_head("GET / HTTP/1.1\r\n" HOST END, false);
    check(ws_is_head((const uint8_t *)"\r\nHEAD ", 7), "HEAD behind an empty line");
    check(!ws_is_head((const uint8_t *)"\rXHEAD ", 7), "HEAD behind something else");
    check_html("text/html", true);
    check_html("image/png, TEXT/HTML ; q=0.9", true);
    check_html("text/html;level=1;q=0.001", true);
    check_html("text/plain;q=0, text/html", true);
    check_html("text/html;q=0x", true);
    check_html("text/html;q", true);
    check_html("text/html;q=1", true);
    check_html("text/html\r\nAccept: text/plain", true);
    check_html("text/html;q=1.000", true);
    check_html("text/plain", false);
    check_html("text/html;q=0", false);
    check_html("text/html ; Q=0.000, text/plain", false);
    check_html("text/html;level=1;q=0.", false);
    check_long_line();
    check_long_head(WS_HEAD_MAX, 426);
    check_long_head(WS_HEAD_MAX + 1, 431);
    check_offers("Sec-WebSocket-Protocol: notices\r\n", true);
    check_offers("Sec-WebSocket-Protocol: soap, notices ,wamp\r\n", true);
    check_offers("Sec-WebSocket-Protocol: soap\r\nSec-WebSocket-Protocol: notices\r\n", true);
    check_offers("Sec-WebSocket-Protocol: notices2, Notices\r\n", false);
    check_offers("", false);
    check_offers("Sec-WebSocket-Protocol: notices\r\nSec-WebSocket-Protocol: soap\r\n", true);
    ws_parse_request((const uint8_t *)views, sizeof views - 1, NULL, &r);
    check(r.size == sizeof views - 1 - strlen("frames")
          && r.host.len == 3 && memcmp(views + r.host.at, "a:1", 3) == 0
          && r.origin.len == 8 && memcmp(views + r.origin.at, "http://b", 8) == 0,
          "views: size %zu, host %zu+%zu, origin %zu+%zu", r.size, r.host.at, r.host.len,
          r.origin.at, r.origin.len);
    ws_accept_key((const uint8_t *)"dGhlIHNhbXBsZSBub25jZQ==", accept);     /* 1.3 */
    check(strcmp(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") == 0, "accept key: %s", accept);
}

/* ---- ws.c: frames and messages ---- */

#define K "\0\0\0\0"            /* a mask that does not change the payload */
#define KX "\x37\xfa\x21\x3d"   /* the mask of the examples in section 5.7 */
#define FIFTY "12345678901234567890123456789012345678901234567890"
#define LIMIT 300               /* bytes of a message, in these tables */

static const struct frame_row {
    const char *rule;
    const char *bytes;
    size_t len;
    const char *want;           /* the events, as play() writes them */
} frame_rows[] = {
    { "5.7 a masked Hello", BYTES("\x81\x85" KX "\x7f\x9f\x4d\x51\x58"), "text(Hello)" },
    { "5.7 Hello in fragments", BYTES("\x01\x83" K "Hel" "\x80\x82" K "lo"), "text(Hello)" },
    { "5.7 a masked ping", BYTES("\x89\x85" KX "\x7f\x9f\x4d\x51\x58"), "ping(Hello)" },
    { "5.6 binary", BYTES("\x82\x82" K "ab"), "binary(ab)" },
    { "ours: binary, first byte that is not UTF-8", BYTES("\x82\x83" K "a\xFF\xFE"), "binary(a\xFF\xFE, bad 2)" },
    { "ours: binary that ends in a character", BYTES("\x82\x82" K "a\xC3"), "binary(a\xC3, bad 2)" },
    { "ours: the next binary after one that is not UTF-8", BYTES("\x82\x81" K "\xC3" "\x82\x81" K "b"), "binary(\xC3, bad 1) binary(b)" },
    { "5.6 empty", BYTES("\x81\x80" K), "text()" },
    { "5.4 empty fragments", BYTES("\x01\x80" K "\x00\x80" K "\x00\x81" K "a" "\x80\x80" K), "text(a)" },
    { "many in one read", BYTES("\x81\x81" K "a" "\x82\x81" K "b" "\x89\x80" K "\x8A\x80" K "\x81\x81" K "c"), "text(a) binary(b) ping() pong() text(c)" },
    { "5.4 control frames between fragments", BYTES("\x01\x82" K "ab" "\x89\x81" K "1" "\x00\x81" K "c" "\x8A\x80" K "\x80\x81" K "d"), "ping(1) pong() text(abcd)" },
    { "5.5.3 a pong nobody asked for", BYTES("\x8A\x82" K "hi"), "pong(hi)" },
    { "5.2 length 125", BYTES("\x81\xFD" K FIFTY FIFTY "1234567890123456789012345"), "text(" FIFTY FIFTY "1234567890123456789012345)" },
    { "5.2 length 126", BYTES("\x81\xFE\x00\x7E" K FIFTY FIFTY "12345678901234567890123456"), "text(" FIFTY FIFTY "12345678901234567890123456)" },
    { "5.2 a header alone", BYTES("\x81\xFE\x00\x7E" K), "" },
    { "5.2 125 in two bytes", BYTES("\x81\xFE\x00\x7D" K), "breach(1002)" },
    { "5.2 65535 in eight bytes", BYTES("\x81\xFF\0\0\0\0\0\0\xFF\xFF" K), "breach(1002)" },
    { "5.2 125 in two bytes, told by these", BYTES("\x81\xFE\x00\x7D"), "breach(1002)" },
    { "5.2 65536 in eight bytes", BYTES("\x81\xFF\0\0\0\0\0\x01\0\0" K), "breach(1009)" },
    { "5.2 top bit of the length", BYTES("\x81\xFF\x80\0\0\0\0\0\0\0" K), "breach(1002)" },
    { "5.2 RSV1", BYTES("\xC1\x80" K), "breach(1002)" },
    { "5.2 RSV2", BYTES("\xA1\x80" K), "breach(1002)" },
    { "5.2 RSV3", BYTES("\x91\x80" K), "breach(1002)" },
    { "5.2 RSV1 in a control frame", BYTES("\xC9\x80" K), "breach(1002)" },
    { "5.2 opcode 3", BYTES("\x83\x80" K), "breach(1002)" },
    { "5.2 opcode 7", BYTES("\x87\x80" K), "breach(1002)" },
    { "5.2 opcode 11", BYTES("\x8B\x80" K), "breach(1002)" },
    { "5.2 opcode 15", BYTES("\x8F\x80" K), "breach(1002)" },
    { "5.1 not masked", BYTES("\x81\x05" "Hello"), "breach(1002)" },
    { "5.1 a ping not masked", BYTES("\x89\x00"), "breach(1002)" },
    { "5.5 a control frame in fragments", BYTES("\x09\x80" K), "breach(1002)" },
    { "5.5 a ping of 125", BYTES("\x89\xFD" K FIFTY FIFTY "1234567890123456789012345"), "ping(" FIFTY FIFTY "1234567890123456789012345)" },
    { "5.5 a ping of 126", BYTES("\x89\xFE\x00\x7E" K), "breach(1002)" },
    { "5.5 a ping of 126, told by two bytes", BYTES("\x89\xFE"), "breach(1002)" },
    { "5.4 nothing to continue", BYTES("\x80\x81" K "a"), "breach(1002)" },
    { "5.4 nothing to continue after a message", BYTES("\x81\x81" K "a" "\x80\x81" K "b"), "text(a) breach(1002)" },
    { "5.4 a text inside a text", BYTES("\x01\x81" K "a" "\x81\x81" K "b"), "breach(1002)" },
    { "5.4 a binary inside a text", BYTES("\x01\x81" K "a" "\x82\x81" K "b"), "breach(1002)" },
    { "ours: over the limit", BYTES("\x81\xFE\x01\x2D" K), "breach(1009)" },
    { "ours: at the limit", BYTES("\x81\xFE\x01\x2C" K "a"), " +1" },
    { "ours: over the limit in fragments", BYTES("\x01\xFE\x00\xC8" K FIFTY FIFTY FIFTY FIFTY "\x80\xE5" K), "breach(1009)" },
    { "ours: at the limit in fragments, behind another", BYTES("\x81\x81" K "a" "\x01\xFE\x00\xC8" K FIFTY FIFTY FIFTY FIFTY "\x80\xE4" K FIFTY FIFTY), "text(a) text(" FIFTY FIFTY FIFTY FIFTY FIFTY FIFTY ")" },
    { "ours: far over the limit", BYTES("\x81\xFF\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF" K), "breach(1009)" },
    { "8.1 C0 AF", BYTES("\x81\x83" K "a\xC0\xAF"), "breach(1007 at 2)" },
    { "8.1 behind another message", BYTES("\x81\x81" K "a" "\x81\x82" K "b\xFF"), "text(a) breach(1007 at 2)" },
    { "8.1 cut at the end, behind another message", BYTES("\x81\x81" K "a" "\x81\x82" K "b\xC3"), "text(a) breach(1007 at 2)" },
    { "8.1 before the frame is whole", BYTES("\x81\xFD" K "ab\xFF"), "breach(1007 at 3)" },
    { "8.1 a character across fragments", BYTES("\x01\x82" K "a\xC3" "\x80\x82" K "\xA9z"), "text(a\xC3\xA9z)" },
    { "8.1 ASCII to its last character, beside others", BYTES("\x81\x83" K "\xC3\xA9\x7F"), "text(\xC3\xA9\x7F)" },
    { "8.1 a character cut at the end", BYTES("\x81\x82" K "a\xC3"), "breach(1007 at 2)" },
    { "8.1 cut by a ping: not at all", BYTES("\x01\x82" K "a\xE2" "\x89\x80" K "\x80\x82" K "\x82\xAC"), "ping() text(a\xE2\x82\xAC)" },
    { "5.5.1 close without a code", BYTES("\x88\x80" K), "close(1005 )" },
    { "5.5.1 close with a code", BYTES("\x88\x82" K "\x03\xE8"), "close(1000 )" },
    { "5.5.1 close with a reason", BYTES("\x88\x85" K "\x03\xE8" "bye"), "close(1000 bye)" },
    { "5.5.1 half a code", BYTES("\x88\x81" K "\x03"), "breach(1002)" },
    { "8.1 a reason that is not UTF-8", BYTES("\x88\x83" K "\x03\xE8\xFF"), "breach(1007)" },
    { "8.1 a reason cut in a character", BYTES("\x88\x83" K "\x03\xE8\xC3"), "breach(1007)" },
    { "5.5.1 a close in the middle of a message", BYTES("\x01\x81" K "a" "\x88\x80" K), "close(1005 )" },
};

/* Writes "0" in place of a NUL, because the events are compared as C strings. */
static char *put_payload(char *end, const void *payload, size_t len)
{
    const char *from = payload;

    for (size_t i = 0; i < len; i++)
        *end++ = from[i] == '\0' ? '0' : from[i];
    return end;
}

/* Appends an event to text; returns false if it is the last one. */
static bool note_event(char *text, enum ws_type type, const uint8_t *buf, const struct ws_event *e)
{
    static const char *const names[] = { "", "text", "binary", "ping", "pong", "close", "breach" };
    char *end = text + strlen(text);

    end += sprintf(end, "%s%s(", end == text ? "" : " ", names[type]);
    if (type == WS_CLOSE || type == WS_BREACH)
        end += sprintf(end, "%d", e->code);
    if (type == WS_CLOSE)
        *end++ = ' ';
    if (type != WS_BREACH)
        end = put_payload(end, buf + e->at, e->len);
    if (e->bad != 0)
        end += sprintf(end, ", bad %zu", e->bad);
    if (type == WS_BREACH && e->byte != 0)
        end += sprintf(end, " at %zu", e->byte);
    strcpy(end, ")");
    return type != WS_CLOSE && type != WS_BREACH;
}

/* Decodes the bytes, `step` of them at a time, and writes the events as text.  " +N" at
 * the end means that the decoder kept N bytes of an unfinished message. */
static void play(const void *bytes, size_t len, size_t step, char *text)
{
    struct ws_decoder d;
    struct ws_event e;
    enum ws_type type;
    uint8_t *kept = heap_copy("", 0);
    size_t used = 0;
    bool more = true;

    text[0] = '\0';
    ws_start(&d, 0, LIMIT);
    for (size_t at = 0; at < len && more; at += step) {
        size_t now = len - at < step ? len - at : step;
        uint8_t *buf = realloc(kept, used + now);
        memcpy(buf + used, (const char *)bytes + at, now);
        while (more && (type = ws_next(&d, buf, used + now, &e)) != WS_MORE)
            more = note_event(text, type, buf, &e);
        used = ws_keep(&d, buf, buf, used + now);
        kept = heap_copy(buf, used);
        free(buf);
    }
    if (more && d.end > d.start)
        sprintf(text + strlen(text), " +%zu", used);
    free(kept);
}

static void check_steps(const char *rule, const void *bytes, size_t len, size_t step,
                        const char *want)
{
    char got[2000];

    play(bytes, len, step, got);
    check(strcmp(got, want) == 0, "%s, %zu bytes at a time: got %s, want %s", rule, step, got,
          want);
}

static void check_play(const char *rule, const void *bytes, size_t len, const char *want)
{
    static const size_t steps[] = { 1, 2, 3, 7, 100000 };

    for (size_t i = 0; i < COUNT(steps); i++)
        check_steps(rule, bytes, len, steps[i], want);
}

/* Section 7.4, and the codes that IANA has added. */
static void check_close_codes(void)
{
    static const struct { int first, last; bool right; } ranges[] = {
        { 0, 999, false }, { 1000, 1003, true }, { 1004, 1006, false }, { 1007, 1014, true },
        { 1015, 2999, false }, { 3000, 4999, true }, { 5000, 65535, false },
    };
    uint8_t bytes[] = { 0x88, 0x82, 0, 0, 0, 0, 0, 0 };
    char got[100], want[100];

    for (size_t i = 0; i < COUNT(ranges); i++)
        for (int code = ranges[i].first; code <= ranges[i].last; code++) {
            bytes[6] = (uint8_t)(code >> 8);
            bytes[7] = (uint8_t)(code & 0xFF);
            sprintf(want, ranges[i].right ? "close(%d )" : "breach(1002)", code);
            play(bytes, sizeof bytes, sizeof bytes, got);
            check(strcmp(got, want) == 0, "7.4 close code %d: got %s", code, got);
        }
}

/* RFC 3629 section 4, row by row: the smallest and the largest value of each byte of a
 * character. */
static const struct utf8_row {
    const char *rule;
    size_t len;
    uint8_t may_be[4][2];
} utf8_rows[] = {
    { "UTF8-1", 1, { { 0x00, 0x7F } } },
    { "UTF8-2", 2, { { 0xC2, 0xDF }, { 0x80, 0xBF } } },
    { "UTF8-3 E0", 3, { { 0xE0, 0xE0 }, { 0xA0, 0xBF }, { 0x80, 0xBF } } },
    { "UTF8-3 E1-EC", 3, { { 0xE1, 0xEC }, { 0x80, 0xBF }, { 0x80, 0xBF } } },
    { "UTF8-3 ED", 3, { { 0xED, 0xED }, { 0x80, 0x9F }, { 0x80, 0xBF } } },
    { "UTF8-3 EE-EF", 3, { { 0xEE, 0xEF }, { 0x80, 0xBF }, { 0x80, 0xBF } } },
    { "UTF8-4 F0", 4, { { 0xF0, 0xF0 }, { 0x90, 0xBF }, { 0x80, 0xBF }, { 0x80, 0xBF } } },
    { "UTF8-4 F1-F3", 4, { { 0xF1, 0xF3 }, { 0x80, 0xBF }, { 0x80, 0xBF }, { 0x80, 0xBF } } },
    { "UTF8-4 F4", 4, { { 0xF4, 0xF4 }, { 0x80, 0x8F }, { 0x80, 0xBF }, { 0x80, 0xBF } } },
};

/* Appends a frame of at most 125 payload bytes behind the first n bytes.  Returns the
 * new number of bytes. */
static size_t add_frame(char *frames, size_t n, int first, const char *payload, size_t len)
{
    frames[n] = (char)first;
    frames[n + 1] = (char)(0x80 | len);
    memcpy(frames + n + 2, K, 4);
    memcpy(frames + n + 6, payload, len);
    return n + 6 + len;
}

/* Sends a text in three ways:
 *   - as one frame, in pieces of every size
 *   - as two fragments, cut at every byte
 *   - as one fragment for each byte */
static void check_fragments(const char *rule, const char *text, size_t len, const char *want)
{
    char frames[300];
    size_t n = add_frame(frames, 0, 0x81, text, len);

    for (size_t step = 1; step <= n; step++)
        check_steps(rule, frames, n, step, want);
    for (size_t cut = 0; cut <= len; cut++) {
        n = add_frame(frames, 0, 0x01, text, cut);
        n = add_frame(frames, n, 0x80, text + cut, len - cut);
        check_play(rule, frames, n, want);
    }
    n = add_frame(frames, 0, 0x01, "", 0);
    for (size_t i = 0; i < len; i++)
        n = add_frame(frames, n, 0x00, text + i, 1);
    n = add_frame(frames, n, 0x80, "", 0);
    check_play(rule, frames, n, want);
}

/* Tests the bytes behind 0 to 9 letters, because ws.c takes steps of 8 bytes.  bad is
 * the first byte that is not UTF-8, counted from 1.  If it is 0, all bytes are
 * UTF-8. */
static void check_utf8(const char *rule, const uint8_t *bytes, size_t len, size_t bad)
{
    char text[40], want[60];
    size_t after = bad > len ? 0 : 9;           /* the end of the text is bad */

    for (size_t before = 0; before < 10; before++) {
        size_t n = before + len + after;
        memcpy(text, "abcdefghij", before);
        memcpy(text + before, bytes, len);
        memcpy(text + before + len, "klmnopqrs", after);
        if (bad > 0)
            sprintf(want, "breach(1007 at %zu)", before + bad - (bad > len));
        else
            strcpy(put_payload(want + sprintf(want, "text("), text, n), ")");
        check_fragments(rule, text, n, want);
    }
}

/* Tests the size of one character, whole and cut. */
static void check_utf8_size(const uint8_t *bytes, size_t len)
{
    uint8_t *copy = heap_copy(bytes, len);
    check(ws_utf8_size(copy, 0, len) == len, "ws_utf8_size of %s", hex(bytes, len));
    check(ws_utf8_size(copy, len, len) == 0, "ws_utf8_size at the end");
    free(copy);
    for (size_t cut = 1; cut < len; cut++) {
        copy = heap_copy(bytes, cut);
        check(ws_utf8_size(copy, 0, cut) == 0, "ws_utf8_size of %s, cut", hex(bytes, cut));
        check(ws_utf8_size(bytes, cut, len) == 0, "ws_utf8_size inside %s", hex(bytes, len));
        free(copy);
    }
}

static void test_utf8(void)
{
    uint8_t b[4];

    for (size_t r = 0; r < COUNT(utf8_rows); r++) {
        const struct utf8_row *row = &utf8_rows[r];
        for (size_t end = 0; end < 2; end++) {
            for (size_t i = 0; i < row->len; i++)
                b[i] = row->may_be[i][end];
            check_utf8(row->rule, b, row->len, 0);
            check_utf8_size(b, row->len);
            for (size_t cut = 1; cut < row->len; cut++)
                check_utf8(row->rule, b, cut, cut + 1);
            for (size_t i = 1; i < row->len; i++) {
                b[i] = (uint8_t)(row->may_be[i][end] + (end == 0 ? -1 : 1));
                check_utf8(row->rule, b, row->len, i + 1);
                check(ws_utf8_size(b, 0, row->len) == 0, "%s: a size", row->rule);
                b[i] = row->may_be[i][end];
            }
        }
    }
    for (int first = 0x80; first <= 0xFF; first++) {        /* in no row of the table */
        b[0] = (uint8_t)first;
        if (first < 0xC2 || first > 0xF4)
            check_utf8("UTF8-octets", b, 1, 1);
    }
}

/* Section 5.3: tests every length of payload up to 30 bytes, because ws.c unmasks 8
 * bytes at a time. */
static void check_masks(void)
{
    static const char text[] = "the quick brown fox jumps over";
    uint8_t bytes[100];
    char want[100];

    for (size_t len = 0; len < sizeof text; len++) {
        memcpy(bytes, "\x81\x80" KX, 6);
        bytes[1] = (uint8_t)(0x80 | len);
        for (size_t i = 0; i < len; i++)
            bytes[6 + i] = (uint8_t)text[i] ^ (uint8_t)KX[i % 4];
        sprintf(want, "text(%.*s)", (int)len, text);
        check_play("5.3 masking", bytes, 6 + len, want);
    }
}

static void check_keep_behind_message(void)
{
    static const char two[] = "\x81\x81" K "a" "\x81\x81" K "b";
    uint8_t *buf;
    struct ws_decoder d;
    struct ws_event e;
    size_t len;

    buf = heap_copy(two, sizeof two - 1);
    ws_start(&d, 0, LIMIT);
    check(ws_next(&d, buf, sizeof two - 1, &e) == WS_TEXT, "there is a message");
    len = ws_keep(&d, buf, buf, sizeof two - 1);
    check(len == 7, "ws_keep: %zu bytes kept behind a message that was read, want 7", len);
    check(ws_next(&d, buf, len, &e) == WS_TEXT && buf[e.at] == 'b' && e.len == 1,
          "ws_keep lost the message behind one that was read");
    free(buf);
}

/* ws_keep must move the first bytes of an unfinished message to the front. */
static void check_keep(void)
{
    static const char cut[] = "\x81\x81" K "a" "\x81\x83" K "b";
    uint8_t *buf = heap_copy(cut, sizeof cut - 1), *rest;
    struct ws_decoder d;
    struct ws_event e;
    size_t len;

    ws_start(&d, 0, LIMIT);
    check(ws_next(&d, buf, sizeof cut - 1, &e) == WS_TEXT
          && ws_next(&d, buf, sizeof cut - 1, &e) == WS_MORE, "there is one message and a half");
    rest = heap_copy("xyz", 3);
    len = ws_keep(&d, rest, buf, sizeof cut - 1);
    check(len == 1, "ws_keep: %zu bytes kept of half a message, want 1", len);
    memcpy(rest + 1, "cd", 2);
    check(ws_next(&d, rest, 3, &e) == WS_TEXT && e.len == 3 && memcmp(rest + e.at, "bcd", 3) == 0,
          "ws_keep lost half a message");
    free(buf);
    free(rest);
}

static void check_start(void)
{
    static const char behind[] = "\r\n\x81\x81" K "a";
    uint8_t *buf = heap_copy(behind, sizeof behind - 1);
    struct ws_decoder d;
    struct ws_event e;

    ws_start(&d, 2, LIMIT);
    check(ws_next(&d, buf, sizeof behind - 1, &e) == WS_TEXT && e.len == 1 && buf[e.at] == 'a',
          "ws_start begins somewhere else");
    free(buf);
}

static void test_frames(void)
{
    for (size_t i = 0; i < COUNT(frame_rows); i++)
        check_play(frame_rows[i].rule, frame_rows[i].bytes, frame_rows[i].len, frame_rows[i].want);
    check_close_codes();
    check_masks();
    check_keep_behind_message();
    check_keep();
    check_start();
}

/* ---- ws.c: origins that may connect ---- */

static const struct origin_row {
    const char *rule;
    const char *host, *origin;
    bool own;                   /* accepted without -o */
    const char *as;             /* the normalized form; NULL: malformed */
} origin_rows[] = {
    { "10.2 localhost", "localhost:8080", "http://localhost:8080", true, "http://localhost:8080" },
    { "10.2 IPv4", "127.0.0.1", "http://127.0.0.1", true, "http://127.0.0.1" },
    { "10.2 IPv6", "[::1]:1", "http://[::1]:1", true, "http://[::1]:1" },
    { "10.2 the longest address", "[0000:0000:0000:0000:0000:ffff:255.255.255.255]", "http://[0000:0000:0000:0000:0000:ffff:255.255.255.255]", true, "http://[0000:0000:0000:0000:0000:ffff:255.255.255.255]" },
    { "10.2 longer than any address", "[0000:0000:0000:0000:0000:ffff:255.255.255.2555]", "http://[0000:0000:0000:0000:0000:ffff:255.255.255.2555]", false, "http://[0000:0000:0000:0000:0000:ffff:255.255.255.2555]" },
    { "10.2 a name", "a.example", "http://a.example", false, "http://a.example" },
    { "10.2 something behind an address", "[::1]a", "http://[::1]a", false, "http://[::1]a" },
    { "10.2 no bracket behind it", "[::1", "http://[::1", false, "http://[::1" },
    { "10.2 a name in brackets", "[localhost]", "http://[localhost]", false, "http://[localhost]" },
    { "10.2 a colon without a port", "localhost:", "http://localhost:", false, "http://localhost:" },
    { "10.2 a port that is none", "localhost:1/", "http://localhost:1:", false, "http://localhost:1:" },
    { "10.2 a port that is none", "localhost:1:", "http://localhost:1:", false, "http://localhost:1:" },
    { "10.2 a port below the digits", "localhost:1-", "http://localhost:1-", false, "http://localhost:1-" },
    { "10.2 a port that begins with none", "localhost:-1", "http://localhost:-1", false, "http://localhost:-1" },
    { "10.2 a port of nines", "localhost:9999", "http://localhost:9999", true, "http://localhost:9999" },
    { "10.2 another scheme", "localhost", "ftp://localhost", false, "ftp://localhost" },
    { "10.2 another host of the same length", "localhost:81", "http://localhost:82", false, "http://localhost:82" },
    { "RFC 6454 6.2 letter case", "LOCALHOST", "HTTP://LocalHost", true, "http://localhost" },
    { "RFC 6454 4 the port of http", "localhost", "http://localhost:80", true, "http://localhost" },
    { "RFC 6454 4 the port of https", "localhost:443", "https://localhost", true, "https://localhost" },
    { "RFC 6454 4 not that of the other", "localhost", "http://localhost:443", false, "http://localhost:443" },
    { "RFC 6454 4 a longer port", "localhost:8080", "http://localhost:8080", true, "http://localhost:8080" },
    { "ours: a slash at the end", "localhost", "http://localhost:80/", true, "http://localhost" },
    { "ours: two of them", "localhost", "http://localhost//", false, NULL },
    { "RFC 6454 7.1 null", "null", "null", false, "null" },
    { "ours: file", "localhost", "file://", false, "file://" },
    { "ours: file and a slash", "localhost", "File:///", false, "file://" },
    { "ours: file and a path", "localhost", "file:///a", false, NULL },
    { "no host", "localhost", "http://", false, NULL },
    { "no host but a port", ":80", "http://:80", false, NULL },
    { "no scheme", "localhost", "localhost", false, NULL },
    { "an empty scheme", "localhost", "://localhost", false, NULL },
    { "half a scheme", "localhost", "http:/localhost", false, NULL },
    { "a path", "localhost", "http://localhost/a", false, NULL },
    { "empty", "localhost", "", false, NULL },
};

/* An origin must be accepted if it is the server's own, if it is allowed, or if all
 * are. */
static void check_origin(const struct origin_row *row)
{
    struct ws_origin allowed[2], all;
    struct ws_request r;
    uint8_t *copy = heap_copy(row->origin, strlen(row->origin));
    bool valid = ws_read_origin(copy, strlen(row->origin), &allowed[1]);
    char text[400];
    int n = sprintf(text, "GET / HTTP/1.1\r\nHost: %s\r\nOrigin: %s\r\n\r\n", row->host, row->origin);

    free(copy);
    check(valid == (row->as != NULL) && (!valid || (allowed[1].len == strlen(row->as)
          && memcmp(allowed[1].text, row->as, allowed[1].len) == 0)),
          "%s: %s is read as %.*s", row->rule, row->origin, (int)allowed[1].len,
          (char *)allowed[1].text);
    check(ws_read_origin((const uint8_t *)"http://x.example", 16, &allowed[0]), "x.example");
    check(ws_read_origin((const uint8_t *)"*", 1, &all), "*");
    copy = heap_copy(text, (size_t)n);
    ws_parse_request(copy, (size_t)n, NULL, &r);
    check(ws_may_connect(copy, &r, NULL, 0) == row->own, "%s: Host %s, Origin %s: own or not?",
          row->rule, row->host, row->origin);
    check(ws_may_connect(copy, &r, allowed, 1) == row->own, "%s: another one is named", row->rule);
    check(!valid || ws_may_connect(copy, &r, allowed, 2), "%s: named, and not let in", row->rule);
    check(ws_may_connect(copy, &r, &all, 1), "%s: not let in with all others", row->rule);
    free(copy);
}

static const struct open_row {
    const char *rule;
    const char *host, *named;   /* named: by an -o */
    bool open;
} open_rows[] = {
    { "10.2 localhost", "localhost:8080", "http://x.example", true },
    { "10.2 IPv4", "127.0.0.1", "http://x.example", true },
    { "10.2 IPv6", "[::1]:8080", "http://x.example", true },
    { "10.2 a name", "a.example", "http://x.example", false },
    { "10.2 something before localhost", "pc.localhost:8080", "http://x.example", false },
    { "10.2 no host", "", "http://x.example", false },
    { "ours: a name, and its origin is named", "A.example:80", "http://a.example", true },
    { "ours: a proxy adds TLS", "a.example", "https://a.example", true },
    { "ours: the port of https", "a.example:443", "https://a.example", true },
    { "ours: another port is named", "a.example:81", "http://a.example", false },
    { "ours: files are named", "a.example", "null", false },
    { "ours: all are named", "a.example", "*", true },
};

/* ws_may_open promises what ws_may_connect would say about a page of this host. */
static void check_open(const struct open_row *row)
{
    struct ws_origin named;
    struct ws_request r;
    char text[400];
    bool connects = false;

    check(ws_read_origin((const uint8_t *)row->named, strlen(row->named), &named), "%s", row->named);
    for (int tls = 0; tls < 2; tls++) {
        sprintf(text, GET "Host: %s\r\nOrigin: http%s://%s\r\n" END, row->host, tls ? "s" : "", row->host);
        ws_parse_request((uint8_t *)text, strlen(text), NULL, &r);
        connects = connects || ws_may_connect((uint8_t *)text, &r, &named, 1);
    }
    check(connects == row->open, "%s: may a page of it connect?", row->rule);
    sprintf(text, GET "Host: %s\r\n" END, row->host);
    ws_parse_request((uint8_t *)text, strlen(text), NULL, &r);
    check(ws_may_open((uint8_t *)text, &r, &named, 1) == row->open, "%s: is the page of any use?", row->rule);
}

static void test_origin(void)
{
    static const char program[] = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    uint8_t longest[WS_ORIGIN_MAX + 1];
    char long_host[1000];
    struct ws_origin o;
    struct ws_request r;

    for (size_t i = 0; i < COUNT(origin_rows); i++)
        check_origin(&origin_rows[i]);
    for (size_t i = 0; i < COUNT(open_rows); i++)
        check_open(&open_rows[i]);
    ws_parse_request((const uint8_t *)program, sizeof program - 1, NULL, &r);
    check(ws_may_connect((const uint8_t *)program, &r, NULL, 0), "a program is not let in");
    sprintf(long_host, "GET / HTTP/1.1\r\nHost: %0400d\r\nOrigin: http://localhost\r\n\r\n", 0);
    ws_parse_request((const uint8_t *)long_host, strlen(long_host), NULL, &r);
    check(!ws_may_connect((const uint8_t *)long_host, &r, NULL, 0), "a long Host is own");
    check(!ws_may_open((const uint8_t *)long_host, &r, NULL, 0), "a long Host may open the page");
    memset(longest, 'x', sizeof longest);
    memcpy(longest, "http://", 7);
    check(ws_read_origin(longest, WS_ORIGIN_MAX, &o), "the longest origin");
    check(!ws_read_origin(longest, WS_ORIGIN_MAX + 1, &o), "a longer origin");
    check(ws_read_origin((const uint8_t *)"a://b", 5, &o), "a scheme of one letter");
    check(!ws_read_origin((const uint8_t *)":://b", 5, &o), "no scheme");
    check(!ws_read_origin((const uint8_t *)"://b", 4, &o), "no scheme");
}

/* ---- ws.c: what the server sends ---- */

static void check_bytes(const char *rule, const uint8_t *got, size_t len, const char *want,
                        size_t want_len)
{
    check(len == want_len && memcmp(got, want, len) == 0, "%s: got %s, want %zu bytes", rule,
          hex(got, len), want_len);
}

#define DATE "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"       /* the example of RFC 9110 */

/* RFC 9110 section 5.6.7.  `days` counts from 1970. */
static void check_date(long days, long seconds, const char *want)
{
    char out[400];
    time_t when = (time_t)days * 86400 + (time_t)seconds;
    size_t len = ws_write_response((uint8_t *)out, sizeof out - 1, 400, when, "", "", false);
    out[len] = '\0';
    check(strstr(out, want) != NULL, "RFC 9110 5.6.7: got %s, want %s", out, want);
}

static void check_response(const char *rule, int status, const char *headers, bool head,
                           const char *want)
{
    uint8_t out[400];
    size_t len = ws_write_response(out, sizeof out, status, 784111777, headers, "text\n", head);

    check(len == strlen(want) && memcmp(out, want, len) == 0, "%s: got %.*s", rule, (int)len,
          (char *)out);
    check(ws_write_response(out, len, status, 784111777, headers, "text\n", head) == 0,
          "%s: written into one byte less than it needs", rule);
}

static void test_write(void)
{
    static const char *const lines[] = {
        "400 Bad Request", "403 Forbidden", "408 Request Timeout", "414 URI Too Long",
        "431 Request Header Fields Too Large", "503 Service Unavailable",
    };
    uint8_t out[WS_CONTROL_FRAME];
    char reason[200];
    size_t len;

    check_bytes("5.2 0", out, ws_write_header(out, WS_OP_TEXT, 0), BYTES("\x81\x00"));
    check_bytes("5.2 125", out, ws_write_header(out, WS_OP_BINARY, 125), BYTES("\x82\x7D"));
    check_bytes("5.2 126", out, ws_write_header(out, WS_OP_TEXT, 126), BYTES("\x81\x7E\0\x7E"));
    check_bytes("5.2 65535", out, ws_write_header(out, WS_OP_TEXT, 65535), BYTES("\x81\x7E\xFF\xFF"));
    check_bytes("5.2 65536", out, ws_write_header(out, WS_OP_TEXT, 65536),
                BYTES("\x81\x7F\0\0\0\0\0\1\0\0"));
    check_bytes("5.5.3 pong", out, ws_write_control(out, WS_OP_PONG, (const uint8_t *)"hi", 2),
                BYTES("\x8A\x02hi"));
    check_bytes("5.5.1 code", out, ws_write_close(out, 1007, "no"), BYTES("\x88\x04\x03\xEFno"));
    check_bytes("7.4.1 1005 is not sent", out, ws_write_close(out, WS_NO_CODE, "x"), BYTES("\x88\0"));
    memset(reason, 'r', sizeof reason);
    reason[sizeof reason - 1] = '\0';
    len = ws_write_close(out, 1000, reason);
    check(len == WS_CONTROL_FRAME && out[1] == WS_CONTROL_MAX, "5.5 a reason is cut: %zu", len);
    check_date(0, 0, "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n");
    check_date(11016, 86399, "Date: Tue, 29 Feb 2000 23:59:59 GMT\r\n");
    check_date(-1, 0, "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n");      /* no clock */
    check_date(11017, 0, "Date: Wed, 01 Mar 2000 00:00:00 GMT\r\n");
    check_date(12783, 23 * 3600, "Date: Fri, 31 Dec 2004 23:00:00 GMT\r\n");
    check_date(12784, 0, "Date: Sat, 01 Jan 2005 00:00:00 GMT\r\n");
    check_date(13148, 0, "Date: Sat, 31 Dec 2005 00:00:00 GMT\r\n");
    check_date(13149, 0, "Date: Sun, 01 Jan 2006 00:00:00 GMT\r\n");
    if (sizeof(time_t) > 4) {           /* with 32 bits, time ends in 2038 */
        check_date(47540, 0, "Date: Sun, 28 Feb 2100 00:00:00 GMT\r\n");
        check_date(47541, 0, "Date: Mon, 01 Mar 2100 00:00:00 GMT\r\n");
    }
    check_date(20453, 9 * 3600 + 65, "Date: Wed, 31 Dec 2025 09:01:05 GMT\r\n");
    for (long month = 0; month < 12; month++) {
        static const char names[][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug",
                                         "Sep", "Oct", "Nov", "Dec" };
        static const long first[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334 };
        char want[80];
        sprintf(want, ", 01 %s 1970 ", names[month]);
        check_date(first[month], 0, want);
    }
    check_response("4.2.2", 101, "A: b\r\n", false, "HTTP/1.1 101 Switching Protocols\r\n"
                   "Upgrade: websocket\r\nConnection: Upgrade\r\nA: b\r\n\r\n");
    check_response("RFC 9110 15.5.22", 426, "", false, "HTTP/1.1 426 Upgrade Required\r\n"
                   DATE "Upgrade: websocket\r\nConnection: Upgrade, close\r\nSec-WebSocket-Version: 13\r\n"
                   "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 5\r\n\r\ntext\n");
    check_response("RFC 9110 15.3.1", 200, "C: d\r\n", false, "HTTP/1.1 200 OK\r\n" DATE
                   "Connection: close\r\nC: d\r\n"
                   "Content-Type: text/html; charset=utf-8\r\nContent-Length: 5\r\n\r\ntext\n");
    for (size_t i = 0; i < COUNT(lines); i++) {
        char want[250];
        sprintf(want, "HTTP/1.1 %s\r\n%sConnection: close\r\nContent-Type: text/plain; "
                "charset=utf-8\r\nContent-Length: 5\r\n\r\ntext\n", lines[i],
                lines[i][0] == '5' ? "" : DATE);
        check_response("RFC 9110 15, 6585 5", atoi(lines[i]), "", false, want);
    }
    check_response("RFC 9110 9.3.2 HEAD", 405, "", true, "HTTP/1.1 405 Method Not Allowed\r\n"
                   DATE "Allow: GET, HEAD\r\nConnection: close\r\n"
                   "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 5\r\n\r\n");
}

int main(int argc, char **argv)
{
    static const struct { const char *name; void (*run)(void); } tables[] = {
        { "sha1", test_sha1 }, { "base64", test_base64 }, { "json", test_json },
        { "request", test_request }, { "origin", test_origin }, { "frames", test_frames }, { "utf8", test_utf8 }, { "write", test_write },
    };

    for (size_t i = 0; i < COUNT(tables); i++) {
        bool named = argc == 1;
        for (int k = 1; k < argc; k++)
            named = named || strcmp(argv[k], tables[i].name) == 0;
        if (named)
            tables[i].run();
    }
    printf("%d checks, %d failed\n", checked, failed);
    return failed > 0 || checked == 0;
}
