/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A wire with a real backend at one end and a fake NIC (fake_net.h) at the other, in a network namespace of its own.
 * The NIC is the host 10.0.2.15; the backend's side answers ARP and ping as 10.0.2.2, whatever it is. Or, with make(),
 * a real NIC at the end where else a backend is.
 */
#ifndef BENCH_H
#define BENCH_H

#include "../fake_net.h"

struct creatable;

struct bench {
	struct loop *loop;
	struct net_client *(*make)(struct bench *b); /* the client under test, and b->loop; NULL: a backend */
	void (*unmake)(struct bench *b);	     /* both, after the fake */
	bool (*turn)(struct bench *b);		     /* the far side's part beside the loop's; true: it did something */
	const char *object; /* -object options of a filter that bench_open() puts into the wire; or NULL */
	void (*prepare)(struct bench *b); /* what that needs: character devices; or NULL */
	struct creatable *filter;	  /* that is there */
	struct fake *nic;
	struct net_client *back;
	uint8_t host_mac[6];
};

/* Enter a network namespace (and make /proc/sys/net its own). False: not allowed; the reason is printed. */
bool bench_isolate(void);
/* `ip ARGS`; false if it failed. */
bool run_ip(const char *fmt, ...) __printf(1, 2);
int count_fds(void);

/* Make the backend from -netdev options, after `before` and before the wire flows `after` (either may be NULL). */
void bench_open(struct bench *b, const char *netdev, void (*after)(struct bench *b));
/* The next backend takes over so many descriptors that are open already: for bench_close() to know. */
void bench_inherits(unsigned n);
void bench_close(struct bench *b);	     /* accounts balance, no descriptor is left: asserted */
void bench_close_nic_first(struct bench *b); /* the other way round, in the middle of traffic */
int try_netdev(struct loop *loop, const char *netdev, struct error *err);

/* Run the loop until cond(); false: it did not come, in a minute. */
bool until(struct bench *b, bool (*cond)(struct bench *b, unsigned arg), unsigned arg);
/* Run the loop for a while, in which nothing is to happen: what is to happen need not have happened by then. */
void idle(struct bench *b, unsigned ms);
/* For until(): the NIC was told that there is room again, since woken_for was cleared. */
bool has_room(struct bench *b, unsigned arg);
/* Sooner or later hardly any of the loop's turns calls a watch. False: something is tried over and over. */
bool becomes_quiet(struct bench *b);

/* Learn host_mac, and let the host learn ours. */
bool resolve(struct bench *b);
/* An ICMP echo request with n bytes of payload; returns its length. */
size_t make_ping(struct bench *b, uint8_t *p, unsigned seq, size_t n);
/* Send `count` pings of n bytes, numbered from seq; returns how many were accepted. */
unsigned send_pings(struct bench *b, unsigned seq, unsigned count, size_t n);
/* Of the answers seq..seq+count-1 with n bytes, how many came, whole and unchanged? */
unsigned count_pongs(struct bench *b, unsigned seq, unsigned count, size_t n);
/* Send them, as there is room for them, and wait for the answers, which the NIC keeps; or forgets. */
bool pings_come(struct bench *b, unsigned seq, unsigned count, size_t n);
bool pings_work(struct bench *b, unsigned seq, unsigned count, size_t n);
void check_accounts(struct bench *b);

#endif
