/* SPDX-License-Identifier: BSD-2-Clause */
/* Addresses of sockets: from options to socket addresses, and to text. */
#include "base/addr.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/un.h>

#define UNIX_MAX (sizeof(((struct sockaddr_un *)0)->sun_path))

/* ---- endpoints ---- */

static const struct sockaddr_in *as_in(const struct endpoint *e)
{
	return (const struct sockaddr_in *)&e->sa;
}

static const struct sockaddr_in6 *as_in6(const struct endpoint *e)
{
	return (const struct sockaddr_in6 *)&e->sa;
}

int endpoint_port(const struct endpoint *e)
{
	if (e->len && e->sa.ss_family == AF_INET)
		return ntohs(as_in(e)->sin_port);
	if (e->len && e->sa.ss_family == AF_INET6)
		return ntohs(as_in6(e)->sin6_port);
	return -1;
}

void endpoint_set_port(struct endpoint *e, uint16_t port)
{
	if (e->sa.ss_family == AF_INET)
		((struct sockaddr_in *)&e->sa)->sin_port = htons(port);
	else if (e->sa.ss_family == AF_INET6)
		((struct sockaddr_in6 *)&e->sa)->sin6_port = htons(port);
}

static void unix_text(const struct endpoint *e, char *buf, size_t size)
{
	const char *p = ((const struct sockaddr_un *)&e->sa)->sun_path;
	size_t max = e->len - offsetof(struct sockaddr_un, sun_path), n = 0;
	bool abstract = max && !*p;

	/* Zero bytes at the end of an abstract name are padding or not: of no interest to a reader. */
	while (max > 1 && !p[max - 1])
		max--;
	if (size)
		buf[0] = 0;
	for (size_t i = 0; i < max && n + 5 < size; i++) {
		unsigned char c = (unsigned char)p[i];

		if (abstract && !i)
			n += (size_t)snprintf(buf + n, size - n, "@");
		else if (isprint(c))
			n += (size_t)snprintf(buf + n, size - n, "%c", c);
		else
			n += (size_t)snprintf(buf + n, size - n, "\\x%02x", c);
	}
}

const char *endpoint_text(const struct endpoint *e, char *buf, size_t size)
{
	char host[INET6_ADDRSTRLEN] = "?", scope[16] = "";

	if (!e->len) {
		snprintf(buf, size, "none");
	} else if (e->sa.ss_family == AF_INET) {
		inet_ntop(AF_INET, &as_in(e)->sin_addr, host, sizeof(host));
		snprintf(buf, size, "%s:%d", host, endpoint_port(e));
	} else if (e->sa.ss_family == AF_INET6) {
		inet_ntop(AF_INET6, &as_in6(e)->sin6_addr, host, sizeof(host));
		if (as_in6(e)->sin6_scope_id)
			snprintf(scope, sizeof(scope), "%%%u", as_in6(e)->sin6_scope_id);
		snprintf(buf, size, "[%s%s]:%d", host, scope, endpoint_port(e));
	} else if (e->sa.ss_family == AF_UNIX && e->len > offsetof(struct sockaddr_un, sun_path)) {
		unix_text(e, buf, size);
	} else {
		snprintf(buf, size, "unnamed");
	}
	return buf;
}

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b)
{
	if (!a->len || !b->len || a->sa.ss_family != b->sa.ss_family)
		return false;
	if (a->sa.ss_family == AF_INET)
		return as_in(a)->sin_port == as_in(b)->sin_port &&
		       as_in(a)->sin_addr.s_addr == as_in(b)->sin_addr.s_addr;
	if (a->sa.ss_family == AF_INET6)
		return as_in6(a)->sin6_port == as_in6(b)->sin6_port &&
		       as_in6(a)->sin6_scope_id == as_in6(b)->sin6_scope_id &&
		       !memcmp(&as_in6(a)->sin6_addr, &as_in6(b)->sin6_addr, sizeof(struct in6_addr));
	return a->len == b->len && !memcmp(&a->sa, &b->sa, a->len);
}

/* ---- names ---- */

/* A port that looks like a number must be one: getaddrinfo() cuts 70000 down to 4464. */
static int check_port(const char *port, unsigned use, struct error *err)
{
	uint64_t n;
	int ret = 0;

	if (isdigit((unsigned char)*port) || *port == '-')
		ret = parse_uint(port, use & ADDR_LISTEN ? 0 : 1, 65535, &n, err);
	if (ret)
		error_prefix(err, "port %.32s: ", port);
	return ret;
}

