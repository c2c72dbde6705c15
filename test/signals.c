/* signals.c -- starts a program with a signal blocked, ignored, or as usual.
 *
 *     signals blocked|ignored|default NAME|all COMMAND...
 *
 * A program inherits which signals are blocked and ignored.  A shell can ignore a signal,
 * but it cannot block one, and it cannot undo the inherited state.  (GNU's env can do all
 * three, other systems' cannot.) */

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name;
    int number;
} signals[] = {
    { "HUP", SIGHUP }, { "INT", SIGINT }, { "QUIT", SIGQUIT }, { "PIPE", SIGPIPE }, { "ALRM", SIGALRM },
    { "TERM", SIGTERM }, { "USR1", SIGUSR1 }, { "USR2", SIGUSR2 }, { "CHLD", SIGCHLD }, { "CONT", SIGCONT },
    { "TSTP", SIGTSTP }, { "TTIN", SIGTTIN }, { "TTOU", SIGTTOU }
};

static void treat(int number, const char *state)
{
    struct sigaction action;
    sigset_t one;
    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    sigemptyset(&one);
    sigaddset(&one, number);
    action.sa_handler = strcmp(state, "ignored") == 0 ? SIG_IGN : SIG_DFL;
    if (strcmp(state, "blocked") == 0)
        sigprocmask(SIG_BLOCK, &one, NULL);
    else {
        sigprocmask(SIG_UNBLOCK, &one, NULL);
        sigaction(number, &action, NULL);
    }
}

int main(int argc, char **argv)
{
    size_t i, found = 0;
    for (i = 0; argc > 3 && i < sizeof signals / sizeof *signals; i++)
        if (strcmp(argv[2], "all") == 0 || strcmp(argv[2], signals[i].name) == 0) {
            treat(signals[i].number, argv[1]);
            found++;
        }
    if (found == 0) {
        fprintf(stderr, "usage: signals blocked|ignored|default NAME|all COMMAND...\n");
        return 2;
    }
    execvp(argv[3], argv + 3);
    perror(argv[3]);
    return 127;
}
