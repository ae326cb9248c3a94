/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * -object iothread: a loop of its own, which the user names as the one that is to run the queues of a NIC. The object
 * has the loop; whoever runs the other loops starts it. Main thread.
 */
#ifndef OBJECT_IOTHREAD_H
#define OBJECT_IOTHREAD_H

#include "loop/loop.h"
#include "object/creatable.h"

extern const struct type type_iothread;

/* The loop of iothread `id`; NULL with err: there is none of that name. */
struct loop *iothread_loop(const char *id, struct error *err);
/* The error of those who asked for a thread that is not there: -ENOENT. */
int iothread_none(const char *id, struct error *err);
/* All iothreads made from now on stand for this loop, where there is to be but one; NULL: each has its own. */
void iothread_use(struct loop *only);
/* Start the threads of all iothreads. -errno: some may run. */
int iothread_start_all(struct error *err) __must_check;

#endif
