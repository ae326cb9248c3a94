/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The queues of a tap that has several: their order in the kernel, and a program there that says which of them a frame
 * comes by. See tap_steer.c.
 */
#ifndef BACKEND_TAP_STEER_H
#define BACKEND_TAP_STEER_H

#include <linux/bpf.h>

#include "backend/tap_dev.h"
#include "net/rss.h"

struct tap_steer;
struct tap_steer_map;

/* The program, for a map of struct tap_steer_map; none if vwire was built without clang. */
extern const struct bpf_insn tap_steer_code[];
extern const unsigned tap_steer_code_len;

/*
 * Load it, and map its map, which is all zeros. A descriptor, which is the caller's, as is the memory; -errno: -ENOSYS if
 * there is no program.
 */
int tap_steer_program(struct tap_steer_map **map);

/* For n queues of one interface, all of them detached; each holds it until tap_steer_leave(). Main. -ENOMEM. */
int tap_steer_join(struct tap_dev *queues, unsigned n);
/* The queue is about to be closed, or is not ours any more. Main. */
void tap_steer_leave(struct tap_dev *d);

/*
 * Have change(d) attach the queue or detach it, as d->detached says then; what it returns. reattach: to another
 * interface, if it returns 0. The queue's loop.
 */
int tap_steer_change(struct tap_dev *d, int (*change)(struct tap_dev *d));
int tap_steer_reattach(struct tap_dev *d, int (*reattach)(struct tap_dev *d));

/* Load the program, if that can be: tap_steer_set() says. Main, before vwire gives up the right to. */
void tap_steer_load(struct tap_steer *s);
/*
 * From now on each frame comes by the queue that hash and table say, d being one of them; NULL, NULL: by any, as the
 * kernel likes. Any loop; no system call but where one of the two follows the other. -errno: it cannot be, the kernel
 * picks.
 */
int tap_steer_set(struct tap_dev *d, const struct rss_hash *hash, const struct rss_table *table);
/* "steering", "loaded", "unused", or why it cannot be. */
const char *tap_steer_state(struct tap_steer *s);

#endif
