/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * -netdev passt: the host's network through passt(1), which vwire starts.
 *
 * passt gets one end of a socketpair and speaks the framing of socket and stream on it; the options are its own, handed
 * on. When it dies, or speaks nonsense, it is ended, the link goes down, and another one is started after a while (100
 * ms, doubled each time; after RETRIES in a row, once a minute).
 */
#include "backend/passt.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/passt_child.h"
#include "backend/stream_client.h"
#include "base/log.h"

#define RETRIES	    5
#define FIRST_DELAY (100 * NSEC_PER_MSEC)
#define LAST_DELAY  (60 * NSEC_PER_SEC)
#define STEADY	    (60 * NSEC_PER_SEC) /* who lived so long starts the count anew */
#define PASST_FRAME 65535		/* the longest frame that it takes */

struct passt {
	struct stream_client s;
	struct passt_child child;
	char **argv;
	unsigned argc;
	struct timer retry;
	unsigned failures; /* in a row */
	uint64_t started;  /* ns */
	counter restarts;
};

static struct passt *to_passt(struct net_client *c)
{
	return container_of(to_stream_client(c), struct passt, s);
}

/* ---- options ---- */

struct passt_opts {
	char *path, *address, *netmask, *mac, *gateway, *interface, *outbound, *outbound_if4, *outbound_if6, *dns,
		*fqdn, *map_host_loopback, *map_guest_addr, *dns_forward, *dns_host;
	bool quiet, vhost_user, dhcp_dns, dhcp_search, tcp, udp, icmp, dhcp, ndp, dhcpv6, ra, ipv4, ipv6, freebind;
	struct strlist search, tcp_ports, udp_ports, param;
	int64_t mtu;
};

#define O(field, name, kind, ...) OPT_F(struct passt_opts, field, name, kind, __VA_ARGS__)

static const struct opt passt_options[] = {
	O(path, "path", OPT_STR, .arg = "program", .def = "passt", .help = "the program, looked for in PATH"),
	O(quiet, "quiet", OPT_BOOL, .def = "on", .help = "passt says only what is wrong"),
	O(vhost_user, "vhost-user", OPT_BOOL, .def = "off", .help = "frames by shared memory; not offered"),
	O(mtu, "mtu", OPT_INT, .min = (uint64_t)-1, .max = 65520, .def = "-1", .arg = "0..65520",
	  .help = "told to the guest; 0: nothing is told; -1: as passt likes (65520)"),
	O(address, "address", OPT_STR, .arg = "addr", .help = "the guest's address; else the host's own"),
	O(netmask, "netmask", OPT_STR, .arg = "mask|bits", .help = "of that address"),
	O(mac, "mac", OPT_STR, .arg = "mac", .help = "address of the gateway on the guest's wire"),
	O(gateway, "gateway", OPT_STR, .arg = "addr", .help = "gateway told to the guest"),
	O(interface, "interface", OPT_STR, .arg = "name", .help = "interface of the host whose addresses are taken"),
	O(outbound, "outbound", OPT_STR, .arg = "addr", .help = "source address of connections"),
	O(outbound_if4, "outbound-if4", OPT_STR, .arg = "name", .help = "interface for IPv4 connections"),
	O(outbound_if6, "outbound-if6", OPT_STR, .arg = "name", .help = "interface for IPv6 connections"),
	O(dns, "dns", OPT_STR, .arg = "addr", .help = "name server told to the guest; else the host's"),
	O(search, "search", OPT_STRLIST, .arg = "domain", .help = "search list; repeated"),
	O(fqdn, "fqdn", OPT_STR, .arg = "name", .help = "the guest's full name, by DHCP"),
	O(dhcp_dns, "dhcp-dns", OPT_BOOL, .def = "on", .help = "name servers in DHCP and NDP"),
	O(dhcp_search, "dhcp-search", OPT_BOOL, .def = "on", .help = "search list in DHCP and NDP"),
	O(map_host_loopback, "map-host-loopback", OPT_STR, .arg = "addr",
	  .help = "address that is the host's loopback to the guest; none: nothing is"),
	O(map_guest_addr, "map-guest-addr", OPT_STR, .arg = "addr",
	  .help = "address that is the host to the guest, where both have the same"),
	O(dns_forward, "dns-forward", OPT_STR, .arg = "addr",
	  .help = "queries to this address go to the host's server"),
	O(dns_host, "dns-host", OPT_STR, .arg = "addr", .help = "... or to this one"),
	O(tcp, "tcp", OPT_BOOL, .def = "on", .help = "TCP"),
	O(udp, "udp", OPT_BOOL, .def = "on", .help = "UDP"),
	O(icmp, "icmp", OPT_BOOL, .def = "on", .help = "ping"),
	O(dhcp, "dhcp", OPT_BOOL, .def = "on", .help = "DHCP server"),
	O(ndp, "ndp", OPT_BOOL, .def = "on", .help = "NDP"),
	O(dhcpv6, "dhcpv6", OPT_BOOL, .def = "on", .help = "DHCPv6 server"),
	O(ra, "ra", OPT_BOOL, .def = "on", .help = "router advertisements"),
	O(freebind, "freebind", OPT_BOOL, .def = "off", .help = "forwards may bind to any address"),
	O(ipv4, "ipv4", OPT_BOOL, .def = "on", .help = "IPv4"),
	O(ipv6, "ipv6", OPT_BOOL, .def = "on", .help = "IPv6"),
	O(tcp_ports, "tcp-ports", OPT_STRLIST, .arg = "spec",
	  .help = "TCP ports of the host that lead to the guest, as in passt(1): 22, 8080:80, 1-9; repeated"),
	O(udp_ports, "udp-ports", OPT_STRLIST, .arg = "spec", .help = "the same for UDP"),
	O(param, "param", OPT_STRLIST, .arg = "word", .help = "a word for passt's command line; repeated"),
	OPT_END,
};