static int resolve_error(int code, const char *host, const char *port, struct error *err)
{
	const char *why = code == EAI_SYSTEM ? errno_str(errno) : gai_strerror(code);

	if (code == EAI_SERVICE)
		return fail(err, EINVAL, "port %.64s: neither a number nor a service that this system knows", port);
	return fail(err, ENOENT, "host %.128s: %s; give an address, or a name that can be looked up here", host, why);
}

/* Append what host and port mean in this family; 0 or an EAI_ code. */
static int lookup(struct addr *a, int family, int flags, const char *host, const char *port, unsigned use)
{
	struct addrinfo hints = { .ai_family = family,
				  .ai_socktype = use & ADDR_DGRAM ? SOCK_DGRAM : SOCK_STREAM,
				  .ai_flags = flags };
	struct addrinfo *list, *ai;
	int code = getaddrinfo(host, port, &hints, &list);

	if (code)
		return code;
	for (ai = list; ai && a->n < ADDR_MAX; ai = ai->ai_next) {
		if (ai->ai_addrlen > sizeof(a->e[0].sa))
			continue;
		memcpy(&a->e[a->n].sa, ai->ai_addr, ai->ai_addrlen);
		a->e[a->n++].len = ai->ai_addrlen;
	}
	freeaddrinfo(list);
	return a->n ? 0 : EAI_NONAME;
}

/* ---- addr.type=inet ---- */

static int family_of(const struct addr_opts *o, const char *prefix, struct error *err)
{
	if (o->ipv4 == OPT_OFF && o->ipv6 == OPT_OFF)
		return fail(err, EINVAL, "%sipv4=off and %sipv6=off: one of them is needed", prefix, prefix);
	if (o->ipv4 == OPT_OFF || (o->ipv6 == OPT_ON && o->ipv4 != OPT_ON))
		return AF_INET6;
	if (o->ipv6 == OPT_OFF || (o->ipv4 == OPT_ON && o->ipv6 != OPT_ON))
		return AF_INET;
	return AF_UNSPEC;
}

/* No host, to listen on: one socket for both families if both may be, else that of the family. */
static void any_host(struct addr *a, int family)
{
	if (family != AF_INET) {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&a->e[a->n].sa;

		in6->sin6_family = AF_INET6;
		a->e[a->n++].len = sizeof(*in6);
		a->only_v6 = family == AF_INET6;
	}
	if (family != AF_INET6) {
		a->e[a->n].sa.ss_family = AF_INET;
		a->e[a->n++].len = sizeof(struct sockaddr_in);
	}
}

static int any_port(struct addr *a, const char *port, unsigned use, struct error *err)
{
	struct addr numbers = { .n = 0 };
	int code = lookup(&numbers, AF_INET, AI_PASSIVE, NULL, port, use);

	if (code)
		return resolve_error(code, "", port, err);
	for (unsigned i = 0; i < a->n; i++)
		endpoint_set_port(&a->e[i], (uint16_t)endpoint_port(&numbers.e[0]));
	return 0;
}

static int resolve_inet(const char *host, const char *port, int family, int flags, unsigned use, struct addr *a,
			struct error *err)
{
	int code, ret = check_port(port, use, err);

	a->type = ADDR_INET;
	a->only_v6 = true;
	if (ret)
		return ret;
	if (!*host && (use & ADDR_LISTEN)) {
		any_host(a, family);
		return any_port(a, port, use, err);
	}
	code = lookup(a, family, flags, host, port, use);
	return code ? resolve_error(code, host, port, err) : 0;
}

static int check_to(const struct addr_opts *o, const struct addr *a, const char *prefix, unsigned use,
		    struct error *err)
{
	if (!o->to)
		return 0;
	if (!(use & ADDR_LISTEN) || (use & ADDR_DGRAM))
		return fail(err, EINVAL, "%sto=%u: a range of ports is for those who listen; leave it out", prefix,
			    o->to);
	if (o->to < endpoint_port(&a->e[0]))
		return fail(err, EINVAL, "%sto=%u is below %sport=%s; it is the last port to be tried", prefix, o->to,
			    prefix, o->port);
	return 0;
}

static int set_tcp(const struct addr_opts *o, struct addr *a, const char *prefix, unsigned use, struct error *err)
{
	bool keep = o->keep_alive_count || o->keep_alive_idle || o->keep_alive_interval;

	if ((use & ADDR_DGRAM) && (o->keep_alive || keep || o->mptcp))
		return fail(err, EINVAL, "%s%s is for TCP; datagrams have no connection, leave it out", prefix,
			    o->mptcp ? "mptcp" : "keep-alive");
	if (keep && !o->keep_alive)
		return fail(err, EINVAL, "%skeep-alive-count, -idle and -interval need %skeep-alive=on", prefix,
			    prefix);
	a->keep_alive = o->keep_alive;
	a->keep_count = (int)o->keep_alive_count;
	a->keep_idle = (int)o->keep_alive_idle;
	a->keep_interval = (int)o->keep_alive_interval;
	a->mptcp = o->mptcp;
	a->to = o->to;
	return 0;
}

