/* The last words of a process that is told to abort: the C frames it stands in, on stderr.
 *
 * Python's own faulthandler sees Python's frames only, and all of a worker's work is below one of them. One module per
 * file makes even a frame without a name tell which file it is in; `addr2line -e MODULE OFFSET` tells the line.
 * backtrace() loads libgcc_s when it is first called: here that is at the end, so that nobody pays for it before. That
 * allocates, which a process that hangs inside malloc cannot: then it stays silent, and control kills it soon after.
 */
#ifndef FASTMESH_LAST_TRACE_H
#define FASTMESH_LAST_TRACE_H
#include <signal.h>
#include <string.h>
#include <unistd.h>
#if defined(__GLIBC__)
#include <execinfo.h>
#endif

static void fm_last_trace(int number) {
    static const char title[] = "Compiled frames (innermost first):\n";
    signal(number, SIG_DFL);
    if (write(STDERR_FILENO, title, sizeof title - 1) > 0) {
#if defined(__GLIBC__)
        void *frames[48];
        backtrace_symbols_fd(frames, backtrace(frames, 48), STDERR_FILENO);
#endif
    }
    raise(number);
}

static void fm_trace_on_abort(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = fm_last_trace;
    action.sa_flags = SA_NODEFER;
    sigaction(SIGABRT, &action, NULL);
}
#endif
