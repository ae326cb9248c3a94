/* SPDX-License-Identifier: BSD-2-Clause */
/* The two sockets of a multicast group: see dgram_mcast.h. */
#include "backend/dgram_mcast.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <unistd.h>

#include "base/open.h"
#include "base/wirefmt.h"

#define RCVBUF (4 * 1024 * 1024)

static const struct sockaddr_in *as_in(const struct endpoint *e)
{
	return (const struct sockaddr_in *)&e->sa;
}

static const struct sockaddr_in6 *as_in6(const struct endpoint *e)
{
	return (const struct sockaddr_in6 *)&e->sa;
}

bool endpoint_is_multicast(const struct endpoint *e)
{
	if (e->len && e->sa.ss_family == AF_INET)
		return IN_MULTICAST(ntohl(as_in(e)->sin_addr.s_addr));
	return e->len && e->sa.ss_family == AF_INET6 && IN6_IS_ADDR_MULTICAST(&as_in6(e)->sin6_addr);
}

/* ---- the filter ---- */

#define STMT(c, v)	    ((struct sock_filter){ (c), 0, 0, (uint32_t)(v) })
#define JUMP(c, v, yes, no) ((struct sock_filter){ (c), (yes), (no), (uint32_t)(v) })

/*
 * Leave out what comes from our sending socket: by its port, if the kernel says that it looped the datagram back, or if
 * it comes from the address that we send from (the loopback interface loops everything, and does not say so). The
 * filter sees the datagram from its UDP header on.
 */
static unsigned own_filter(struct sock_filter *f, const struct endpoint *own)
{
	bool v6 = own->sa.ss_family == AF_INET6;
	unsigned words = v6 ? 4 : 1, n = 0, at = v6 ? 8 : 12;
	const uint8_t *addr = v6 ? as_in6(own)->sin6_addr.s6_addr : (const uint8_t *)&as_in(own)->sin_addr;
	uint8_t rest = (uint8_t)(2 * words + 2); /* behind the first jump, up to the last statement */

	f[n++] = STMT(BPF_LD | BPF_H | BPF_ABS, 0);
	f[n++] = JUMP(BPF_JMP | BPF_JEQ | BPF_K, endpoint_port(own), 0, rest + 1);
	f[n++] = STMT(BPF_LD | BPF_B | BPF_ABS, SKF_AD_OFF + SKF_AD_PKTTYPE);
	f[n++] = JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_LOOPBACK, rest - 2, 0);
	for (unsigned i = 0; i < words; i++) {
		f[n++] = STMT(BPF_LD | BPF_W | BPF_ABS, SKF_NET_OFF + at + 4 * i);
		f[n++] = JUMP(BPF_JMP | BPF_JEQ | BPF_K, get32(addr + 4 * i), 0, 2 * (words - i) - 1);
	}
	f[n++] = STMT(BPF_RET | BPF_K, 0);
	f[n++] = STMT(BPF_RET | BPF_K, UINT32_MAX);
	return n;
}

static int leave_out_own(int rx, const struct endpoint *own, struct error *err)
{
	struct sock_filter code[16];
	struct sock_fprog prog = { .len = (unsigned short)own_filter(code, own), .filter = code };

	if (setsockopt(rx, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) < 0)
		return fail(err, errno, "cannot filter what comes back from the group: %s", errno_str(errno));
	return 0;
}

/* ---- sockets ---- */

static struct open_request request(const struct endpoint *group, const struct endpoint *via)
{
	struct open_request r = { .kind = OPEN_SOCKET,
				  .nonblock = true,
				  .domain = group->sa.ss_family,
				  .type = SOCK_DGRAM,
				  .group = *group };

	if (via)
		r.via = *via;
	return r;
}

static int open_rx(const struct endpoint *group, const struct endpoint *via, struct error *err)
{
	struct open_request r = request(group, via);

	r.reuse_addr = true; /* others on this host are members too */
	r.rcvbuf = RCVBUF;
	r.local = *group;
	return open_request(&r, err);
}

/* A socket that sends from a port that is its alone. */
static int open_tx(const struct endpoint *group, const struct endpoint *via, struct error *err)
{
	struct open_request r = request(group, via);

	r.local = via ? *via : (struct endpoint){ .sa.ss_family = group->sa.ss_family, .len = group->len };
	endpoint_set_port(&r.local, 0);
	return open_request(&r, err);
}

static int name_of(int fd, struct endpoint *e)
{
	e->len = sizeof(e->sa);
	return getsockname(fd, (struct sockaddr *)&e->sa, &e->len) < 0 ? -errno : 0;
}

