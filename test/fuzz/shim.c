/* shim.c -- makes system calls fail: a library to preload between the server and libc.
 *
 *     cc -shared -fPIC -o shim.so test/fuzz/shim.c
 *     LD_PRELOAD=./shim.so SHIM='read EINTR 3, write half 2' ./chat
 *
 * System calls may fail in many ways that hardly ever happen.  Each fault in $SHIM is
 *
 *     CALL KIND EACH [#N | #log]         every EACHth call fails
 *     CALL KIND FIRST-LAST [#N | #log]   the FIRSTth call fails, the LASTth, and all between
 *
 *     CALL   read, write, poll, accept, socket, pipe, getsockopt or setsockopt
 *     KIND   an errno: the call does nothing and fails with this errno
 *            half, byte: the call reads or writes half of the bytes, or one byte
 *     #N     (read and write) only the Nth accepted connection has the fault
 *     #log   (write) only standard error has it.  Without #, all connections have the
 *            fault, but the log and the signal pipe do not.
 *
 * If a call has several faults, the first whose turn it is happens.  When the program
 * ends, the shim prints a line for each fault: how often it happened, and how many
 * calls it was applied to:
 *
 *     shim: read EINTR 3: 103 of 311
 *
 * The shim does not work for a program that is linked statically, and not for calls
 * inside the C library.
 *
 * Order: the faults, reading them, their turn, the calls. */

/* For RTLD_NEXT: POSIX has no name for "the next function of this name".  Each system wants
 * another word to show its own. */
#undef _POSIX_C_SOURCE
#define _GNU_SOURCE
#define _DARWIN_C_SOURCE
#define _NETBSD_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __NetBSD__
#define socket __socket30       /* what programs call there */
#endif

/* ---- The faults ------------------------------------------------------------------ */

enum { MOST = 16, DESCRIPTORS = 4096, ANY = -1, LOG = -2 };
enum { HALF = -1, BYTE = -2 };                  /* kinds besides errno values */

static const struct kind {
    const char *name;
    int value;
} kinds[] = {
    { "half", HALF }, { "byte", BYTE }, { "EAGAIN", EAGAIN }, { "ECONNABORTED", ECONNABORTED },
    { "ECONNRESET", ECONNRESET }, { "EINTR", EINTR }, { "EINVAL", EINVAL }, { "EMFILE", EMFILE },
    { "ENFILE", ENFILE }, { "ENOBUFS", ENOBUFS }, { "ENOMEM", ENOMEM }, { "EPIPE", EPIPE },
    { "ETIMEDOUT", ETIMEDOUT }
};

static struct fault {
    char call[16], kind[16], when[32], where[16];
    int value;
    unsigned long each, first, last;    /* each: 0 if the calls first to last fail */
    int connection;             /* or ANY, or LOG */
    unsigned long happened, calls;
} faults[MOST];

static int fault_count;
static int connection_of[DESCRIPTORS];          /* by descriptor; 0: none */

/* The real functions. */
static struct {
    ssize_t (*read)(int, void *, size_t);
    ssize_t (*write)(int, const void *, size_t);
    int (*poll)(struct pollfd *, nfds_t, int);
    int (*accept)(int, void *, void *);
    int (*socket)(int, int, int);
    int (*pipe)(int *);
    int (*getsockopt)(int, int, int, void *, void *);
    int (*setsockopt)(int, int, int, const void *, unsigned int);
} next;

/* ---- Reading them ---------------------------------------------------------------- */

static void tell(void)
{
    for (const struct fault *f = faults; f < faults + fault_count; f++)
        fprintf(stderr, "shim: %s %s %s%s%s: %lu of %lu\n", f->call, f->kind, f->when,
                f->where[0] != '\0' ? " " : "", f->where, f->happened, f->calls);
}

static void nonsense(const char *text)
{
    fprintf(stderr, "shim: no fault: %s\n", text);
    _exit(2);
}

static void read_fault(const char *text)
{
    struct fault *f = &faults[fault_count++];

    f->connection = ANY;
    if (fault_count > MOST || sscanf(text, "%15s %15s %31[-0123456789] %15[^,]", f->call, f->kind,
                                     f->when, f->where) < 3)
        nonsense(text);
    if (sscanf(f->when, "%lu-%lu", &f->first, &f->last) < 2)
        f->each = f->first;
    if (f->first == 0)
        nonsense(text);
    if (strcmp(f->where, "#log") == 0)
        f->connection = LOG;
    else if (f->where[0] != '\0' && sscanf(f->where, "#%d", &f->connection) < 1)
        nonsense(text);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].name, f->kind) == 0)
            f->value = kinds[i].value;
    if (f->value == 0)
        nonsense(text);
}

