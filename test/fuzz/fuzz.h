/* fuzz.h -- the common part of the fuzz targets.
 *
 * A fuzz target is a file fuzz-NAME.c with one function, LLVMFuzzerTestOneInput.  The
 * function takes any bytes, and aborts if the code breaks a promise.  Two programs call
 * it:
 *
 *   make fuzz                   uses clang's libFuzzer.  It invents inputs, and looks
 *   for
 *                               ones that reach new code.
 *   test/bin/fuzz-NAME FILE...  uses the main function below.  The files are the
 *   inputs:
 *                               the corpus, or an input that libFuzzer found.
 *
 * With -DMAIN_ELSEWHERE there is no main function here, because libFuzzer has its
 * own. */

#ifndef FUZZ_H
#define FUZZ_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
uint8_t *exact_copy(const uint8_t *bytes, size_t len);

static void (*before_abort)(void);      /* may print more about the failure */

static void promise(bool kept, const char *format, ...)
{
    va_list args;
    if (kept)
        return;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    if (before_abort != NULL)
        before_abort();
    abort();
}

/* Copies bytes[0..len) to heap memory of exactly that size.  So AddressSanitizer
 * notices code that reads one byte too many. */
uint8_t *exact_copy(const uint8_t *bytes, size_t len)
{
    uint8_t *copy = malloc(len);
    promise(copy != NULL || len == 0, "no memory");
    if (len > 0)
        memcpy(copy, bytes, len);
    return copy;
}

#ifndef MAIN_ELSEWHERE

enum { INPUT_MAX = 1 << 20 };   /* bytes */

static void run_file(const char *name)
{
    static uint8_t bytes[INPUT_MAX];
    FILE *file = fopen(name, "rb");
    size_t len;
    uint8_t *copy;

    promise(file != NULL, "cannot read %s", name);
    len = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    printf("%s\n", name);       /* the last one printed is the one that fails */
    fflush(stdout);
    copy = exact_copy(bytes, len);
    LLVMFuzzerTestOneInput(copy, len);
    free(copy);
}

int main(int argc, char **argv)
{
    promise(argc > 1, "usage: %s FILE...", argv[0]);
    for (int i = 1; i < argc; i++)
        run_file(argv[i]);
    return 0;
}

#endif
#endif