/* ---- the command line ---- */

static int add_word(struct passt *p, const char *word)
{
	char **v = realloc(p->argv, (p->argc + 2) * sizeof(*v));

	if (!v)
		return -ENOMEM;
	p->argv = v;
	v[p->argc] = strdup(word);
	v[p->argc + 1] = NULL;
	return v[p->argc++] ? 0 : -ENOMEM;
}

static int add_pair(struct passt *p, const char *option, const char *value)
{
	return value ? add_word(p, option) ?: add_word(p, value) : 0;
}

static int add_each(struct passt *p, const char *option, const struct strlist *l)
{
	int rc = 0;

	for (unsigned i = 0; !rc && i < l->n; i++)
		rc = option ? add_pair(p, option, l->v[i]) : add_word(p, l->v[i]);
	return rc;
}

/* passt's -S is one list. */
static int add_search(struct passt *p, const struct strlist *l)
{
	size_t n = 1;
	char *all;
	int rc;

	if (!l->n)
		return 0;
	for (unsigned i = 0; i < l->n; i++)
		n += strlen(l->v[i]) + 1;
	all = calloc(1, n);
	if (!all)
		return -ENOMEM;
	for (unsigned i = 0; i < l->n; i++) {
		size_t at = strlen(all);

		snprintf(all + at, n - at, "%s%s", i ? " " : "", l->v[i]);
	}
	rc = add_pair(p, "--search", all);
	free(all);
	return rc;
}

static int add_values(struct passt *p, const struct passt_opts *o)
{
	const struct {
		const char *option, *value;
	} pair[] = {
		{ "--address", o->address },
		{ "--netmask", o->netmask },
		{ "--mac-addr", o->mac },
		{ "--gateway", o->gateway },
		{ "--interface", o->interface },
		{ "--outbound", o->outbound },
		{ "--outbound-if4", o->outbound_if4 },
		{ "--outbound-if6", o->outbound_if6 },
		{ "--dns", o->dns },
		{ "--fqdn", o->fqdn },
		{ "--map-host-loopback", o->map_host_loopback },
		{ "--map-guest-addr", o->map_guest_addr },
		{ "--dns-forward", o->dns_forward },
		{ "--dns-host", o->dns_host },
	};
	char mtu[24];
	int rc = 0;

	for (unsigned i = 0; !rc && i < ARRAY_SIZE(pair); i++)
		rc = add_pair(p, pair[i].option, pair[i].value);
	snprintf(mtu, sizeof(mtu), "%d", (int)o->mtu);
	return rc ?: add_pair(p, "--mtu", o->mtu >= 0 ? mtu : NULL);
}

