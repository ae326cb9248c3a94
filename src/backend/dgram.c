/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Backends whose wire is a datagram socket: -netdev dgram, and -netdev socket with udp=, mcast= and a fd= for
 * datagrams. This file finds out which sockets that means and opens them; dgram_io.h moves the frames.
 *
 * A unicast peer is one address: what comes from elsewhere is dropped (spoof), for a datagram says of itself where it
 * comes from and needs no connection. That is no protection from one who can forge addresses, and a group has none at
 * all.
 */
#include "backend/dgram.h"

#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "backend/dgram_bind.h"
#include "backend/dgram_io.h"
#include "backend/dgram_mcast.h"
#include "backend/dgram_unix.h"
#include "base/open.h"

struct dgram {
	struct net_client c;
	struct dgram_io *io;
	struct endpoint peer; /* unicast: the only sender that is heard */
	struct dgram_unix route;
	struct endpoint file; /* the socket file that is ours to remove */
	dev_t file_dev;
	ino_t file_ino;
	char info[400];
};

static struct dgram *to_dgram(struct net_client *c)
{
	return container_of(c, struct dgram, c);
}

/* ---- client ---- */

static unsigned dgram_send(struct net_client *c, struct batch *b)
{
	return dgram_io_send(to_dgram(c)->io, b);
}

static void dgram_wake(struct net_client *c, unsigned what)
{
	dgram_io_wake(to_dgram(c)->io, what);
}

static void dgram_start(struct net_client *c)
{
	dgram_io_start(to_dgram(c)->io);
}

static void dgram_quiesce(struct net_client *c)
{
	dgram_io_quiesce(to_dgram(c)->io);
}

static void dgram_parted(struct net_client *c)
{
	dgram_io_parted(to_dgram(c)->io);
}

static json_t *dgram_describe(struct net_client *c)
{
	return dgram_io_describe(to_dgram(c)->io);
}

static void dgram_info(struct net_client *c, char *buf, size_t size)
{
	snprintf(buf, size, "%s", to_dgram(c)->info);
}

/* The name of a socket that is no more is of no use to anybody; another's of the same name is. */
static void remove_file(const struct dgram *d)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)&d->file.sa;
	struct stat st;

	if (d->file.len && stat(un->sun_path, &st) == 0 && st.st_dev == d->file_dev && st.st_ino == d->file_ino)
		unlink(un->sun_path);
}

static void dgram_free(struct dgram *d)
{
	dgram_io_free(d->io);
	remove_file(d);
	free(d);
}

static void dgram_destroy(struct net_client *c)
{
	dgram_free(to_dgram(c));
}

#define OPS(name)                                                                                                 \
	{                                                                                                         \
		.type = (name), .send = dgram_send, .wake = dgram_wake, .start = dgram_start,                     \
		.quiesce = dgram_quiesce, .parted = dgram_parted, .describe = dgram_describe, .info = dgram_info, \
		.destroy = dgram_destroy,                                                                         \
	}

static const struct net_client_ops ops[] = {
	[DGRAM_NETDEV] = OPS("dgram"),
	[DGRAM_SOCKET] = OPS("socket"),
};

static enum net_drop only_peer(void *arg, const struct endpoint *from)
{
	struct dgram *d = arg;

	return endpoint_equal(from, &d->peer) ? NET_OK : NET_DROP_SPOOF;
}

/* ---- an inherited socket ---- */

static int option_of(int fd, int name)
{
	socklen_t len = sizeof(int);
	int value;

	return getsockopt(fd, SOL_SOCKET, name, &value, &len) < 0 ? -1 : value;
}

static int open_inherited(struct dgram *d, const struct dgram_wire *w, struct dgram_setup *s, struct error *err)
{
	struct open_request r = { .kind = OPEN_INHERITED, .fd = w->local.fd };
	struct endpoint peer = { .len = sizeof(peer.sa) };
	int family;

	if (getpeername(w->local.fd, (struct sockaddr *)&peer.sa, &peer.len) < 0)
		return fail(err, EINVAL,
			    "%s: the socket is connected to nobody; connect it before, or let vwire open "
			    "one",
			    w->local_name);
	s->fd = open_request(&r, err);
	if (s->fd < 0) {
		error_prefix(err, "%s: ", w->local_name);
		return s->fd;
	}
	family = option_of(s->fd, SO_DOMAIN);
	s->udp = family != AF_UNIX && option_of(s->fd, SO_PROTOCOL) == IPPROTO_UDP;
	s->max_datagram = dgram_longest(family, false);
	snprintf(d->info, sizeof(d->info), "fd=%d", w->local.fd);
	return 0;
}

/* ---- a multicast group ---- */

static int no_interface(const struct dgram_wire *w, const char *group, struct error *err)
{
	char text[160], *colon;

	if (w->local.type != ADDR_INET)
		return fail(err, ENODEV,
			    "%s=%s: this host has no interface for the group; name one by its address in %s",
			    w->remote_name, group, w->local_name);
	endpoint_text(&w->local.e[0], text, sizeof(text));
	colon = strrchr(text, ':'); /* the port does not matter */
	return fail(err, ENODEV, "%s=%.*s: no interface of this host has this address", w->local_name,
		    colon ? (int)(colon - text) : 0, text);
}

static int open_group(struct dgram *d, const struct dgram_wire *w, struct dgram_setup *s, struct error *err)
{
	const struct endpoint *group = &w->remote.e[0];
	struct dgram_mcast m;
	char text[160];
	int ret = dgram_mcast_open(&m, group, &w->local, err);

	endpoint_text(group, text, sizeof(text));
	if (ret == -ENODEV || ret == -ENETUNREACH)
		return no_interface(w, text, err);
	if (ret) {
		error_prefix(err, "%s=%s: ", w->remote_name, text);
		return ret;
	}
	s->fd = m.rx;
	s->tx_fd = m.tx;
	s->udp = true;
	s->to = *group;
	s->max_datagram = dgram_longest(group->sa.ss_family, false);
	snprintf(d->info, sizeof(d->info), "mcast=%s", text);
	return 0;
}

