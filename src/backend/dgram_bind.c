/* SPDX-License-Identifier: BSD-2-Clause */
/* Opening a socket for datagrams to one peer: see dgram_bind.h. */
#include "backend/dgram_bind.h"

#include <errno.h>

#include "base/open.h"
#include "net/frame.h"

#define RCVBUF (4 * 1024 * 1024)

uint32_t dgram_longest(int family, bool raw)
{
	switch (family) {
	case AF_INET:
		return raw ? 65535 - 20 : 65535 - 28;
	case AF_INET6: /* the length does not count the header */
		return raw ? 65535 : 65535 - 8;
	default:
		return NET_FRAME_MAX;
	}
}

/* The first pair of addresses of one family, the peer's first choice before ours. */
static bool choose(const struct dgram_pair *p, unsigned *here, unsigned *there)
{
	for (*there = 0; *there < p->remote->n; (*there)++) {
		for (*here = 0; *here < p->local->n; (*here)++) {
			if (p->local->e[*here].sa.ss_family == p->remote->e[*there].sa.ss_family)
				return true;
		}
	}
	return false;
}

/* What to do about an address that cannot be had. */
static const char *remedy(int code, const struct open_request *r)
{
	switch (code) {
	case EADDRINUSE: /* of a file it has been said */
		return r->domain == AF_UNIX ? "" : "; another program has it, choose a different one";
	case EADDRNOTAVAIL:
		return "; it must be an address of this host, or 0.0.0.0 or :: for any";
	case EPERM:
	case EACCES:
		return r->type == SOCK_RAW ? "; raw IP needs CAP_NET_RAW: run as root, or use UDP at both ends" :
					     "; it takes rights that this process has not, choose a different one";
	case ENOENT:
		return "; the folder must exist";
	default:
		return "";
	}
}

int dgram_bind(const struct dgram_pair *p, struct endpoint *here, struct endpoint *peer, struct error *err)
{
	struct open_request r;
	struct error why;
	unsigned i, k;
	char text[160];
	int fd;

	if (!choose(p, &i, &k))
		return fail(err, EINVAL, "%s and %s must be of one family: IPv4, IPv6 or unix", p->local_name,
			    p->remote_name);
	*here = p->local->e[i];
	*peer = p->remote->e[k];
	r = addr_request(p->local, i, ADDR_LISTEN | ADDR_DGRAM);
	r.type = p->type;
	r.protocol = p->protocol;
	r.reuse_addr = false; /* datagrams of another's port are not ours to take */
	r.rcvbuf = RCVBUF;
	if (p->type == SOCK_RAW)
		r.v6only = OPEN_V6_DEFAULT; /* it always is */
	fd = open_request(&r, &why);
	if (fd < 0)
		return fail(err, -fd, "%s=%s: %s%s", p->local_name, endpoint_text(here, text, sizeof(text)), why.msg,
			    remedy(-fd, &r));
	return fd;
}
