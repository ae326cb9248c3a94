/* SPDX-License-Identifier: BSD-2-Clause */
/* -netdev socket: which of its five forms is wanted, and by which engine it is served. */
#include "backend/socket.h"

#include <errno.h>

#include "backend/dgram.h"
#include "backend/dgram_mcast.h"
#include "backend/stream_client.h"

struct socket_opts {
	char *fd, *listen, *connect, *mcast, *udp, *localaddr;
};

#define O(field, name, ...) OPT_F(struct socket_opts, field, name, OPT_STR, __VA_ARGS__)

static const struct opt socket_options[] = {
	O(listen, "listen", .arg = "[host]:port", .help = "TCP: wait for the other end, one at a time"),
	O(connect, "connect", .arg = "host:port", .help = "TCP: connect to the other end, once"),
	O(mcast, "mcast", .arg = "group:port", .help = "a bus of all who joined this UDP multicast group"),
	O(udp, "udp", .arg = "host:port", .help = "UDP to this address"),
	O(localaddr, "localaddr", .arg = "host[:port]", .help = "of udp and mcast: our own address"),
	O(fd, "fd", .arg = "n", .help = "a connected socket, inherited as descriptor n"),
	OPT_END,
};

/* ---- streams ---- */

static void socket_info(struct net_client *c, char *buf, size_t size)
{
	const struct connector *k = &to_stream_client(c)->connector;
	char text[256];

	if (k->state != CONNECTOR_UP)
		connector_text(k, buf, size);
	else if (k->addr.type == ADDR_FD)
		snprintf(buf, size, "socket: fd=%d", k->addr.fd);
	else
		snprintf(buf, size, "socket: %s %s", k->server ? "connection from" : "connect to",
			 endpoint_text(&k->there, text, sizeof(text)));
}

static const struct net_client_ops socket_stream_ops = {
	.type = "socket",
	STREAM_CLIENT_OPS,
	.describe = stream_client_describe,
	.info = socket_info,
	.destroy = stream_client_destroy,
};

static int create_tcp(const char *id, const char *text, bool server, struct loop *loop, struct error *err)
{
	struct addr a;
	struct stream_setup how = { .ops = &socket_stream_ops, .addr = &a, .server = server };
	int ret = addr_parse_hostport(text, server ? ADDR_LISTEN : 0, &a, err);

	ret = ret ?: stream_client_create(id, &how, loop, err);
	if (ret)
		error_prefix(err, "%s=%.128s: ", server ? "listen" : "connect", text);
	if (ret == -ECONNREFUSED)
		return fail(err, ECONNREFUSED,
			    "%s; start the other end first, or use stream, which has reconnect-ms=", err->msg);
	return ret;
}

static int create_stream_fd(const char *id, const char *text, struct loop *loop, struct error *err)
{
	struct addr a = { .type = ADDR_FD };
	struct stream_setup how = { .ops = &socket_stream_ops, .addr = &a };
	int ret = addr_parse_fd(text, SOCK_STREAM, &a.fd, err) ?: stream_client_create(id, &how, loop, err);

	if (ret)
		error_prefix(err, "fd=%.32s: ", text);
	return ret;
}

/* ---- datagrams ---- */

/* "host" of localaddr=, which needs no port: any will do. */
static int parse_localaddr(const char *text, struct addr *out, struct error *err)
{
	size_t len = strlen(text);
	bool port = strchr(text, ':') && !(text[0] == '[' && text[len - 1] == ']');
	char with[300];
	int ret;

	if (len > sizeof(with) - 3)
		return fail(err, ENAMETOOLONG, "localaddr=%.64s...: the name is too long", text);
	snprintf(with, sizeof(with), "%s%s", text, port ? "" : ":0");
	ret = addr_parse_hostport(with, ADDR_LISTEN | ADDR_DGRAM, out, err);
	if (ret)
		error_prefix(err, "localaddr=%s: ", text);
	return ret;
}

static int parse_remote(const char *name, const char *text, struct addr *out, struct error *err)
{
	int ret = addr_parse_hostport(text, ADDR_DGRAM, out, err);

	if (ret)
		error_prefix(err, "%s=%.128s: ", name, text);
	return ret;
}

static int create_udp(const char *id, const struct socket_opts *o, struct loop *loop, struct error *err)
{
	struct dgram_wire w = { .kind = DGRAM_SOCKET, .local_name = "localaddr", .remote_name = "udp" };
	int ret;

	if (!o->localaddr)
		return fail(err, EINVAL, "udp=%.128s: localaddr=host:port is missing, where frames come in", o->udp);
	ret = parse_remote("udp", o->udp, &w.remote, err) ?: parse_localaddr(o->localaddr, &w.local, err);
	if (ret)
		return ret;
	if (endpoint_is_multicast(&w.remote.e[0]))
		return fail(err, EINVAL, "udp=%.128s is a multicast group: write mcast=", o->udp);
	return dgram_create(id, &w, loop, err);
}

static int create_mcast(const char *id, const struct socket_opts *o, struct loop *loop, struct error *err)
{
	struct dgram_wire w = { .kind = DGRAM_SOCKET, .local_name = "localaddr", .remote_name = "mcast" };
	int ret = parse_remote("mcast", o->mcast, &w.remote, err);

	if (!ret && o->localaddr)
		ret = parse_localaddr(o->localaddr, &w.local, err);
	if (ret)
		return ret;
	if (!endpoint_is_multicast(&w.remote.e[0]))
		return fail(err, EINVAL, "mcast=%.128s: groups are 224.0.0.0 to 239.255.255.255, or in ff00::/8",
			    o->mcast);
	return dgram_create(id, &w, loop, err);
}

static int create_fd(const char *id, const char *text, struct loop *loop, struct error *err)
{
	struct dgram_wire w = { .kind = DGRAM_SOCKET, .local_name = "fd", .remote_name = "the peer" };
	struct error why;

	if (addr_parse_fd(text, SOCK_DGRAM, &w.local.fd, &why))
		return create_stream_fd(id, text, loop, err);
	w.local.type = ADDR_FD;
	return dgram_create(id, &w, loop, err);
}

/* ---- which ---- */

static int check(const struct socket_opts *o, struct error *err)
{
	unsigned n = !!o->fd + !!o->listen + !!o->connect + !!o->mcast + !!o->udp;

	if (n != 1)
		return fail(err, EINVAL, "%s of fd=, listen=, connect=, mcast= and udp= is needed",
			    n ? "only one" : "one");
	if (o->localaddr && !o->udp && !o->mcast)
		return fail(err, EINVAL, "localaddr=%.64s is for udp= and mcast= only; leave it out", o->localaddr);
	return 0;
}

static int socket_create(const char *id, const void *opts, struct loop *loop, struct error *err)
{
	const struct socket_opts *o = opts;
	int ret = check(o, err);

	if (ret)
		return ret;
	if (o->fd)
		return create_fd(id, o->fd, loop, err);
	if (o->udp)
		return create_udp(id, o, loop, err);
	if (o->mcast)
		return create_mcast(id, o, loop, err);
	return create_tcp(id, o->listen ? o->listen : o->connect, o->listen, loop, err);
}

const struct netdev_type socket_netdev = {
	.name = "socket",
	.help = "frames over TCP or UDP, to QEMU and vwire",
	.opts = socket_options,
	.opts_size = sizeof(struct socket_opts),
	.create = socket_create,
};