static int inet_opts(const struct addr_opts *o, const char *prefix, unsigned use, struct addr *a, struct error *err)
{
	int family = family_of(o, prefix, err), ret;

	if (family < 0)
		return family;
	if (!o->host)
		return fail(err, EINVAL, "%shost is missing (%stype=inet)", prefix, prefix);
	if (!o->port || !*o->port)
		return fail(err, EINVAL, "%sport is missing (%stype=inet)", prefix, prefix);
	if (!*o->host && !(use & ADDR_LISTEN))
		return fail(err, EINVAL, "%shost= is empty; name the host at the other end", prefix);
	ret = resolve_inet(o->host, o->port, family, o->numeric ? AI_NUMERICHOST | AI_NUMERICSERV : 0, use, a, err);
	if (ret) {
		if (*prefix)
			error_prefix(err, "%.*s: ", (int)strlen(prefix) - 1, prefix);
		return ret;
	}
	return check_to(o, a, prefix, use, err) ?: set_tcp(o, a, prefix, use, err);
}

/* ---- addr.type=unix ---- */

static int unix_opts(const struct addr_opts *o, const char *prefix, struct addr *a, struct error *err)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&a->e[0].sa;
	size_t len = o->path ? strlen(o->path) : 0, max = UNIX_MAX - o->abstract;

	if (!len)
		return fail(err, EINVAL, "%spath is missing (%stype=unix)", prefix, prefix);
	if (len > max)
		return fail(err, ENAMETOOLONG, "%spath=%.32s... has %zu bytes; a socket's path has at most %zu", prefix,
			    o->path, len, max);
	a->type = ADDR_UNIX;
	a->n = 1;
	a->abstract = o->abstract;
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path + o->abstract, o->path, len);
	if (o->abstract)
		len = o->tight ? len + 1 : UNIX_MAX;
	else
		len = MIN(len + 1, UNIX_MAX); /* with its zero byte where that fits */
	a->e[0].len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	return 0;
}

/* ---- addr.type=fd ---- */

int addr_parse_fd(const char *text, int type, int *fd, struct error *err)
{
	socklen_t len = sizeof(int);
	struct error why;
	uint64_t n;
	int have;

	if (parse_uint(text, 3, INT_MAX, &n, &why))
		return fail(err, EINVAL, "the number of an open descriptor, 3 or above, is wanted");
	if (getsockopt((int)n, SOL_SOCKET, SO_TYPE, &have, &len) < 0)
		return errno == ENOTSOCK ?
			       fail(err, ENOTSOCK, "the descriptor is no socket") :
			       fail(err, errno, "this descriptor is not open; the program that starts vwire opens it");
	if (have != type)
		return fail(err, EPROTOTYPE, "the descriptor is a socket for %s; one for %s is needed",
			    have == SOCK_STREAM ? "a stream of bytes" :
			    have == SOCK_DGRAM	? "datagrams" :
						  "something else",
			    type == SOCK_STREAM ? "a stream of bytes" : "datagrams");
	*fd = (int)n;
	return 0;
}

static int fd_opts(const struct addr_opts *o, const char *prefix, unsigned use, struct addr *a, struct error *err)
{
	int ret;

	if (!o->str)
		return fail(err, EINVAL, "%sstr is missing (%stype=fd)", prefix, prefix);
	a->type = ADDR_FD;
	ret = addr_parse_fd(o->str, use & ADDR_DGRAM ? SOCK_DGRAM : SOCK_STREAM, &a->fd, err);
	if (ret)
		error_prefix(err, "%sstr=%.32s: ", prefix, o->str);
	return ret;
}

/* ---- all of them ---- */

/* The first option that was given and belongs to another type. */
static const char *foreign(const struct addr_opts *o, enum addr_type type)
{
	bool tcp = o->to || o->numeric || o->keep_alive || o->mptcp || o->ipv4 || o->ipv6 || o->keep_alive_count ||
		   o->keep_alive_idle || o->keep_alive_interval;

	if (type != ADDR_INET && (o->host || o->port || tcp))
		return o->host ? "host" : o->port ? "port" : "to, ipv4, ipv6, numeric, keep-alive or mptcp";
	if (type != ADDR_UNIX && (o->path || o->abstract || !o->tight))
		return o->path ? "path" : o->abstract ? "abstract" : "tight";
	return type != ADDR_FD && o->str ? "str" : NULL;
}

