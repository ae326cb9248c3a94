/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The file of a dump: records are put together in a buffer and written many at a time, so that the loop makes one
 * system call where a thousand frames went by; a timer writes what is left after a while.
 *
 * A file never ends in the middle of a record, whatever happens to the disk. An error (no space, too large) is said
 * once, the file is cut behind its last whole record, and the dump stops; traffic knows nothing of it. A pipe whose
 * reader is slow does not block: when the buffer is full, records are missed, and counted.
 *
 * With a limit a dump is a row of files: NAME, NAME.1, NAME.2, ... each at most that long, and with a count the first
 * is written over after the last. The next file is opened by the main thread; meanwhile records wait in the buffer.
 *
 * The thread of the loop, where nothing else is said.
 */
#ifndef NET_DUMP_FILE_H
#define NET_DUMP_FILE_H

#include "base/error.h"
#include "loop/loop.h"

#define DUMP_LIMIT_MIN (128 * KIB) /* any record fits */

struct dump_file;

/* What the format of a file is asked for. */
struct dump_format {
	size_t head_max, tail_max;
	size_t (*head)(struct dump_file *f, uint8_t *to); /* what every file begins with */
	size_t (*tail)(struct dump_file *f, uint8_t *to); /* and ends with */
	size_t (*whole)(const uint8_t *p, size_t n);	  /* of n bytes, those that are in whole records */
};

struct dump_file {
	/* set before dump_file_open() */
	const char *path;
	const struct dump_format *format;
	uint64_t limit; /* bytes, DUMP_LIMIT_MIN at least; 0: none */
	uint32_t count; /* files; 0: without end */
	struct loop *loop;

	counter records, missed; /* in all files: put into one, and lost for want of room */

	/* its own */
	int fd; /* -1: stopped */
	bool regular, made, used;
	uint32_t index;	   /* of the file that is open */
	uint64_t dev, ino; /* of it */
	uint64_t length;   /* bytes in it */
	uint8_t *buf;
	size_t fill;	 /* bytes in the buffer */
	bool turning;	 /* the next file is being opened: */
	size_t boundary; /* of these, that belong to this one */
	struct timer timer;
	struct post post;  /* to main: open the next file */
	struct post alive; /* to the loop: it runs */
	struct list node;  /* all that are open */
};

/* Open it and write the head; the errors name no option. Main thread. */
int dump_file_open(struct dump_file *f, struct error *err) __must_check;
/* Write the rest, and close it. One that was made and never used is removed. Main thread. */
void dump_file_close(struct dump_file *f);

/* Where the next record of at most n bytes goes. NULL: it is missed. */
uint8_t *dump_file_room(struct dump_file *f, size_t n);
/* The record is there, and has n bytes. */
void dump_file_add(struct dump_file *f, size_t n);
/* Write what there is, as far as that does not block. */
void dump_file_flush(struct dump_file *f);

#endif
