/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What vwire and vwire-user have in common.
 *
 * vwire starts vwire-user with one descriptor, USER_CTL_FD: a SOCK_SEQPACKET socket. vwire asks, vwire-user answers
 * each request with one USER_REPLY, in order; in between it may send notices (USER_SPAWN, USER_LOG). Each message is a
 * struct user_msg, cut after the part that its type has. Requests, in this order:
 *
 *	USER_CONFIG	with 3 descriptors: the shared memory (sealed memfd, USER_SHM_SIZE), the end of a pipe that
 *			wakes vwire-user, the eventfd that wakes vwire (who neither reads nor writes it)
 *	USER_RESOLV	the text of resolv.conf; again whenever it changes
 *	USER_FWD_ADD	a rule each (binds the port while the user's own rights are still there)
 *	USER_GUESTFWD	a rule each
 *	USER_START	lock down and run; the reply's `layers` says what is in force. From then on only USER_RESOLV,
 *			USER_FWD_ADD and USER_FWD_DEL
 *
 * End of file on the socket ends vwire-user, whatever it does. The shared memory is one page of control words and
 * statistics, then the two rings (see ring.h).
 *
 * Accounts. vwire counts a frame as held while it is in the ring towards vwire-user; the statistics say how many were
 * passed to libslirp (out), or filtered (dropped: prefilter). They only ever grow; vwire takes their differences, no
 * more than it holds.
 */
#ifndef USER_PROTO_H
#define USER_PROTO_H

#include <limits.h>

#include "user/ring.h"

#define USER_CTL_FD	   3
#define USER_PROTO_VERSION 2

#define USER_RING_SIZE (512 * 1024U)
#define USER_SHM_PAGE  4096
#define USER_SHM_SIZE  (USER_SHM_PAGE + 2 * USER_RING_SIZE)

#define USER_FWD_MAX	  1024 /* hostfwd rules */
#define USER_GUESTFWD_MAX 16   /* guestfwd rules */
#define USER_RESOLV_MAX	  4096 /* bytes of resolv.conf */
#define USER_SEARCH_MAX	  1024 /* bytes of dnssearch domains, with their zeros */

/* Why the frame check stops a frame: X(SYMBOL, "name", "meaning") */
#define USER_CHECKS(X)                                                                                \
	X(SHORT, "short", "shorter than its headers say or its protocol needs")                       \
	X(ETHERTYPE, "ethertype", "neither IPv4, IPv6 nor ARP")                                       \
	X(HEADER, "header", "a header that contradicts itself")                                       \
	X(OPTIONS, "ip-options", "IPv4 options or IPv6 extension headers")                            \
	X(FRAGMENT, "fragment", "an IP fragment")                                                     \
	X(PROTOCOL, "protocol", "neither TCP, UDP nor ICMP")                                          \
	X(ICMP, "icmp-type", "an ICMP message other than an echo request or neighbour discovery")     \
	X(SERVICE, "service", "for a service that is not enabled (TFTP), or malformed for it (DHCP)") \
	X(OFFLOAD, "offload", "offload metadata that contradicts the headers")

enum user_check {
	USER_PASS,
#define X(sym, name, meaning) USER_CHECK_##sym,
	USER_CHECKS(X)
#undef X
	USER_CHECK_COUNT
};

/* Written by vwire-user. */
struct user_stats {
	_Atomic uint64_t passed, passed_bytes; /* frames from the guest that libslirp got */
	_Atomic uint64_t filtered;	       /* that the frame check stopped, for one of these reasons: */
	_Atomic uint64_t check[USER_CHECK_COUNT];
	_Atomic uint64_t overrun; /* frames towards the guest for which the ring had no room */
	_Atomic uint64_t sockets; /* descriptors of libslirp now */
};

struct user_shm {
	struct ring_ctl to_user, to_vwire;
	alignas(64) struct user_stats stats;
};

_Static_assert(sizeof(struct user_shm) <= USER_SHM_PAGE, "control words fit into their page");

enum user_msg_type {
	USER_CONFIG = 1,
	USER_RESOLV,
	USER_FWD_ADD,
	USER_FWD_DEL,
	USER_GUESTFWD,
	USER_START,
	USER_REPLY = 100, /* error: 0 or an errno value; text: says more, or is empty */
	USER_SPAWN,	  /* with 1 descriptor: a connection to guestfwd rule `index` */
	USER_LOG,	  /* text: one line */
};

/* Layers of confinement, as the reply to USER_START reports them. */
#define USER_LAYERS(X)                \
	X(USERNS, "user namespace")   \
	X(MOUNTNS, "mount namespace") \
	X(PIDNS, "pid namespace")     \
	X(IPCNS, "ipc namespace")     \
	X(CAPS, "no capabilities")    \
	X(NNP, "no new privileges")   \
	X(SECCOMP, "seccomp")         \
	X(RLIMITS, "resource limits")

enum user_layer {
#define X(sym, name) USER_LAYER_##sym,
	USER_LAYERS(X)
#undef X
	USER_LAYER_COUNT
};

/* Addresses in network byte order, ports in host byte order. */
struct user_config {
	uint32_t version;
	uint8_t ipv4, ipv6, restricted, prefilter, pidns;
	uint8_t prefix_len;
	uint16_t forwards; /* rules that will come, at most: for the limit of descriptors */
	uint32_t net, mask, host, dhcp_start, dns;
	uint8_t prefix6[16], host6[16], dns6[16];
	char hostname[64];
	char domainname[256];
	char tftp_server_name[256];
	char bootfile[128];
	char tftp[PATH_MAX];
	uint16_t searches;
	char search[USER_SEARCH_MAX]; /* `searches` strings */
};

struct user_fwd {
	uint32_t host_addr, guest_addr; /* 0: any; the first DHCP lease */
	uint16_t host_port, guest_port;
	uint8_t udp;
};

struct user_guestfwd {
	uint32_t addr; /* 0: libslirp's choice (net + .4) */
	uint16_t port;
	uint16_t index;
};

struct user_reply {
	int32_t error;
	uint32_t layers; /* bits by enum user_layer */
	uint16_t port;	 /* USER_FWD_ADD: of the host, which may have been left open (0) */
	char text[256];
};

struct user_msg {
	uint32_t type;
	union {
		struct user_config config;
		struct user_fwd fwd;
		struct user_guestfwd guestfwd;
		struct user_reply reply;
		uint32_t spawn_index;
		char log[256];
		struct {
			uint32_t len;
			char text[USER_RESOLV_MAX];
		} resolv;
	};
};

/* Bytes of a message of a type, or 0 if there is none. */
static inline size_t user_msg_size(uint32_t type)
{
	static const size_t size[] = {
		[USER_CONFIG] = sizeof(struct user_config),
		[USER_RESOLV] = sizeof(((struct user_msg *)0)->resolv),
		[USER_FWD_ADD] = sizeof(struct user_fwd),
		[USER_FWD_DEL] = sizeof(struct user_fwd),
		[USER_GUESTFWD] = sizeof(struct user_guestfwd),
		[USER_START] = 0,
		[USER_REPLY] = sizeof(struct user_reply),
		[USER_SPAWN] = sizeof(uint32_t),
		[USER_LOG] = sizeof(((struct user_msg *)0)->log),
	};

	if (type < USER_CONFIG || (type > USER_START && type < USER_REPLY) || type > USER_LOG)
		return 0;
	return offsetof(struct user_msg, config) + size[type];
}

#endif
