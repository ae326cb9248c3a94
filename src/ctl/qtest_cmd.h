/* SPDX-License-Identifier: BSD-2-Clause */
/* Between the qtest server and its commands. */
#ifndef CTL_QTEST_CMD_H
#define CTL_QTEST_CMD_H

#include <stdio.h>

#include "ctl/qtest_accel.h"
#include "loop/connector.h"

struct qtest {
	struct qtest_accel accel;
	struct machine *machine;
	const struct ram *ram;
	struct space *mem, *io;
	struct loop *loop;
	int in, out, own; /* descriptors; < 0: none. `own` is the one to close */
	struct connector connector;
	FILE *log;
	char *buf;
	size_t len, cap;
	bool skipping; /* the line in hand is too long */
	bool done;
};

/* Carry out one line, run turns until nothing is left to do, reply. The line is changed. */
void qtest_command(struct qtest *q, char *line);

/* One line to the client, without its end. */
void qtest_say(struct qtest *q, const char *fmt, ...) __printf(2, 3);

/* Run the loop's turns until it is quiet. */
void qtest_settle(struct qtest *q);

#endif
