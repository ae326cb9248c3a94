/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The system call filter of vwire-user: a list of what libslirp, GLib and our loop need; whatever else is called kills the
 * process. No program can be run, no file written or created, no memory made executable, no socket made but of the
 * Internet.
 *
 * The filter program is put together here, instruction by instruction, in a few microseconds: libseccomp, which solves
 * a much more general problem, takes longer for it than all else that a start does.
 */
#ifndef USER_FILTER_H
#define USER_FILTER_H

#include <stdbool.h>

/* Load the filter for this process (no new privileges must be set). 0 or -errno. */
int filter_load(bool unix_sockets);

#endif