static int add_switches(struct passt *p, const struct passt_opts *o)
{
	const struct {
		const char *option;
		bool wanted;
	} word[] = {
		{ "--quiet", o->quiet },     { "--no-dhcp-dns", !o->dhcp_dns }, { "--no-dhcp-search", !o->dhcp_search },
		{ "--no-tcp", !o->tcp },     { "--no-udp", !o->udp },		{ "--no-icmp", !o->icmp },
		{ "--no-dhcp", !o->dhcp },   { "--no-ndp", !o->ndp },		{ "--no-dhcpv6", !o->dhcpv6 },
		{ "--no-ra", !o->ra },	     { "--freebind", o->freebind },	{ "--ipv4-only", !o->ipv6 },
		{ "--ipv6-only", !o->ipv4 },
	};
	int rc = 0;

	for (unsigned i = 0; !rc && i < ARRAY_SIZE(word); i++)
		rc = word[i].wanted ? add_word(p, word[i].option) : 0;
	return rc;
}

static int make_command(struct passt *p, const struct passt_opts *o, struct error *err)
{
	int rc = add_word(p, o->path)				   ?:
			 add_word(p, "--foreground")		   ?:
			 add_word(p, "--stderr")		   ?:
			 add_pair(p, "--fd", "3")		   ?:
			 add_switches(p, o)			   ?:
			 add_values(p, o)			   ?:
			 add_search(p, &o->search)		   ?:
			 add_each(p, "--tcp-ports", &o->tcp_ports) ?:
			 add_each(p, "--udp-ports", &o->udp_ports) ?:
								     add_each(p, NULL, &o->param);

	return rc ? fail(err, ENOMEM, "no memory") : 0;
}

static int check(const struct passt_opts *o, struct error *err)
{
	if (o->vhost_user)
		return fail(err, ENOTSUP, "vhost-user=on is not offered; leave it out, frames go by passt's socket");
	if (!o->ipv4 && !o->ipv6)
		return fail(err, EINVAL, "ipv4=off and ipv6=off: one of them is needed");
	if (!*o->path)
		return fail(err, EINVAL, "path= is empty; leave it out, or name the program");
	return 0;
}

/* ---- the process ---- */

/*
 * A frame of an EtherType for experiments, which passt reads and ignores: that it was read says that passt runs. The
 * sender's address is the broadcast address, which is what passt takes for the guest's until it hears of a better one.
 */
static void send_probe(int fd)
{
	uint8_t probe[4 + ETH_MIN_LEN] = { 0, 0, 0, ETH_MIN_LEN };

	memset(probe + 4, 0xff, 12);
	probe[16] = 0x88;
	probe[17] = 0xb5;
	send(fd, probe, sizeof(probe), MSG_NOSIGNAL); /* if it does not go, nobody is there any more: seen next */
}

/* A new passt; returns our end of its socket, or -errno. */
static int start(struct passt *p, struct error *err)
{
	int fd[2], rc;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) < 0)
		return fail(err, errno, "%s", errno_str(errno));
	rc = passt_child_start(&p->child, p->argv, fd[1], p->s.main, err);
	close(fd[1]);
	p->started = clock_now(CLOCK_HOST_NS);
	if (rc)
		close(fd[0]);
	return rc ? rc : fd[0];
}

