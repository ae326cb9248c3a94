/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * -chardev socket: a stream socket, to listen on or to connect.
 *
 * Connections are made and renewed on main (loop/connector.h), bytes move on the front end's loop, which may be another
 * one. `fd` is main's. Main hands it over by a call into the loop, while it waits; the loop says by a post that it is
 * done with it (`ended`), and main closes it then. A front end that is attached between the two does not get it any
 * more.
 */
#include "char/char_socket.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "char/type.h"
#include "loop/connector.h"

struct char_socket {
	struct chardev c;
	struct connector connector;
	int fd; /* the connection; -1: none */
	bool ended;
	struct post lost;
};

static struct char_socket *to_socket(struct chardev *c)
{
	return container_of(c, struct char_socket, c);
}

/* ---- options ---- */

struct socket_opts {
	struct addr_opts addr;
	char *tls_creds, *tls_authz;
	bool server, telnet, websocket, tn3270;
	uint8_t wait, nodelay, delay; /* enum onoffauto */
	uint32_t reconnect;
	uint64_t reconnect_ms;
};

#define O(field, name, kind, ...) OPT_F(struct socket_opts, field, name, kind, __VA_ARGS__)

static const struct opt socket_options[] = {
	O(addr.path, "path", OPT_STR, .arg = "path", .help = "a UNIX socket: its path, or abstract name"),
	O(addr.abstract, "abstract", OPT_BOOL, .def = "off", .help = "the path is a name without a file"),
	O(addr.tight, "tight", OPT_BOOL, .def = "on", .help = "no zero bytes behind an abstract name"),
	O(addr.host, "host", OPT_STR, .arg = "host",
	  .help = "TCP: name or address; default: any to listen on, this machine to connect to"),
	O(addr.port, "port", OPT_STR, .arg = "port", .help = "TCP: number or service"),
	O(addr.to, "to", OPT_UINT, .arg = "port", .help = "TCP: listen on the first free port up to this"),
	O(addr.ipv4, "ipv4", OPT_ONOFFAUTO, .def = "auto", .help = "TCP: IPv4"),
	O(addr.ipv6, "ipv6", OPT_ONOFFAUTO, .def = "auto", .help = "TCP: IPv6"),
	O(nodelay, "nodelay", OPT_ONOFFAUTO, .def = "auto", .help = "TCP: accepted; small pieces never wait here"),
	O(delay, "delay", OPT_ONOFFAUTO, .def = "auto", .help = "the opposite of nodelay, accepted"),
	O(addr.str, "fd", OPT_STR, .arg = "n",
	  .help = "an open socket, inherited as descriptor n: connected, or with server=on one that listens"),
	O(addr.cid, "cid", OPT_STR, .arg = "n", .help = "a vsock: not offered"),
	O(server, "server", OPT_BOOL, .def = "off", .help = "listen, do not connect"),
	O(wait, "wait", OPT_ONOFFAUTO, .def = "auto",
	  .help = "a server waits for its first client at start; auto: it does"),
	O(reconnect, "reconnect", OPT_UINT, .def = "0", .max = 3600 * 24, .arg = "seconds",
	  .help = "a client tries again so long after it lost, or did not get, its connection; 0: never"),
	O(reconnect_ms, "reconnect-ms", OPT_UINT, .def = "0", .max = 3600 * 24 * 1000, .arg = "milliseconds",
	  .help = "the same"),
	O(telnet, "telnet", OPT_BOOL, .def = "off", .help = "telnet's protocol; not offered"),
	O(tn3270, "tn3270", OPT_BOOL, .def = "off", .help = "not offered"),
	O(websocket, "websocket", OPT_BOOL, .def = "off", .help = "WebSocket's protocol; not offered"),
	O(tls_creds, "tls-creds", OPT_STR, .arg = "id", .help = "TLS; not offered"),
	O(tls_authz, "tls-authz", OPT_STR, .arg = "id", .help = "TLS; not offered"),
	OPT_END,
};

static int check_offered(const struct socket_opts *o, struct error *err)
{
	if (o->telnet || o->tn3270 || o->websocket)
		return fail(err, ENOTSUP, "%s=on: not offered; only plain bytes are sent, as socat and nc do",
			    o->telnet ? "telnet" :
			    o->tn3270 ? "tn3270" :
					"websocket");
	if (o->tls_creds || o->tls_authz)
		return fail(err, ENOTSUP, "%s=%.64s: TLS is not offered; use a UNIX socket, or a tunnel (stunnel, ssh)",
			    o->tls_creds ? "tls-creds" : "tls-authz", o->tls_creds ? o->tls_creds : o->tls_authz);
	if (o->addr.cid)
		return fail(err, ENOTSUP, "cid=%.32s: vsock is not offered; " VSOCK_INSTEAD, o->addr.cid);
	return 0;
}

static int check_roles(const struct socket_opts *o, struct error *err)
{
	if (o->reconnect && o->reconnect_ms)
		return fail(err, EINVAL, "reconnect=%u and reconnect-ms=%llu exclude each other; leave one out",
			    o->reconnect, (unsigned long long)o->reconnect_ms);
	if (o->server && (o->reconnect || o->reconnect_ms))
		return fail(
			err, EINVAL,
			"%s is for those who connect; with server=on the next client may come at any time, leave it "
			"out",
			o->reconnect ? "reconnect" : "reconnect-ms");
	if (o->addr.str && (o->reconnect || o->reconnect_ms))
		return fail(err, EINVAL, "fd=%.16s cannot be connected anew; leave %s out", o->addr.str,
			    o->reconnect ? "reconnect" : "reconnect-ms");
	if (!o->server && o->wait == OPT_ON)
		return fail(err, EINVAL,
			    "wait=on is for server=on; who connects does not wait for a client, leave it out");
	return 0;
}

