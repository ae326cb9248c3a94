/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * -netdev l2tpv3: a static pseudowire (RFC 3931) over UDP or IP, with neither set-up nor keep-alive: both ends are told
 * sessions and cookies. l2tpv3_format.h has the header, dgram_io.h moves the frames; this file makes them out of
 * options.
 *
 * What is heard must come from the peer's address and have our session and cookie. Over IP the kernel gives a copy of
 * every datagram between two addresses to each tunnel that there is: those of the others are dropped as `session`.
 */
#include "backend/l2tpv3.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "backend/dgram_bind.h"
#include "backend/dgram_io.h"
#include "backend/l2tpv3_format.h"
#include "base/log.h"

#define PROTOCOL 115 /* IPPROTO_L2TP */

struct l2tpv3 {
	struct net_client c;
	struct dgram_io *io;
	struct l2tpv3_format format;
	struct endpoint here, peer;
};

static struct l2tpv3 *to_l2tpv3(struct net_client *c)
{
	return container_of(c, struct l2tpv3, c);
}

/* ---- client ---- */

static unsigned l2tpv3_send(struct net_client *c, struct batch *b)
{
	return dgram_io_send(to_l2tpv3(c)->io, b);
}

static void l2tpv3_wake(struct net_client *c, unsigned what)
{
	dgram_io_wake(to_l2tpv3(c)->io, what);
}

static void l2tpv3_start(struct net_client *c)
{
	dgram_io_start(to_l2tpv3(c)->io);
}

static void l2tpv3_quiesce(struct net_client *c)
{
	dgram_io_quiesce(to_l2tpv3(c)->io);
}

static void l2tpv3_parted(struct net_client *c)
{
	dgram_io_parted(to_l2tpv3(c)->io);
}

static json_t *l2tpv3_describe(struct net_client *c)
{
	struct l2tpv3 *t = to_l2tpv3(c);
	json_t *facts = dgram_io_describe(t->io);

	json_object_set_new(facts, "rxsession", json_integer(t->format.rx_session));
	json_object_set_new(facts, "txsession", json_integer(t->format.tx_session));
	return facts;
}

static void l2tpv3_info(struct net_client *c, char *buf, size_t size)
{
	struct l2tpv3 *t = to_l2tpv3(c);
	char here[80], there[80];

	snprintf(buf, size, "src=%s,dst=%s,udp=%s,rxsession=%u,txsession=%u",
		 endpoint_text(&t->here, here, sizeof(here)), endpoint_text(&t->peer, there, sizeof(there)),
		 t->format.udp ? "on" : "off", t->format.rx_session, t->format.tx_session);
}

static void l2tpv3_destroy(struct net_client *c)
{
	struct l2tpv3 *t = to_l2tpv3(c);

	dgram_io_free(t->io);
	free(t);
}

static const struct net_client_ops l2tpv3_ops = {
	.type = "l2tpv3",
	.send = l2tpv3_send,
	.wake = l2tpv3_wake,
	.start = l2tpv3_start,
	.quiesce = l2tpv3_quiesce,
	.parted = l2tpv3_parted,
	.describe = l2tpv3_describe,
	.info = l2tpv3_info,
	.destroy = l2tpv3_destroy,
};

/* The port is the peer's affair: over IP there is none, and behind a translator it may be any. */
static enum net_drop only_peer(void *arg, const struct endpoint *from)
{
	const struct l2tpv3 *t = arg;
	const struct sockaddr_in *in = (const struct sockaddr_in *)&from->sa;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&from->sa;
	bool same;

	if (!from->len || from->sa.ss_family != t->peer.sa.ss_family)
		return NET_DROP_SPOOF;
	if (from->sa.ss_family == AF_INET)
		same = in->sin_addr.s_addr == ((const struct sockaddr_in *)&t->peer.sa)->sin_addr.s_addr;
	else
		same = !memcmp(&in6->sin6_addr, &((const struct sockaddr_in6 *)&t->peer.sa)->sin6_addr, 16);
	return same ? NET_OK : NET_DROP_SPOOF;
}

static enum net_drop header(void *arg, const uint8_t *p, size_t len, size_t *skip)
{
	const struct l2tpv3 *t = arg;

	return l2tpv3_judge(&t->format, p, len, skip);
}

/* ---- options ---- */

