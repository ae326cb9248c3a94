/* SPDX-License-Identifier: BSD-2-Clause */
/* Traffic for tests in threads; see pump.h. A pipe with a byte in it is always readable. */
#include "pump.h"

#include <unistd.h>

#include "../unit/unit.h"

static struct loop *pumped;
static struct watch watch;
static int pipe_fd[2]; /* one byte in it: readable for ever */

static void join_loop(void *fn)
{
	watch_init(&watch, "pump", pipe_fd[0], *(watch_fn **)fn);
	assert_int_equal(watch_add(pumped, &watch, EPOLLIN), 0);
}

static void leave_loop(void *arg)
{
	(void)arg;
	watch_del(&watch);
}

void pump_start(struct loop *loop, watch_fn *fn)
{
	struct error err;

	pumped = loop;
	assert_int_equal(pipe(pipe_fd), 0);
	assert_int_equal(write(pipe_fd[1], "x", 1), 1);
	assert_int_equal(loop_start_thread(loop, &err), 0);
	loop_call(loop, join_loop, &fn);
}

void pump_stop(void)
{
	loop_call(pumped, leave_loop, NULL);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
}
