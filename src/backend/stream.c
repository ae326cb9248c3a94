/* SPDX-License-Identifier: BSD-2-Clause */
/* -netdev stream: the options, and what they mean to the connector (QAPI NetdevStreamOptions). */
#include "backend/stream.h"

#include <errno.h>

#include "backend/stream_client.h"

struct stream_opts {
	struct addr_opts addr;
	bool server;
	uint32_t reconnect;
	uint32_t reconnect_ms;
};

#define O(field, name, kind, ...) OPT_F(struct stream_opts, field, name, kind, __VA_ARGS__)

static const struct opt stream_options[] = {
	O(server, "server", OPT_BOOL, .def = "off",
	  .help = "listen for the other end, one at a time; off: connect to it"),
	ADDR_OPTS(struct stream_opts, addr, "addr"),
	O(reconnect_ms, "reconnect-ms", OPT_UINT, .arg = "ms", .def = "0",
	  .help = "a client connects again so long after a failure or a loss; 0: never"),
	O(reconnect, "reconnect", OPT_UINT, .arg = "s", .def = "0", .max = UINT32_MAX / 1000,
	  .help = "the same in seconds; old spelling"),
	OPT_END,
};

static void stream_info(struct net_client *c, char *buf, size_t size)
{
	connector_text(&to_stream_client(c)->connector, buf, size);
}

static const struct net_client_ops stream_ops = {
	.type = "stream",
	STREAM_CLIENT_OPS,
	.describe = stream_client_describe,
	.info = stream_info,
	.destroy = stream_client_destroy,
};

static int check(const struct stream_opts *o, struct error *err)
{
	if (!o->addr.type)
		return fail(err, EINVAL, "addr.type is missing: inet, unix or fd");
	if (o->reconnect && o->reconnect_ms)
		return fail(err, EINVAL,
			    "reconnect=%u and reconnect-ms=%u exclude each other; leave out reconnect=", o->reconnect,
			    o->reconnect_ms);
	if (o->server && (o->reconnect || o->reconnect_ms))
		return fail(err, EINVAL,
			    "%s is for a client; a server (server=on) listens again by itself, leave it out",
			    o->reconnect ? "reconnect=" : "reconnect-ms=");
	return 0;
}

static int stream_create(const char *id, const void *opts, struct loop *loop, struct error *err)
{
	const struct stream_opts *o = opts;
	struct addr a;
	struct stream_setup how = {
		.ops = &stream_ops,
		.addr = &a,
		.server = o->server,
		.pause_ns = o->reconnect * (uint64_t)NSEC_PER_SEC + o->reconnect_ms * (uint64_t)NSEC_PER_MSEC,
	};
	char uri[280];
	int ret = check(o, err) ?: addr_resolve(&o->addr, "addr", o->server ? ADDR_LISTEN : 0, &a, err);

	if (ret)
		return ret;
	if (a.type == ADDR_FD && how.pause_ns)
		return fail(err, EINVAL,
			    "addr.type=fd: a connection that was given cannot be renewed; leave out reconnect");
	ret = stream_client_create(id, &how, loop, err);
	if (ret)
		error_prefix(err, "%s: ", addr_uri(&a, &a.e[0], uri, sizeof(uri)));
	if (!o->server && (ret == -ECONNREFUSED || ret == -ENOENT))
		return fail(err, -ret, "%s; start the other end first, or wait for it with reconnect-ms=1000",
			    err->msg);
	return ret;
}

const struct netdev_type stream_netdev = {
	.name = "stream",
	.help = "frames over TCP or a UNIX socket, to QEMU, vwire, passt and the like",
	.opts = stream_options,
	.opts_size = sizeof(struct stream_opts),
	.create = stream_create,
};
