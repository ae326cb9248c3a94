/* SPDX-License-Identifier: BSD-2-Clause */
/* What the program is to the system around it: descriptors 0..2, signals, pid file, name. Main thread. */
#ifndef CTL_PROCESS_H
#define CTL_PROCESS_H

#include "base/error.h"
#include "loop/loop.h"

struct machine;

/*
 * First of all in main(): descriptors 0..2 are open (on /dev/null if they were not), so that no tap or socket becomes
 * stdin by accident; SIGPIPE is ignored.
 */
int process_init(struct error *err) __must_check;

/* Show this name in ps, and in the kernel's messages; NULL: leave it. */
void process_set_name(const char *name);

/*
 * A file with the process id. It stays locked while we run, so that a second vwire does not take it; a file that a dead
 * one left is taken over.
 */
struct pidfile {
	const char *path; /* NULL: none */
	int fd;
};

int pidfile_write(struct pidfile *p, const char *path, struct error *err) __must_check;
void pidfile_remove(struct pidfile *p); /* harmless if none was written */

/*
 * SIGTERM and SIGINT press the guest's power button, the second one ends at once; SIGHUP ends at once; all with status
 * 0 as QEMU. With `at_once` the first one ends too: nobody there to hear a power button. Without a machine any of them
 * stops the main loop. SIGUSR2 prints the state of all net clients and loops, and changes nothing.
 *
 * signals_block() comes before any thread is made; signals_watch() hands what waits to the machine.
 */
struct signals {
	struct watch watch;
	struct machine *machine; /* NULL: there is none */
	struct loop *loop;	 /* main; NULL: not watched */
	int fd;
	bool at_once, asked;
};

int signals_block(struct error *err) __must_check;
int signals_watch(struct signals *s, struct machine *m, bool at_once, struct loop *main_loop,
		  struct error *err) __must_check;
void signals_unwatch(struct signals *s); /* harmless if not watched */

#endif
