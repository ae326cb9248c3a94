/* SPDX-License-Identifier: BSD-2-Clause */
/* Starting vwire-user, and the commands of guestfwd. */
#ifndef BACKEND_USER_SPAWN_H
#define BACKEND_USER_SPAWN_H

#include <sys/types.h>

#include "base/error.h"

struct user_child {
	pid_t pid;
	int pidfd;  /* readable when it has ended */
	bool pidns; /* it is the first of a pid namespace of its own */
};

/*
 * Start vwire-user with `ctl` as its control socket: in a pid namespace of its own if the kernel permits that. It is
 * looked for where VWIRE_USER says, beside our own binary, in ../libexec/vwire from there, and in the libexec folder it
 * was installed to. It dies with the calling thread.
 */
int user_spawn(struct user_child *c, int ctl, struct error *err) __must_check;

/* Start `/bin/sh -c command` with the connection fd as standard input and output. */
int user_spawn_command(struct user_child *c, const char *command, int fd, struct error *err) __must_check;

/* Did somebody stop it (SIGSTOP), so that it does not run until it is told to continue? */
bool user_child_stopped(const struct user_child *c);

/* Kill it if it still runs, wait for its end, close the pidfd. The text (size bytes) says how it ended. */
void user_child_end(struct user_child *c, char *how, size_t size);

#endif
