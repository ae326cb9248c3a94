/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * load: the tests, as the host's end drives them
 *
 * Each does a fixed amount of work, so that instruction counts compare:
 *
 *   icmp:N      N ICMP echo round trips with the guest's kernel (over a tap only)
 *   urr:N       N round trips of 64 bytes by UDP with the agent
 *   trr:N       N round trips of 1 byte by TCP with the agent
 *   ubh:N:B     N bursts of B datagrams of 64 bytes host to guest, one answer a burst
 *   ubg:N:B     N bursts of B datagrams guest to host, one request a burst
 *   th:BYTES    TCP host to guest, done when the guest has read it all
 *   tg:BYTES    TCP guest to host
 *   idle:MS     nothing
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <stdint.h>

#include "sample.h"

struct bench {
	const char *tag;   /* names the run in every line of output */
	const char *guest; /* address, for icmp */
	unsigned flow;	   /* its number, if several agents work at once */
	int control;	   /* the agent's connection */
	int listener;	   /* for its data connections */
	int datagrams;	   /* for its datagrams */
};

/* The counters of the guest, through the agent. */
void ask_guest(struct bench *b, struct guest_counters *g);
/* Run the test that spec names and print its line of results; -1 if there is no such test or the agent is gone. */
int run_test(struct bench *b, const char *spec);

#endif