struct l2tpv3_opts {
	char *src, *dst, *srcport, *dstport;
	char *txsession, *rxsession, *txcookie, *rxcookie; /* numbers, which are there or not */
	bool ipv6, udp, cookie64, counter, pincounter;
	uint16_t offset;
};

#define O(field, name, kind, ...) OPT_F(struct l2tpv3_opts, field, name, kind, __VA_ARGS__)

static const struct opt l2tpv3_options[] = {
	O(src, "src", OPT_STR, .required = true, .arg = "host", .help = "name or address of our end"),
	O(dst, "dst", OPT_STR, .required = true, .arg = "host", .help = "name or address of the peer"),
	O(srcport, "srcport", OPT_STR, .arg = "port", .help = "with udp=on: our port"),
	O(dstport, "dstport", OPT_STR, .arg = "port", .help = "with udp=on: the peer's port"),
	O(ipv6, "ipv6", OPT_BOOL, .def = "off", .help = "src and dst are IPv6"),
	O(udp, "udp", OPT_BOOL, .def = "off", .help = "over UDP; else straight over IP, protocol 115"),
	O(txsession, "txsession", OPT_STR, .required = true, .arg = "n",
	  .help = "session of what is sent: 1 to 4294967295, or hexadecimal after 0x"),
	O(rxsession, "rxsession", OPT_STR, .arg = "n", .help = "session of what is received; default: as txsession"),
	O(txcookie, "txcookie", OPT_STR, .arg = "n", .help = "cookie of what is sent"),
	O(rxcookie, "rxcookie", OPT_STR, .arg = "n", .help = "cookie that what is received must have"),
	O(cookie64, "cookie64", OPT_BOOL, .def = "off", .help = "cookies have 64 bits; else 32"),
	O(counter, "counter", OPT_BOOL, .def = "off", .help = "a number that counts frames stands behind the cookie"),
	O(pincounter, "pincounter", OPT_BOOL, .def = "off",
	  .help = "it stands there, and is 0: for peers that want the field and count otherwise"),
	O(offset, "offset", OPT_UINT, .def = "0", .max = L2TPV3_OFFSET_MAX,
	  .help = "bytes without meaning between header and frame"),
	OPT_END,
};

static int number(const char *name, const char *text, uint64_t min, uint64_t max, uint64_t *out, struct error *err)
{
	int ret = text ? parse_uint(text, min, max, out, err) : 0;

	if (ret)
		error_prefix(err, "%s=%.32s: ", name, text);
	return ret;
}

static int read_sessions(const struct l2tpv3_opts *o, struct l2tpv3_format *f, struct error *err)
{
	uint64_t tx = 0, rx;
	int ret = number("txsession", o->txsession, 1, UINT32_MAX, &tx, err);

	rx = tx;
	if (!ret)
		ret = number("rxsession", o->rxsession, 1, UINT32_MAX, &rx, err);
	f->tx_session = (uint32_t)tx;
	f->rx_session = (uint32_t)rx;
	return ret;
}

static int cookie(const char *name, const char *text, bool wide, uint64_t *out, struct error *err)
{
	int ret = number(name, text, 0, UINT64_MAX, out, err);

	if (!ret && !wide && *out > UINT32_MAX)
		return fail(err, EINVAL, "%s=%.32s: a cookie has 32 bits; cookie64=on makes them 64", name, text);
	return ret;
}

static int read_cookies(const struct l2tpv3_opts *o, struct l2tpv3_format *f, struct error *err)
{
	if (!o->txcookie != !o->rxcookie)
		return fail(err, EINVAL, "%s=%.32s: both directions have a cookie or none; give %s too",
			    o->txcookie ? "txcookie" : "rxcookie", o->txcookie ? o->txcookie : o->rxcookie,
			    o->txcookie ? "rxcookie" : "txcookie");
	if (o->txcookie)
		f->cookie_len = o->cookie64 ? 8 : 4;
	else if (o->cookie64)
		log_warn("l2tpv3: cookie64=on has no effect without txcookie and rxcookie");
	return cookie("txcookie", o->txcookie, o->cookie64, &f->tx_cookie, err) ?:
		       cookie("rxcookie", o->rxcookie, o->cookie64, &f->rx_cookie, err);
}

/* ---- life ---- */