/* ---- one peer ---- */

static void note_file(struct dgram *d, const struct endpoint *local)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)&local->sa;
	struct stat st;

	if (local->sa.ss_family != AF_UNIX || !un->sun_path[0] || stat(un->sun_path, &st) < 0)
		return;
	d->file = *local;
	d->file_dev = st.st_dev;
	d->file_ino = st.st_ino;
}

static int open_peer(struct dgram *d, const struct dgram_wire *w, struct dgram_setup *s, struct error *err)
{
	struct dgram_pair p = { .local_name = w->local_name,
				.remote_name = w->remote_name,
				.local = &w->local,
				.remote = &w->remote,
				.type = SOCK_DGRAM };
	char local[160], remote[160];
	struct endpoint here;

	s->fd = dgram_bind(&p, &here, &d->peer, err);
	if (s->fd < 0)
		return s->fd;
	note_file(d, &here);
	s->udp = here.sa.ss_family != AF_UNIX;
	s->max_datagram = dgram_longest(here.sa.ss_family, false);
	if (s->udp)
		s->to = d->peer;
	else
		dgram_unix_init(&d->route, s->fd, &d->peer, d->c.loop);
	snprintf(d->info, sizeof(d->info), "local=%s,remote=%s", endpoint_text(&here, local, sizeof(local)),
		 endpoint_text(&d->peer, remote, sizeof(remote)));
	return 0;
}

/* ---- life ---- */

static int check_without_remote(const struct dgram_wire *w, struct error *err)
{
	if (w->local.type == ADDR_FD)
		return 0;
	return fail(
		err, EINVAL,
		"%s is missing: the address that frames go to; only %s.type=fd, a socket that is connected, needs none",
		w->remote_name, w->local_name);
}

static int check(const struct dgram_wire *w, struct error *err)
{
	const char *local = w->local_name, *remote = w->remote_name;
	enum addr_type l = w->local.type;

	if (w->remote.type == ADDR_NONE)
		return check_without_remote(w, err);
	if (w->remote.type == ADDR_FD)
		return fail(err, EINVAL, "%s cannot be an open socket; make it %s, connected, without %s", remote,
			    local, remote);
	if (endpoint_is_multicast(&w->remote.e[0])) {
		if (l == ADDR_UNIX)
			return fail(err, EINVAL, "%s is a multicast group; %s must be an address of an interface",
				    remote, local);
		return 0;
	}
	if (l == ADDR_NONE)
		return fail(err, EINVAL, "%s is missing: the address that frames come to, and are sent from", local);
	if (l == ADDR_FD)
		return fail(err, EINVAL, "%s is an open socket, which knows its peer; leave out %s", local, remote);
	return 0;
}

static int open_sockets(struct dgram *d, const struct dgram_wire *w, struct dgram_setup *s, struct error *err)
{
	if (w->remote.type == ADDR_NONE)
		return open_inherited(d, w, s, err);
	if (endpoint_is_multicast(&w->remote.e[0]))
		return open_group(d, w, s, err);
	return open_peer(d, w, s, err);
}

static int make_io(struct dgram *d, const struct dgram_wire *w, struct error *err)
{
	struct dgram_setup s = { .fd = -1, .tx_fd = -1 };
	struct dgram_judge judge = { .arg = d, .sender = only_peer };
	struct dgram_route route = dgram_unix_route(&d->route);
	int ret = open_sockets(d, w, &s, err);

	if (ret)
		return ret;
	if (d->peer.len)
		s.judge = &judge;
	if (d->route.peer.len)
		s.route = &route;
	d->io = dgram_io_new(&d->c, &s);
	return d->io ? 0 : fail(err, ENOMEM, "no memory");
}

int dgram_create(const char *id, const struct dgram_wire *w, struct loop *loop, struct error *err)
{
	struct dgram *d;
	int ret = check(w, err);

	if (ret)
		return ret;
	d = calloc(1, sizeof(*d));
	if (!d)
		return fail(err, ENOMEM, "no memory");
	d->c.ops = &ops[w->kind];
	d->c.kind = NET_KIND_BACKEND;
	d->c.loop = loop;
	snprintf(d->c.name, sizeof(d->c.name), "%s", id);
	ret = make_io(d, w, err) ?: net_client_add(&d->c, err);
	if (ret)
		dgram_free(d);
	return ret;
}

/* ---- -netdev dgram ---- */

struct dgram_opts {
	struct addr_opts local, remote;
};

static const struct opt dgram_options[] = {
	ADDR_OPTS(struct dgram_opts, local, "local"),
	ADDR_OPTS(struct dgram_opts, remote, "remote"),
	OPT_END,
};

static int create(const char *id, const void *opts, struct loop *loop, struct error *err)
{
	const struct dgram_opts *o = opts;
	struct dgram_wire w = { .kind = DGRAM_NETDEV, .local_name = "local", .remote_name = "remote" };
	int ret = addr_resolve(&o->local, "local", ADDR_LISTEN | ADDR_DGRAM, &w.local, err);

	if (!ret)
		ret = addr_resolve(&o->remote, "remote", ADDR_DGRAM, &w.remote, err);
	return ret ? ret : dgram_create(id, &w, loop, err);
}

const struct netdev_type dgram_netdev = {
	.name = "dgram",
	.help = "datagrams to a peer: UDP, unix socket, multicast group",
	.opts = dgram_options,
	.opts_size = sizeof(struct dgram_opts),
	.create = create,
};
