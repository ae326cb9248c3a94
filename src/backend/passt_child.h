/* SPDX-License-Identifier: BSD-2-Clause */
/* A running passt: started with one end of a socketpair, and what it says on standard error. Main thread. */
#ifndef BACKEND_PASST_CHILD_H
#define BACKEND_PASST_CHILD_H

#include <sys/types.h>

#include "base/error.h"
#include "loop/loop.h"

struct passt_child {
	pid_t pid;	  /* 0: none */
	const char *what; /* in messages: "netdev net0"; the owner's */
	int words;	  /* pipe from its standard error; -1: none */
	struct watch watch;
	bool starting;	/* lines are kept, not logged */
	char line[160]; /* the one that is not complete */
	unsigned n;
	char said[160]; /* the first line that it said while it was starting */
};

/*
 * Start argv[0], looked for in PATH, with `sock` as descriptor 3. sock stays the caller's. Returns when the program has
 * been executed; -ENOENT and the like if it cannot be. Its words are logged by `loop`.
 */
int passt_child_start(struct passt_child *p, char *const argv[], int sock, struct loop *loop,
		      struct error *err) __must_check;
/*
 * Wait until it has taken what was written to `near`, the other end of its socket: it runs. An error if it ended
 * instead (its first words are the text), or takes too long.
 */
int passt_child_wait_ready(struct passt_child *p, int near, struct error *err) __must_check;
/* Kill it if it still runs and wait for its end; how[size] says how it ended. Harmless if there is none. */
void passt_child_end(struct passt_child *p, char *how, size_t size);

#endif