static int check_port(const struct l2tpv3_opts *o, const char *name, const char *port, uint64_t min, struct error *err)
{
	char option[16];
	uint64_t n;

	snprintf(option, sizeof(option), "%sport", name);
	if (o->udp && !port)
		return fail(err, EINVAL, "%s is missing; udp=on needs srcport and dstport", option);
	if (!o->udp && port)
		log_warn("l2tpv3: %s=%.32s has no effect without udp=on", option, port);
	return o->udp && isdigit((unsigned char)*port) ? number(option, port, min, 65535, &n, err) : 0;
}

static int resolve(const struct l2tpv3_opts *o, const char *name, char *host, char *port, unsigned use,
		   struct addr *out, struct error *err)
{
	struct addr_opts a = { .type = "inet",
			       .host = host,
			       .port = o->udp ? port : "0",
			       .ipv4 = o->ipv6 ? OPT_OFF : OPT_ON,
			       .ipv6 = o->ipv6 ? OPT_ON : OPT_OFF,
			       .tight = true };
	int ret = check_port(o, name, port, use & ADDR_LISTEN ? 0 : 1, err);

	if (ret)
		return ret;
	if (!*host)
		return fail(err, EINVAL, "%s= is empty; give a name or an address", name);
	/* Over IP there is no port, and the address of a peer is like one of ours. */
	ret = addr_resolve(&a, name, use | (o->udp ? 0U : (unsigned)ADDR_LISTEN), out, err);
	if (ret == -ENOENT)
		return fail(err, ENOENT, "%s; with ipv6=%s it is one of IPv%d", err->msg, o->ipv6 ? "on" : "off",
			    o->ipv6 ? 6 : 4);
	return ret;
}

static int open_tunnel(struct l2tpv3 *t, const struct l2tpv3_opts *o, struct error *err)
{
	struct dgram_judge judge = { .arg = t, .sender = only_peer, .header = header };
	struct dgram_setup s = { .tx_fd = -1, .udp = o->udp, .judge = &judge };
	struct addr src, dst;
	struct dgram_pair pair = { .local_name = "src",
				   .remote_name = "dst",
				   .local = &src,
				   .remote = &dst,
				   .type = o->udp ? SOCK_DGRAM : SOCK_RAW,
				   .protocol = o->udp ? 0 : PROTOCOL };
	struct dgram_head head;
	int ret = resolve(o, "src", o->src, o->srcport, ADDR_LISTEN | ADDR_DGRAM, &src, err);

	if (!ret)
		ret = resolve(o, "dst", o->dst, o->dstport, ADDR_DGRAM, &dst, err);
	if (ret)
		return ret;
	s.fd = dgram_bind(&pair, &t->here, &t->peer, err);
	if (s.fd < 0)
		return s.fd;
	t->format.ip4 = !o->udp && t->here.sa.ss_family == AF_INET;
	l2tpv3_head(&t->format, &head);
	s.head = &head;
	s.to = t->peer;
	s.max_datagram = dgram_longest(t->here.sa.ss_family, !o->udp);
	t->io = dgram_io_new(&t->c, &s);
	return t->io ? 0 : fail(err, ENOMEM, "no memory");
}

static int create(const char *id, const void *opts, struct loop *loop, struct error *err)
{
	const struct l2tpv3_opts *o = opts;
	struct l2tpv3 *t = calloc(1, sizeof(*t));
	int ret;

	if (!t)
		return fail(err, ENOMEM, "no memory");
	t->c.ops = &l2tpv3_ops;
	t->c.kind = NET_KIND_BACKEND;
	t->c.loop = loop;
	snprintf(t->c.name, sizeof(t->c.name), "%s", id);
	t->format.udp = o->udp;
	t->format.sublayer = o->counter || o->pincounter;
	t->format.counts = !o->pincounter;
	t->format.offset = o->offset;
	ret = read_sessions(o, &t->format, err) ?: read_cookies(o, &t->format, err) ?: open_tunnel(t, o, err);
	if (!ret)
		ret = net_client_add(&t->c, err);
	if (ret) {
		dgram_io_free(t->io);
		free(t);
	}
	return ret;
}

const struct netdev_type l2tpv3_netdev = {
	.name = "l2tpv3",
	.help = "a static L2TPv3 pseudowire over UDP or IP",
	.opts = l2tpv3_options,
	.opts_size = sizeof(struct l2tpv3_opts),
	.create = create,
};