static int check_family(const struct addr_opts *a, struct error *err)
{
	unsigned n = !!a->path + !!(a->host || a->port) + !!a->str;

	if (n != 1)
		return fail(err, EINVAL,
			    "%s of path= (a UNIX socket), port= with host= (TCP) and fd= (an open one) is needed",
			    n ? "only one" : "one");
	if (a->host && !a->port)
		return fail(err, EINVAL, "port= is missing (host=%.64s)", a->host);
	if (!a->path && (a->abstract || !a->tight))
		return fail(err, EINVAL, "%s is for path=; leave it out", a->abstract ? "abstract" : "tight");
	if (!a->port && (a->to || a->ipv4 || a->ipv6))
		return fail(err, EINVAL, "%s is for port=; leave it out", a->to ? "to" : a->ipv4 ? "ipv4" : "ipv6");
	return 0;
}

static int resolve_fd(const char *text, struct addr *a, struct error *err)
{
	int rc;

	*a = (struct addr){ .type = ADDR_FD };
	rc = addr_parse_fd(text, SOCK_STREAM, &a->fd, err);
	if (rc < 0)
		error_prefix(err, "fd=%.16s: ", text);
	return rc;
}

/* path=, host= and port= are what ADDR_OPTS has with a type. */
static int resolve_addr(const struct socket_opts *o, struct addr *out, struct error *err)
{
	struct addr_opts a = o->addr;

	a.type = a.path ? "unix" : "inet";
	if (a.port && (!a.host || (!*a.host && !o->server)))
		a.host = o->server ? "" : "localhost";
	return addr_resolve(&a, "", o->server ? ADDR_LISTEN : 0, out, err);
}

static int resolve(const struct socket_opts *o, struct connector *k, struct error *err)
{
	int rc = check_offered(o, err) ?: check_roles(o, err) ?: check_family(&o->addr, err);

	k->server = o->server;
	k->pause_ns = o->reconnect ? o->reconnect * (uint64_t)NSEC_PER_SEC : o->reconnect_ms * NSEC_PER_MSEC;
	if (rc < 0)
		return rc;
	return o->addr.str ? resolve_fd(o->addr.str, &k->addr, err) : resolve_addr(o, &k->addr, err);
}

/* ---- connections ---- */

static void hand_over(void *arg)
{
	struct char_socket *s = arg;

	if (s->fd >= 0 && !s->ended)
		chardev_up(&s->c, s->fd, s->fd);
}

static void on_up(struct connector *k, int fd)
{
	struct char_socket *s = container_of(k, struct char_socket, connector);

	s->fd = fd;
	s->ended = false;
	if (s->c.loop)
		loop_call(s->c.loop, hand_over, s);
}

static void on_lost(struct post *p)
{
	struct char_socket *s = container_of(p, struct char_socket, lost);

	close(s->fd);
	s->fd = -1;
	connector_lost(&s->connector, NULL);
}

/* ---- device ---- */

static void socket_start(struct chardev *c)
{
	hand_over(to_socket(c));
}

static void socket_stop(struct chardev *c)
{
	(void)c;
}

static void socket_ended(struct chardev *c)
{
	struct char_socket *s = to_socket(c);

	s->ended = true;
	loop_post(s->connector.loop, &s->lost);
}

static void socket_close(struct chardev *c)
{
	struct char_socket *s = to_socket(c);

	loop_unpost(s->connector.loop, &s->lost);
	connector_close(&s->connector);
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

static int begin(struct char_socket *s, bool wait, struct error *err)
{
	int rc = connector_open(&s->connector, err);

	if (rc < 0 && !s->connector.server && s->connector.addr.type != ADDR_FD && err)
		return fail(err, -rc, "%.500s; server=on makes the socket here", err->msg);
	if (rc < 0 || !wait)
		return rc;
	log_info("%s: waiting for the connection; wait=off does not", s->c.label);
	rc = connector_wait(&s->connector, err);
	if (rc < 0)
		connector_close(&s->connector);
	return rc;
}

static int socket_open(struct chardev *c, const void *opts, struct error *err)
{
	struct char_socket *s = to_socket(c);
	const struct socket_opts *o = opts;
	int rc;

	s->fd = -1;
	post_init(&s->lost, on_lost);
	s->connector.loop = chardev_main_loop();
	s->connector.what = c->label;
	s->connector.up = on_up;
	rc = resolve(o, &s->connector, err);
	return rc < 0 ? rc : begin(s, o->server && o->wait != OPT_OFF, err);
}

const struct chardev_type chardev_socket = {
	.name = "socket",
	.help = "a UNIX or TCP socket, to listen on or to connect",
	.opts = socket_options,
	.opts_size = sizeof(struct socket_opts),
	.size = sizeof(struct char_socket),
	.open = socket_open,
	.close = socket_close,
	.start = socket_start,
	.stop = socket_stop,
	.ended = socket_ended,
	.socket = true,
};
