/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest of user networking without a machine: a net client that stands where a NIC would, and just enough of ARP, IP,
 * UDP and TCP to talk to libslirp. Everything runs in the test's thread, turn by turn.
 */
#ifndef TESTS_USERGUEST_H
#define TESTS_USERGUEST_H

#include "net/client.h"

#define GUEST_QUEUE 512

struct got {
	uint32_t len;
	struct frame_meta meta;
	uint8_t *data;
};

struct guest {
	struct net_client c; /* kind NIC */
	struct net_client *user;
	struct loop *loop;
	bool full; /* no receive buffers */
	unsigned room_wakes;
	bool link;
	uint8_t window[NET_FRAME_MAX + 1];
	struct iovec iov[2];
	struct got queue[GUEST_QUEUE];
	unsigned n;
};

#define GUEST_IP 0x0a00020f /* 10.0.2.15 */
#define HOST_IP	 0x0a000202
#define DNS_IP	 0x0a000203

extern const uint8_t guest_mac[6];

/* Unless VWIRE_USER says something: the program of this build, build/tests/unit/test_x -> build/vwire-user. */
void guest_name_helper(void);
/* Make a user network with these options (after "user,id=net0") and join a guest to it. NULL: err says why. */
struct guest *guest_new(const char *options, struct error *err);
/* Quiesce, check both accounts, take everything down. */
void guest_free(struct guest *g);
/* After each test: take down what a failed one left. */
int guest_teardown(void **state);
void guest_check_accounts(struct guest *g);

/* Run the loop until cond(g, arg) or the time is over; true if it came to be. */
bool guest_until(struct guest *g, bool (*cond)(struct guest *g, void *arg), void *arg, unsigned ms);
void guest_run(struct guest *g, unsigned ms);

/* Send one frame; false if there is no room. */
bool guest_send(struct guest *g, const void *frame, size_t len);
bool guest_send_meta(struct guest *g, const void *frame, size_t len, const struct frame_meta *m);
void guest_clear(struct guest *g); /* forget what was received */

/* Builders: return the frame's length. Checksums are right. */
size_t build_eth(uint8_t *f, uint16_t type);
size_t build_arp(uint8_t *f, uint32_t target);
size_t build_ip(uint8_t *f, uint8_t proto, uint32_t dst, size_t payload);
size_t build_udp(uint8_t *f, uint32_t dst, uint16_t sport, uint16_t dport, const void *data, size_t n);
size_t build_ping(uint8_t *f, uint32_t dst, uint16_t seq, size_t payload);

struct tcp {
	uint32_t remote;
	uint16_t port, remote_port;
	uint32_t seq, ack; /* next to send, next expected */
};

enum {
	FIN = 1,
	SYN = 2,
	RST = 4,
	PSH = 8,
	ACK = 16,
	URG = 32
};

/* A TCP segment of the connection; a SYN has an MSS option if mss is not 0. */
size_t build_tcp(uint8_t *f, const struct tcp *t, uint8_t flags, uint16_t mss, const void *data, size_t n);
/* The same as a TSO frame: partial checksum, segmentation metadata. */
size_t build_tso(uint8_t *f, const struct tcp *t, const void *data, size_t n, uint16_t mss, struct frame_meta *m);

/* Looking at IPv4 frames. */
static inline uint16_t rd16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t rd32(const uint8_t *p)
{
	return (uint32_t)rd16(p) << 16 | rd16(p + 2);
}

static inline bool is_ipv4(const struct got *g, uint8_t proto)
{
	return g->len >= 34 && rd16(g->data + 12) == 0x0800 && g->data[23] == proto;
}

/* The first frame of the queue that is an IPv4 packet of proto to this port (0: any), or NULL. */
struct got *find_ipv4(struct guest *g, uint8_t proto, uint16_t port);

#endif
