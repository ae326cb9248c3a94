/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-net with two pairs of queues on two loops, each of which takes a step when the test says so.
 */
#ifndef MQBENCH_H
#define MQBENCH_H

#include "guest.h"

#define RXQ1   2
#define TXQ1   3
#define MQCTRL 4 /* behind two pairs */

/* The netdev's second queue, and how often what happened to it. */
struct second {
	struct net_client c;
	unsigned sent, started, quiesced, retired;
};
extern struct second second;
extern struct loop *loop1; /* of the second pair */
extern struct bench b;

void settle_both(void);
void open_mqbench(const char *const *props); /* as bench_open() */
void close_mqbench(void);
void up(uint64_t features);

/* A command; the address of its answer. */
uint64_t post_command(unsigned queue, uint8_t class, uint8_t what, const void *data, uint32_t len);
/* ... and its answer, once both loops are settled. */
uint8_t command(uint8_t class, uint8_t what, const void *data, uint32_t len);
uint8_t set_pairs(uint16_t pairs);
uint64_t post_pairs(uint16_t pairs);

void post_on_second(void); /* a receive buffer */
/* A frame from the second queue; the answer, or -EAGAIN: nothing was lent. */
int give_second(const uint8_t *frame, size_t len);

#endif