/* In C99, a pointer to data becomes a pointer to a function only by copying its
 * bytes. */
static void find(const char *name, void *function)
{
    void *address = dlsym(RTLD_NEXT, name);

    memcpy(function, &address, sizeof address);
}

static void start(void)
{
    const char *text = getenv("SHIM");

    find("read", &next.read);
    find("write", &next.write);
    find("poll", &next.poll);
    find("accept", &next.accept);
    find("socket", &next.socket);
    find("pipe", &next.pipe);
    find("getsockopt", &next.getsockopt);
    find("setsockopt", &next.setsockopt);
    while (text != NULL && *text != '\0') {
        read_fault(text);
        text += strcspn(text, ",");
        text += *text == ',';
    }
    atexit(tell);
}

/* ---- Their turn ------------------------------------------------------------------ */

/* Returns the fault of this call: an errno, HALF or BYTE; or 0. */
static int fate(const char *call, int connection)
{
    if (next.read == NULL)
        start();
    for (struct fault *f = faults; f < faults + fault_count; f++) {
        if (strcmp(f->call, call) != 0)
            continue;
        if (f->connection == ANY ? connection == 0 || connection == LOG
                                 : f->connection != connection)
            continue;
        f->calls++;
        if (f->each > 0 ? f->calls % f->each == 0 : f->first <= f->calls && f->calls <= f->last) {
            f->happened++;
            return f->value;
        }
    }
    return 0;
}

static int connection_at(int fd)
{
    if (fd == STDERR_FILENO)
        return LOG;
    return fd >= 0 && fd < DESCRIPTORS ? connection_of[fd] : 0;
}

/* Returns how many of `size` bytes this call may read or write.  Returns -1 and sets
 * errno if the call must fail. */
static ssize_t part_of(const char *call, int fd, size_t size)
{
    int value = fate(call, connection_at(fd));

    if (value > 0) {
        errno = value;
        return -1;
    }
    if (value == HALF)
        size = (size + 1) / 2;
    return value == BYTE && size > 1 ? 1 : (ssize_t)size;
}

/* Must this call fail?  If so, sets errno. */
static int fails(const char *call)
{
    int value = fate(call, ANY);

    errno = value > 0 ? value : errno;
    return value > 0;
}

/* ---- The calls ------------------------------------------------------------------- */

/* A read that finds nothing is not counted. */
ssize_t read(int fd, void *to, size_t size)
{
    struct pollfd one = { fd, POLLIN, 0 };
    ssize_t part = next.poll(&one, 1, 0) == 0 ? (ssize_t)size : part_of("read", fd, size);

    return part < 0 ? -1 : next.read(fd, to, (size_t)part);
}

ssize_t write(int fd, const void *from, size_t size)
{
    ssize_t part = part_of("write", fd, size);

    return part < 0 ? -1 : next.write(fd, from, (size_t)part);
}

int poll(struct pollfd *set, nfds_t count, int ms)
{
    return fails("poll") ? -1 : next.poll(set, count, ms);
}

int pipe(int ends[2])
{
    return fails("pipe") ? -1 : next.pipe(ends);
}

/* This file does not include <sys/socket.h>.  With _GNU_SOURCE, which RTLD_NEXT needs,
 * glibc's accept has a type that C99 cannot define. */
int socket(int domain, int type, int protocol);
int accept(int fd, void *address, void *len);
int getsockopt(int fd, int level, int name, void *value, void *len);
int setsockopt(int fd, int level, int name, const void *value, unsigned int len);

int socket(int domain, int type, int protocol)
{
    return fails("socket") ? -1 : next.socket(domain, type, protocol);
}

int accept(int fd, void *address, void *len)
{
    static int connections;
    int accepted = fails("accept") ? -1 : next.accept(fd, address, len);

    if (accepted >= 0 && accepted < DESCRIPTORS)
        connection_of[accepted] = ++connections;
    return accepted;
}

int getsockopt(int fd, int level, int name, void *value, void *len)
{
    return fails("getsockopt") ? -1 : next.getsockopt(fd, level, name, value, len);
}

int setsockopt(int fd, int level, int name, const void *value, unsigned int len)
{
    return fails("setsockopt") ? -1 : next.setsockopt(fd, level, name, value, len);
}
