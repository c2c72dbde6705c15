/* relay.c -- the least work that any server on this machine has, for `make bench`.
 *
 * The relay pairs its connections in the order in which they come: the 1st with the
 * 2nd, the 3rd with the 4th.  Each partner gets the other's bytes.  The relay knows no
 * protocol and parses nothing.  Its loop is: poll, read up to 64 KiB, write.  A chat
 * server with one thread and poll() needs these system calls in any case.  The rest of
 * its processor time is its own work.
 *
 * Every call of poll gets all connections, on purpose.  With thousands of idle ones,
 * the relay shows how much poll then costs.
 *
 * Usage: relay PORT (0 takes a free one), on 127.0.0.1 only.
 * Order: the pairs, the rest of a write, accepting, the loop. */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    SLOTS = 32768,              /* places of the poll set; even, see partner() */
    FIRST_PAIR = 2,             /* slot 0 is the listener, slot 1 is empty */
    CHUNK = 65536               /* bytes of the largest read */
};

/* Bytes that a socket did not accept at once.  Until it accepts them, the relay does
 * not read the partner.  So it never keeps more than one chunk. */
struct rest {
    char *bytes;                /* malloc'd, or NULL */
    size_t at, len;             /* bytes[at .. len) are not written yet */
};

static struct pollfd set[SLOTS];        /* fd is -1 if the slot is free */
static struct rest rests[SLOTS];
static nfds_t used = FIRST_PAIR;        /* slots up to the last used one */
static nfds_t waiting;                  /* a slot without a partner, or 0 */

static nfds_t partner(nfds_t i)
{
    return i ^ 1;
}

static void die(const char *what)
{
    fprintf(stderr, "relay: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void close_slot(nfds_t i)
{
    if (set[i].fd >= 0)
        close(set[i].fd);
    set[i].fd = -1;
    free(rests[i].bytes);
    rests[i].bytes = NULL;
    if (waiting == i)
        waiting = 0;
}

static void close_pair(nfds_t i)
{
    close_slot(i);
    close_slot(partner(i));
}

/* Sends bytes.  Returns how many the socket accepted, perhaps 0; -1: the pair is
 * lost. */
static ssize_t try_send(nfds_t i, const char *bytes, size_t len)
{
    ssize_t n = send(set[i].fd, bytes, len, MSG_NOSIGNAL);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n < 0)
        close_pair(i);
    return n;
}

static void keep_rest(nfds_t i, const char *bytes, size_t len)
{
    rests[i] = (struct rest){ malloc(len), 0, len };
    if (rests[i].bytes == NULL)
        die("no memory");
    memcpy(rests[i].bytes, bytes, len);
    set[i].events |= POLLOUT;
    set[partner(i)].events = (short)(set[partner(i)].events & ~POLLIN);
}

static void write_rest(nfds_t i)
{
    struct rest *r = &rests[i];
    ssize_t n = try_send(i, r->bytes + r->at, r->len - r->at);

    if (n < 0 || (r->at += (size_t)n) < r->len)
        return;
    free(r->bytes);
    r->bytes = NULL;
    set[i].events = (short)(set[i].events & ~POLLOUT);
    set[partner(i)].events |= POLLIN;
}

static void pass_on(nfds_t i)
{
    static char chunk[CHUNK];
    ssize_t len = read(set[i].fd, chunk, sizeof chunk);
    ssize_t n;

    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (len <= 0) {
        close_pair(i);
        return;
    }
    n = try_send(partner(i), chunk, (size_t)len);
    if (n >= 0 && n < len)
        keep_rest(partner(i), chunk + n, (size_t)(len - n));
}

/* Finds the slot beside the connection that waits, or the first slot of a free pair. */
static nfds_t free_slot(void)
{
    nfds_t i = FIRST_PAIR;

    if (waiting != 0)
        return partner(waiting);
    while (i < used && set[i].fd >= 0)
        i += 2;
    return i;
}

/* The relay does not read the first connection of a pair before there is a second. */
static void add(int fd)
{
    nfds_t i = free_slot();
    int on = 1;

    if (i >= SLOTS) {
        close(fd);
        return;
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (i >= used)
        used = partner(i) + 1;
    set[i] = (struct pollfd){ .fd = fd };
    if (waiting == 0) {
        waiting = i;
        set[partner(i)].fd = -1;
        return;
    }
    set[i].events = set[waiting].events = POLLIN;
    waiting = 0;
}

static void accept_all(void)
{
    int fd;

    while ((fd = accept(set[0].fd, NULL, NULL)) >= 0)
        add(fd);
    if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
        die("accept");
}

static void listen_on(const char *port)
{
    struct sockaddr_in a = { .sin_family = AF_INET };
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

    a.sin_addr.s_addr = inet_addr("127.0.0.1");
    a.sin_port = htons((uint16_t)atoi(port));
    if (fd < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0
        || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0
        || bind(fd, (struct sockaddr *)&a, len) < 0 || listen(fd, SOMAXCONN) < 0
        || getsockname(fd, (struct sockaddr *)&a, &len) < 0)
        die("cannot listen");
    set[0] = (struct pollfd){ .fd = fd, .events = POLLIN };
    set[1].fd = -1;
    printf("listening on 127.0.0.1:%d\n", ntohs(a.sin_port));
    fflush(stdout);
}

/* The pair may be closed in the middle of this turn, so each step tests fd again. */
static void serve(nfds_t i, short seen)
{
    if (set[i].fd >= 0 && rests[i].bytes != NULL && (seen & POLLOUT))
        write_rest(i);
    if (set[i].fd >= 0 && (seen & POLLIN))
        pass_on(i);
    else if (set[i].fd >= 0 && (seen & (POLLERR | POLLHUP)))
        close_pair(i);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: relay PORT\n");
        return 2;
    }
    listen_on(argv[1]);
    for (;;) {
        if (poll(set, used, -1) < 0)
            die("poll");
        for (nfds_t i = FIRST_PAIR; i < used; i++)
            if (set[i].revents != 0)
                serve(i, set[i].revents);
        if (set[0].revents != 0)
            accept_all();
    }
}
