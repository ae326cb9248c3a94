/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What vwire tells the steering program of a tap (tap_steer.bpf.c): memory that both see, which is the program's map.
 *
 * vwire writes the slot that is not in force, and then `slot`. A program that is still at work in it, from before the
 * last change, may find it half written: it picks a queue that is not this flow's, and the NIC hands the frame on. No
 * number in here is believed: each index is bounded where it is used.
 */
#ifndef BACKEND_TAP_STEER_MAP_H
#define BACKEND_TAP_STEER_MAP_H

#include "net/rss.h"

#define TAP_QUEUES_MAX 256 /* of a tap in the kernel */

struct tap_steer_map {
	uint32_t slot; /* the one in force: 0 or 1 */
	uint8_t place
		[TAP_QUEUES_MAX]; /* of our queue i: its number among those that are attached, which is the kernel's */
	struct {
		struct rss_hash hash;
		struct rss_table table; /* of our queues */
	} slots[2];
};

#endif
