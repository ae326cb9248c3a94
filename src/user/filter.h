/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The system call filter of vwire-user: a list of what libslirp, GLib and our loop need; whatever else is called kills
 * the process. No program can be run, no file written or created, no memory made executable, no socket made but for
 * TCP, UDP and pings (a socket of any other kind, of a family that this program asks for, is refused with an error).
 *
 * The filter program is put together here, instruction by instruction, in a few microseconds: libseccomp, which solves
 * a much more general problem, takes longer for it than all else that a start does.
 */
#ifndef USER_FILTER_H
#define USER_FILTER_H

#include <stdbool.h>

/*
 * Load the filter for this process (no new privileges must be set). socket_pairs: pairs of stream sockets may be made
 * (user/guestfwd.h). 0 or -errno.
 */
int filter_load(bool socket_pairs);

#endif
