/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Character devices: bytes to and from something outside (a socket, a file, this terminal, nowhere) for one front end
 * inside (a serial port, a filter, a monitor).
 *
 *	made (-chardev, -serial)  -> attached to a front end and its loop -> opened <-> closed -> detached -> freed
 *
 * A front end's loop does all reading and writing; nothing there ever blocks.
 *
 * Output. What a front end writes goes into a bounded ring, at once and from any thread; the loop writes it out.
 * Streams of bytes use chardev_write(), which takes as many as there is room for. Messages use chardev_send(), which
 * takes all or nothing: what the other end sees always begins at the start of a message and is cut nowhere but at its
 * end. Who was refused is told by room() when it may go on. While the other end is not there (a socket nobody is
 * connected to) there is no room to wait for: bytes are lost and counted, messages are refused with -ENOTCONN. What is
 * in the ring when a connection ends is lost with it and counted.
 *
 * Input. The loop reads as much as the front end says it takes (capacity()) and hands it to input(). Who said 0 asks
 * for more by chardev_want(), from any thread.
 *
 * A reader that keeps the boundaries of messages begins anew at CHARDEV_OPENED, and throws away an unfinished one at
 * CHARDEV_CLOSED: what came before and what comes after are from different connections.
 */
#ifndef CHAR_CHARDEV_H
#define CHAR_CHARDEV_H

#include <sys/uio.h>

#include "base/opts.h"
#include "loop/loop.h"

struct chardev;

/* ---- for front ends ---- */

enum chardev_event {
	CHARDEV_OPENED, /* somebody is at the other end; before any of his input */
	CHARDEV_CLOSED, /* he is gone; after all of his input. A socket may open again */
};

/* All of these run on the loop and are optional; none may detach the device. */
struct chardev_client {
	size_t (*capacity)(void *opaque); /* how many bytes input() takes now. NULL: nothing is ever read */
	void (*input)(void *opaque, const uint8_t *p, size_t n); /* at most that many */
	void (*room)(void *opaque); /* half of the ring is free again, after a write that did not fit */
	void (*event)(void *opaque, enum chardev_event e);
	void (*quit)(void *opaque); /* the user typed Ctrl-a x */
	void *opaque;
	size_t out_size;   /* of the ring, bytes; 0: CHARDEV_RING. A message must fit into it */
	size_t in_size;	   /* most bytes of one input(); 0: CHARDEV_INPUT */
	uint64_t delay_ns; /* output waits so long for more, unless half the ring is full */
};

#define CHARDEV_RING  8192
#define CHARDEV_INPUT 256

/*
 * The device of -chardev id=..., or NULL. It is the table's: a front end attaches it, and detaches it again at its own
 * end.
 */
struct chardev *chardev_find(const char *id);
/* The one that an option names; none (NULL) if the option has no value. -ENOENT with the option's error. Main thread. */
int chardev_named(const char *option, const char *id, struct chardev **c, struct error *err) __must_check;

/*
 * Join it to a front end, `user` for messages ("-serial", "filter-mirror,id=m0"). From now on callbacks come, the first
 * perhaps before this returns. -EBUSY with a text if it has one already. Main thread; waits for the loop.
 */
int chardev_attach(struct chardev *c, const char *user, const struct chardev_client *client, struct loop *loop,
		   struct error *err) __must_check;
/*
 * What is still in the ring is written out, waiting a second at most; then no callback comes any more. A connection
 * stays, for the next front end. Harmless if not attached. Main thread.
 */
void chardev_detach(struct chardev *c);

/* Take up to n bytes of output; returns how many. *full: nothing more will be taken before room(). Any thread. */
size_t chardev_write(struct chardev *c, const void *p, size_t n, bool *full);
/*
 * Take a message whole. 0; -EAGAIN: it does not fit now, room() comes; -ENOTCONN: nobody is there, CHARDEV_OPENED
 * comes; -EMSGSIZE: it does not fit into the ring at all. Any thread.
 */
int chardev_send(struct chardev *c, const struct iovec *iov, unsigned cnt);
/* The front end has capacity again. Any thread. */
void chardev_want(struct chardev *c);

/*
 * What the other end sends makes no sense: its connection is over, as if it had ended by itself, as soon as the
 * callback that this is called from has returned. The loop.
 */
void chardev_hang_up(struct chardev *c);

/* Bytes of output that nobody took. Any thread. */
uint64_t chardev_lost(const struct chardev *c);

/* ---- making them ---- */

struct chardev_type;

/* The table of all types, ended by NULL; before anything else. */
void chardev_types_init(const struct chardev_type *const *types);
/* Before any is made: sockets listen and connect on this loop, whatever loops their front ends have. */
void chardev_set_main_loop(struct loop *l);

/*
 * -chardev: make one of a parsed list with backend= and id= (taken here). A server with wait=on waits for its client.
 * Errors say nothing of the option. Main thread.
 */
int chardev_add(struct opt_list *l, struct error *err) __must_check;
/* Detached before. -ENOENT, -EBUSY. */
int chardev_del(const char *id, struct error *err) __must_check;
/* All that are left. */
void chardev_free_all(void);

/*
 * The one-word forms of -serial: "stdio", "mon:stdio", "null", "file:PATH", "pipe:PATH", "pty", "unix:PATH[,...]",
 * "tcp:[HOST]:PORT[,...]", and "chardev:ID" for one that is there. *out is NULL for "none". Errors begin with `option`
 * and what was said.
 */
int chardev_open(const char *option, const char *spec, struct chardev **out, struct error *err) __must_check;
/*
 * Free what chardev_open() gave, detached if it still has a front end. One with an id is left as it is: it is the
 * table's, and its front end may be another than who calls this. NULL is harmless.
 */
void chardev_close(struct chardev *c);

/* "-chardev help" and "-chardev TYPE,help"; -ENOENT with a text if there is no such type. */
void chardev_help(FILE *out);
int chardev_type_help(const char *type, FILE *out, struct error *err) __must_check;

#endif
