/* SPDX-License-Identifier: BSD-2-Clause */
/* Traffic for tests in threads: a function that the loop calls again and again, whatever else it does. */
#ifndef SCHEDULE_PUMP_H
#define SCHEDULE_PUMP_H

#include "loop/loop.h"

/* Starts the loop's thread. fn: the traffic, as the callback of a watch that is always ready. */
void pump_start(struct loop *loop, watch_fn *fn);
void pump_stop(void); /* the thread stays, for the tests' last looks; loop_free() ends it */

#endif