/* From which address and port do datagrams leave? A socket that is connected to the group knows the first. */
static int sender(int tx, const struct endpoint *group, const struct endpoint *via, struct endpoint *own,
		  struct error *err)
{
	struct open_request r = request(group, via);
	struct endpoint bound;
	int probe, ret;

	if (via)
		r.local = *via;
	endpoint_set_port(&r.local, 0);
	r.remote = *group;
	probe = open_request(&r, err);
	if (probe < 0)
		return probe;
	ret = name_of(probe, own) ?: name_of(tx, &bound);
	close(probe);
	if (ret)
		return fail(err, -ret, "cannot tell the address that is sent from: %s", errno_str(ret));
	endpoint_set_port(own, (uint16_t)endpoint_port(&bound));
	return 0;
}

static int open_all(struct dgram_mcast *m, const struct endpoint *group, const struct endpoint *via, struct error *err)
{
	struct endpoint own;

	if (m->rx < 0)
		m->rx = open_rx(group, via, err);
	if (m->rx < 0)
		return m->rx;
	m->tx = open_tx(group, via, err);
	if (m->tx < 0)
		return m->tx;
	return sender(m->tx, group, via, &own, err) ?: leave_out_own(m->rx, &own, err);
}

/* ---- an inherited socket to receive by ---- */

static int join(int fd, const struct endpoint *group, struct error *err)
{
	struct group_req g = { .gr_interface = 0, .gr_group = group->sa };
	bool v6 = group->sa.ss_family == AF_INET6;

	if (v6)
		g.gr_interface = as_in6(group)->sin6_scope_id;
	if (setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, MCAST_JOIN_GROUP, &g, sizeof(g)) == 0 || errno == EADDRINUSE)
		return 0;
	return fail(err, errno, "cannot join the multicast group: %s", errno_str(errno));
}

/* The interface that its owner chose for it is that of our sending socket too. */
static const struct endpoint *interface_of(int fd, const struct endpoint *group, struct endpoint *via)
{
	struct in_addr addr = { 0 };
	socklen_t len = sizeof(addr);

	*via = *group;
	endpoint_set_port(via, 0);
	if (group->sa.ss_family != AF_INET || getsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &addr, &len) < 0)
		return NULL;
	((struct sockaddr_in *)&via->sa)->sin_addr = addr;
	return addr.s_addr ? via : NULL;
}

static void copy_option(int from, int to, int level, int name)
{
	int value;
	socklen_t len = sizeof(value);

	if (getsockopt(from, level, name, &value, &len) == 0)
		setsockopt(to, level, name, &value, sizeof(value));
}

/* ... and so is the reach of what it sends: how many hops, and whether others on this host hear it. */
static void copy_reach(int from, int to, int family)
{
	if (family == AF_INET) {
		copy_option(from, to, IPPROTO_IP, IP_MULTICAST_TTL);
		copy_option(from, to, IPPROTO_IP, IP_MULTICAST_LOOP);
	} else {
		copy_option(from, to, IPPROTO_IPV6, IPV6_MULTICAST_HOPS);
		copy_option(from, to, IPPROTO_IPV6, IPV6_MULTICAST_LOOP);
	}
}

static int adopt(struct dgram_mcast *m, const struct endpoint *group, int fd, struct error *err)
{
	struct open_request r = { .kind = OPEN_INHERITED, .fd = fd };
	const struct endpoint *via;
	struct endpoint chosen;
	int ret;

	m->rx = open_request(&r, err);
	if (m->rx < 0)
		return m->rx;
	ret = join(m->rx, group, err);
	if (ret)
		return ret;
	via = interface_of(m->rx, group, &chosen);
	ret = open_all(m, group, via, err);
	if (!ret)
		copy_reach(m->rx, m->tx, group->sa.ss_family);
	return ret;
}

/* An address of our own that is of the group's family. */
static const struct endpoint *find_via(const struct addr *local, const struct endpoint *group)
{
	for (unsigned i = 0; i < local->n; i++) {
		if (local->e[i].sa.ss_family == group->sa.ss_family)
			return &local->e[i];
	}
	return NULL;
}

int dgram_mcast_open(struct dgram_mcast *m, const struct endpoint *group, const struct addr *local, struct error *err)
{
	const struct endpoint *via = find_via(local, group);
	int ret;

	*m = (struct dgram_mcast){ -1, -1 };
	if (!endpoint_port(group))
		return fail(err, EINVAL, "the port must be 1 to 65535");
	if (local->type == ADDR_INET && !via)
		return fail(err, EINVAL, "the address of this host must be of the group's family");
	ret = local->type == ADDR_FD ? adopt(m, group, local->fd, err) : open_all(m, group, via, err);
	if (ret) {
		if (m->rx >= 0)
			close(m->rx);
		if (m->tx >= 0)
			close(m->tx);
	}
	return ret;
}
