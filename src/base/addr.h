/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Addresses of sockets as QEMU's options have them: a set of dotted keys (addr.type=inet,addr.host=...; the members of
 * QAPI's SocketAddress), or the old "host:port". Names are resolved once, on the main thread, when the options are
 * read: what comes out are socket addresses, and no loop ever waits for a name server.
 */
#ifndef BASE_ADDR_H
#define BASE_ADDR_H

#include <sys/socket.h>

#include "base/opts.h"

/* ---- socket addresses ---- */

struct endpoint {
	struct sockaddr_storage sa;
	socklen_t len; /* 0: none */
};

/*
 * "127.0.0.1:1234", "[::1]:1234", "/run/x", "@name" (abstract, bytes that do not print as \xNN). Any thread. Returns
 * buf.
 */
const char *endpoint_text(const struct endpoint *e, char *buf, size_t size);
bool endpoint_equal(const struct endpoint *a, const struct endpoint *b); /* family, address, port or path */
int endpoint_port(const struct endpoint *e);				 /* of inet and inet6; else -1 */
void endpoint_set_port(struct endpoint *e, uint16_t port);		 /* of inet and inet6 */

/* ---- what the user writes ---- */

struct addr_opts {
	char *type, *host, *port, *path, *str, *cid;
	uint16_t to;
	bool numeric, keep_alive, mptcp, abstract, tight;
	uint8_t ipv4, ipv6; /* enum onoffauto */
	uint32_t keep_alive_count, keep_alive_idle, keep_alive_interval;
};

/* Entries of a table: ADDR_OPTS(struct stream_opts, addr, "addr"), with a struct addr_opts in that field. */
/* clang-format off */
#define ADDR_OPTS(t, f, p)                                                                                         \
	OPT_F(t, f.type, p ".type", OPT_STR, .arg = "inet|unix|fd", .help = "kind of address"),                    \
	OPT_F(t, f.host, p ".host", OPT_STR, .arg = "host", .help = "inet: name or address"),                      \
	OPT_F(t, f.port, p ".port", OPT_STR, .arg = "port", .help = "inet: number or service"),                    \
	OPT_F(t, f.to, p ".to", OPT_UINT, .arg = "port", .help = "inet: listen on the first free port up to this"), \
	OPT_F(t, f.ipv4, p ".ipv4", OPT_ONOFFAUTO, .arg = "on|off", .help = "inet: IPv4"),                         \
	OPT_F(t, f.ipv6, p ".ipv6", OPT_ONOFFAUTO, .arg = "on|off", .help = "inet: IPv6"),                         \
	OPT_F(t, f.numeric, p ".numeric", OPT_BOOL, .help = "inet: host and port are numbers, nothing is looked up"), \
	OPT_F(t, f.keep_alive, p ".keep-alive", OPT_BOOL, .help = "inet: notice a dead peer (SO_KEEPALIVE)"),      \
	OPT_F(t, f.keep_alive_count, p ".keep-alive-count", OPT_UINT, .max = 127,                                  \
	      .help = "probes without an answer; 0: the system's"),                                                \
	OPT_F(t, f.keep_alive_idle, p ".keep-alive-idle", OPT_UINT, .max = 32767,                                  \
	      .help = "seconds of silence before the first; 0: the system's"),                                     \
	OPT_F(t, f.keep_alive_interval, p ".keep-alive-interval", OPT_UINT, .max = 32767,                          \
	      .help = "seconds between two; 0: the system's"),                                                     \
	OPT_F(t, f.mptcp, p ".mptcp", OPT_BOOL, .help = "inet: multipath TCP"),                                    \
	OPT_F(t, f.path, p ".path", OPT_STR, .arg = "path", .help = "unix: path, or abstract name"),               \
	OPT_F(t, f.abstract, p ".abstract", OPT_BOOL, .help = "unix: the path is a name without a file"),          \
	OPT_F(t, f.tight, p ".tight", OPT_BOOL, .def = "on", .help = "unix: no zero bytes behind an abstract name"), \
	OPT_F(t, f.str, p ".str", OPT_STR, .arg = "n", .help = "fd: an open socket, inherited as descriptor n"),   \
	OPT_F(t, f.cid, p ".cid", OPT_STR, .arg = "n", .help = "vsock: not offered")
/* clang-format on */

/* What to do about an address that QEMU knows elsewhere. */
#define VSOCK_INSTEAD "use a UNIX socket, and let socat join it to the vsock"

/* ---- what comes out ---- */

#define ADDR_MAX 16 /* candidates; more that a name has are left out */

enum addr_type {
	ADDR_NONE, /* nothing was given */
	ADDR_INET,
	ADDR_UNIX,
	ADDR_FD
};

struct addr {
	enum addr_type type;
	unsigned n; /* inet: 1..ADDR_MAX, to be tried in this order; unix: 1; fd: 0 */
	struct endpoint e[ADDR_MAX];
	uint16_t to;   /* 0, or the last port to be tried */
	bool only_v6;  /* IPV6_V6ONLY on IPv6 listeners: set unless both families were wanted */
	bool abstract; /* unix: no file */
	int fd;	       /* fd: the descriptor */
	/* of TCP, set by addr_tune() */
	bool keep_alive, mptcp;
	int keep_count, keep_idle, keep_interval; /* 0: the system's */
};

enum addr_use {
	ADDR_LISTEN = 1 << 0, /* a local address: no host is any host, port 0 is any port */
	ADDR_DGRAM = 1 << 1,  /* for datagrams: what concerns connections is refused */
};

/*
 * Check and resolve. `prefix` is the options' ("addr", or "" if they have none), for messages; `use` bits of enum
 * addr_use. With no option given the result is of type ADDR_NONE and 0 is returned. Main thread: may wait for a name
 * server.
 */
int addr_resolve(const struct addr_opts *o, const char *prefix, unsigned use, struct addr *out,
		 struct error *err) __must_check;

/*
 * "host:port", "[v6]:port", ":port" of -netdev socket. As there, a name means its IPv4 addresses if it has any, and no
 * host is 0.0.0.0 to listen on and this machine to connect to. Messages say nothing of the option.
 */
int addr_parse_hostport(const char *text, unsigned use, struct addr *out, struct error *err) __must_check;

/* "12" or the like: the number of an inherited descriptor (3 or above) that is a socket of `type` (SOCK_STREAM...). */
int addr_parse_fd(const char *text, int type, int *fd, struct error *err) __must_check;

/* The socket options of `a` on a connected or listening socket: keep-alive and, for TCP, no delay of small frames. */
void addr_tune(const struct addr *a, int fd);

/* "tcp:127.0.0.1:1234", "unix:/run/x", "unix:@x" or "fd:5", as QEMU prints it; `e` is the address. Returns buf. */
const char *addr_uri(const struct addr *a, const struct endpoint *e, char *buf, size_t size);

#endif
