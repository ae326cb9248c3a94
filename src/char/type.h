/* SPDX-License-Identifier: BSD-2-Clause */
/* What a type of character device provides, and what chardev.c does for it. */
#ifndef CHAR_TYPE_H
#define CHAR_TYPE_H

#include "base/counter.h"
#include "char/chardev.h"

struct chardev_type {
	const char *name; /* "socket" */
	const char *help; /* one line */
	const struct opt *opts;
	size_t opts_size;
	size_t size; /* of the structure that begins with struct chardev */
	/*
	 * Open what is to be opened. `c` is zeroed but for type, id and label. On an error nothing is left. Main
	 * thread. opts stays the caller's.
	 */
	int (*open)(struct chardev *c, const void *opts, struct error *err);
	void (*close)(struct chardev *c); /* the reverse; detached. Main thread */
	/* On the loop: chardev_up() now, or whenever there is something to read from and write to; until stop(). */
	void (*start)(struct chardev *c);
	void (*stop)(struct chardev *c);
	/* On the loop: the device was open, and what it was open on has ended. NULL: then only reading ends. */
	void (*ended)(struct chardev *c);
	/* Commands among the input: bytes that are left are moved to the front, and their number returned. */
	size_t (*filter)(struct chardev *c, uint8_t *p, size_t n);
	bool socket;		 /* write by send(2) */
	bool no_message;	 /* what is written goes nowhere: there is no ring */
	const char *unsupported; /* QEMU has it, we have not: what to do instead */
};

struct chardev {
	const struct chardev_type *type;
	char *id; /* NULL: of -serial and the like */
	char label[160];
	struct list node; /* in the list of those with an id */

	int in, out;	 /* while it is open; < 0: none. The same one for a socket */
	bool out_blocks; /* writes may block: ask poll() before each, and write little */
	bool hang_up;	 /* the front end wants no more of it */
	bool in_polls;	 /* `in` cannot be watched (a file): read it whenever there is capacity */

	char user[96]; /* "": no front end */
	struct chardev_client client;
	struct loop *loop;
	uint8_t *buf; /* of client.in_size bytes */
	struct watch in_watch, out_watch;
	struct post flush_post, want_post;
	struct timer flush_timer, linger;
	counter lost;

	struct mutex lock; /* guards the fields below */
	bool open;
	bool flush_due; /* the loop knows that there is output */
	bool was_full;	/* the front end waits for room() */
	size_t head, len, size;
	uint8_t *ring;
};

/* Where connections are made: what chardev_set_main_loop() was told. */
struct loop *chardev_main_loop(void);

/* On the loop: it is open on these descriptors, which stay the type's. */
void chardev_up(struct chardev *c, int in, int out);
/* On the loop: it is no more; after ended(), and harmless if it is not open. */
void chardev_down(struct chardev *c);

#endif