static void try_later(struct passt *p, const char *why, const char *how)
{
	uint64_t now = clock_now(CLOCK_HOST_NS), delay;

	if (now - p->started > STEADY)
		p->failures = 0;
	delay = p->failures < RETRIES ? (uint64_t)FIRST_DELAY << p->failures : (uint64_t)LAST_DELAY;
	p->failures++;
	log_warn("%s: %s (%s); the link is down, next attempt in %u ms", p->s.what, why, how,
		 (unsigned)(delay / NSEC_PER_MSEC));
	if (timer_arm(&p->retry, now + delay) < 0)
		log_err("%s: no memory for a timer; it stays down", p->s.what);
}

static void on_gone(struct stream_client *s, const char *why)
{
	struct passt *p = container_of(s, struct passt, s);
	char how[64];

	passt_child_end(&p->child, how, sizeof(how));
	try_later(p, why, how);
}

static void on_retry(struct timer *t)
{
	struct passt *p = container_of(t, struct passt, retry);
	struct error err;
	int fd = start(p, &err);

	if (fd < 0) {
		try_later(p, "passt cannot be started again", err.msg);
		return;
	}
	p->child.starting = false;
	counter_add(&p->restarts, 1);
	stream_client_attach(&p->s, fd);
}

/* ---- client ---- */

static void passt_info(struct net_client *c, char *buf, size_t size)
{
	struct passt *p = to_passt(c);

	if (p->child.pid)
		snprintf(buf, size, "passt,pid=%d", (int)p->child.pid);
	else
		snprintf(buf, size, "passt,waiting to be started again");
}

static json_t *passt_describe(struct net_client *c)
{
	struct passt *p = to_passt(c);
	json_t *args = json_array();

	for (unsigned i = 0; i < p->argc; i++)
		json_array_append_new(args, json_string(p->argv[i]));
	return json_pack("{s:i, s:o, s:I, s:I}", "pid", (int)p->child.pid, "command", args, "restarts",
			 (json_int_t)counter_get(&p->restarts), "framing-errors",
			 (json_int_t)counter_get(&p->s.frames.framing_errors));
}

static void passt_free(struct passt *p)
{
	char how[64];

	timer_cancel(&p->retry);
	stream_client_end(&p->s);
	passt_child_end(&p->child, how, sizeof(how));
	for (unsigned i = 0; i < p->argc; i++)
		free(p->argv[i]);
	free(p->argv);
	free(p);
}

static void passt_destroy(struct net_client *c)
{
	passt_free(to_passt(c));
}

static const struct net_client_ops passt_ops = {
	.type = "passt",
	STREAM_CLIENT_OPS,
	.describe = passt_describe,
	.info = passt_info,
	.destroy = passt_destroy,
};

/* ---- creation ---- */

static int start_first(struct passt *p, const char *path, struct error *err)
{
	int fd = start(p, err), rc;

	if (fd == -ENOENT)
		return fail(err, ENOENT, "path=%s: there is no such program; install passt, or say where it is", path);
	if (fd < 0)
		return fd;
	send_probe(fd);
	rc = passt_child_wait_ready(&p->child, fd, err) ?: net_client_add(&p->s.c, err);
	if (rc)
		close(fd);
	else
		stream_client_attach(&p->s, fd);
	return rc;
}

static int passt_create(const char *id, const void *opts, struct loop *loop, struct error *err)
{
	const struct passt_opts *o = opts;
	struct passt *p;
	int rc = check(o, err);

	if (rc)
		return rc;
	p = calloc(1, sizeof(*p));
	rc = p ? stream_client_init(&p->s, id, &passt_ops, loop, err) : fail(err, ENOMEM, "no memory");
	if (rc) {
		free(p);
		return rc;
	}
	p->s.c.max_frame = PASST_FRAME;
	p->s.gone = on_gone;
	p->child.what = p->s.what;
	p->child.words = -1;
	timer_init(&p->retry, p->s.main, CLOCK_HOST_NS, on_retry);
	rc = make_command(p, o, err) ?: start_first(p, o->path, err);
	if (rc)
		passt_free(p);
	return rc;
}

const struct netdev_type passt_netdev = {
	.name = "passt",
	.help = "the host's network through the program passt, without any rights",
	.opts = passt_options,
	.opts_size = sizeof(struct passt_opts),
	.create = passt_create,
};
