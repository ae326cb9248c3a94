/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pace: when a loop that is woken may interrupt who runs.
 *
 * A loop shares processors with the vCPUs that feed it. If the scheduler lets each wake-up preempt the vCPU, a stream
 * of frames costs a wake-up, two switches and one kick exit for every single frame; if it does not, the guest posts
 * many frames before the loop gets its turn, and pays once for all of them. For a conversation, one frame there and one
 * back, it is the other way round: nothing comes behind the frame, so to wait is to lose.
 *
 * So a loop with a thread of its own looks at what it moves. A turn that moved one small frame in the direction
 * opposite to the turn before is part of a conversation; all other turns that moved frames are part of a stream. While
 * there are streams the thread is SCHED_BATCH (its wake-ups do not preempt; where a processor is idle it runs there at
 * once, as ever), in conversations SCHED_OTHER. The change costs one system call and takes a run of turns that agree.
 */
#ifndef LOOP_PACE_H
#define LOOP_PACE_H

#include "base/util.h"

struct pace {
	uint32_t frames[2]; /* moved in this turn, out of the guest and into it */
	uint64_t bytes;
	uint8_t last;	   /* direction of the last turn that moved one frame alone */
	uint8_t agreement; /* of late with a conversation: 0 to PACE_SURE */
	bool batch;
};

#define PACE_SURE  16
#define PACE_SMALL 2048 /* bytes: a frame that may be one side of a conversation */

void pace_init(struct pace *p);

/* Judge the turn that ends. True: the thread's policy is to change to p->batch. */
bool pace_turn(struct pace *p);

#endif