static enum addr_type type_of(const char *text)
{
	static const char *const names[] = { [ADDR_INET] = "inet", [ADDR_UNIX] = "unix", [ADDR_FD] = "fd" };

	for (unsigned i = ADDR_INET; i < ARRAY_SIZE(names); i++) {
		if (!strcmp(names[i], text))
			return i;
	}
	return ADDR_NONE;
}

int addr_resolve(const struct addr_opts *o, const char *name, unsigned use, struct addr *a, struct error *err)
{
	enum addr_type type = o->type ? type_of(o->type) : ADDR_NONE;
	const char *other = foreign(o, type);
	char prefix[32]; /* with its dot */

	snprintf(prefix, sizeof(prefix), "%s%s", name, *name ? "." : "");
	memset(a, 0, sizeof(*a));
	a->fd = -1;
	if (o->cid || (o->type && !strcmp(o->type, "vsock")))
		return fail(err, ENOTSUP, "%s%s=%.32s: vsock is not offered; " VSOCK_INSTEAD, prefix,
			    o->cid ? "cid" : "type", o->cid ? o->cid : o->type);
	if (o->type && !type)
		return fail(err, EINVAL, "%stype=%.32s: expected inet, unix or fd", prefix, o->type);
	if (other && !type)
		return fail(err, EINVAL, "%stype is missing: inet, unix or fd", prefix);
	if (other)
		return fail(err, EINVAL, "%s%s does not go with %stype=%s", prefix, other, prefix, o->type);
	switch (type) {
	case ADDR_INET:
		return inet_opts(o, prefix, use, a, err);
	case ADDR_UNIX:
		return unix_opts(o, prefix, a, err);
	case ADDR_FD:
		return fd_opts(o, prefix, use, a, err);
	case ADDR_NONE:
		break;
	}
	return 0;
}

/* ---- host:port ---- */

int addr_parse_hostport(const char *text, unsigned use, struct addr *a, struct error *err)
{
	const char *colon = strrchr(text, ':');
	bool bracket = *text == '[';
	char host[256];
	size_t len;
	int ret;

	memset(a, 0, sizeof(*a));
	a->fd = -1;
	if (!colon || !colon[1] || (bracket && colon[-1] != ']'))
		return fail(err, EINVAL, "expected host:port or [v6-address]:port");
	len = (size_t)(colon - text) - 2 * bracket;
	if (memchr(text + bracket, ':', len) && !bracket)
		return fail(err, EINVAL, "an IPv6 address stands in brackets: [address]:port");
	if (len >= sizeof(host))
		return fail(err, ENAMETOOLONG, "the name of the host is too long");
	memcpy(host, text + bracket, len);
	host[len] = 0;
	if (!len && !(use & ADDR_LISTEN))
		snprintf(host, sizeof(host), "%s", bracket ? "::1" : "127.0.0.1");
	if (bracket)
		return resolve_inet(host, colon + 1, AF_INET6, 0, use, a, err);
	ret = resolve_inet(host, colon + 1, AF_INET, 0, use, a, err);
	return ret == -ENOENT ? resolve_inet(host, colon + 1, AF_UNSPEC, 0, use, a, err) : ret;
}

/* ---- sockets ---- */

void addr_tune(const struct addr *a, int fd)
{
	const struct {
		int level, name, value;
	} option[] = {
		{ SOL_SOCKET, SO_KEEPALIVE, a->keep_alive },
		{ IPPROTO_TCP, TCP_KEEPCNT, a->keep_count },
		{ IPPROTO_TCP, TCP_KEEPIDLE, a->keep_idle },
		{ IPPROTO_TCP, TCP_KEEPINTVL, a->keep_interval },
	};
	int one = 1;

	if (a->type == ADDR_UNIX)
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(option); i++) {
		if (option[i].value)
			setsockopt(fd, option[i].level, option[i].name, &option[i].value, sizeof(int));
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

const char *addr_uri(const struct addr *a, const struct endpoint *e, char *buf, size_t size)
{
	char text[256];
	bool is_unix = e->len && e->sa.ss_family == AF_UNIX;

	if (a->type == ADDR_FD)
		snprintf(buf, size, "fd:%d", a->fd);
	else
		snprintf(buf, size, "%s:%s", is_unix ? "unix" : "tcp", endpoint_text(e, text, sizeof(text)));
	return buf;
}
