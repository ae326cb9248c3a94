/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the bytes of a serial port go: this terminal, a file, a UNIX socket, nowhere.
 *
 * Output: the port puts bytes into a bounded ring (any thread); the main loop writes them out, a few milliseconds'
 * worth at a time, without ever blocking. When the ring is full the port is told so, and by `room` when it may go on.
 * While nobody is connected to a socket, its output is lost and counted.
 *
 * Input: the main loop reads when the port says that it can take bytes, and hands them over by `input`. The port asks
 * for more by chardev_want(), from any thread.
 */
#ifndef CHAR_CHARDEV_H
#define CHAR_CHARDEV_H

#include "base/counter.h"
#include "loop/loop.h"

#define CHARDEV_RING 8192

enum chardev_kind {
	CHARDEV_NULL,
	CHARDEV_STDIO,
	CHARDEV_FILE,
	CHARDEV_UNIX
};

struct chardev_client {
	size_t (*capacity)(void *opaque);			 /* how many bytes the port takes now; main thread */
	void (*input)(void *opaque, const uint8_t *p, size_t n); /* at most that many; main thread */
	void (*room)(void *opaque);				 /* the ring has room again; main thread */
	void (*quit)(void *opaque);				 /* the user typed Ctrl-a x; main thread */
	void *opaque;
};

struct chardev {
	enum chardev_kind kind;
	struct loop *loop;
	int in, out;  /* descriptors; < 0: none. The same one for a socket */
	int listener; /* of a socket server; < 0: none */
	bool own_in, own_out;
	bool out_blocks; /* writes may block: ask poll() before each, and write little */
	bool in_polls;	 /* `in` cannot be watched (a file): read it whenever there is capacity */
	bool escaped;	 /* Ctrl-a was typed */
	char *path;	 /* of the socket, removed at the end if we made it */
	struct chardev_client client;
	struct watch in_watch, out_watch, listen_watch;
	struct post flush_post, want_post;
	struct timer flush_timer;
	counter lost; /* bytes that nobody took */

	struct mutex lock; /* guards the fields below */
	bool flush_due;	   /* the main loop knows that there is output */
	bool was_full;	   /* the port waits for room() */
	unsigned head, len;
	uint8_t ring[CHARDEV_RING];
};

/*
 * Open what `spec` says: "stdio", "file:PATH", "unix:PATH[,server=on|off][,wait=on|off]", "null". *out is NULL for
 * "none". Main thread; with server=on and wait=on (the default) waits for the connection. Errors begin with "-serial".
 */
int chardev_open(const char *spec, struct loop *main_loop, struct chardev **out, struct error *err) __must_check;
/* Give it its port and begin to read; a terminal becomes raw. */
int chardev_start(struct chardev *c, const struct chardev_client *client, struct error *err) __must_check;
/* Write out what is left (waiting at most a second) and free. Main thread. */
void chardev_close(struct chardev *c);

/* Take up to n bytes of output; returns how many. *full: nothing more will be taken before room(). Any thread. */
size_t chardev_write(struct chardev *c, const uint8_t *p, size_t n, bool *full);
/* The port has capacity again. Any thread. */
void chardev_want(struct chardev *c);

/* For chardev_open.c: an accepted or connected socket becomes the descriptor of both directions. */
void chardev_connected(struct chardev *c, int fd);
int chardev_listen_again(struct chardev *c);

#endif
