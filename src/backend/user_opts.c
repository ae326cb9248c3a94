/* SPDX-License-Identifier: BSD-2-Clause */
/* The options of -netdev user: see user_opts.h. Rules for hostfwd and guestfwd are in user_rules.c. */
#include "backend/user_opts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#define O(field, name, kind, ...) OPT_F(struct user_opts, field, name, kind, __VA_ARGS__)

const struct opt user_opt_table[] = {
	O(ipv4, "ipv4", OPT_ONOFFAUTO, .def = "auto", .arg = "on|off", .help = "IPv4; on unless only ipv6=on is given"),
	O(ipv6, "ipv6", OPT_ONOFFAUTO, .def = "auto", .arg = "on|off", .help = "IPv6; on unless only ipv4=on is given"),
	O(net, "net", OPT_STR, .arg = "addr[/mask]",
	  .help = "the guest's IPv4 network, with a mask or a number of bits (10.0.2.0/24)"),
	O(ip, "ip", OPT_STR, .arg = "addr[/mask]", .help = "old name of net"),
	O(host, "host", OPT_STR, .arg = "addr", .help = "the host as the guest sees it, its gateway (10.0.2.2)"),
	O(ipv6_net, "ipv6-net", OPT_STR, .arg = "prefix[/len]", .help = "the guest's IPv6 network (fec0::/64)"),
	O(ipv6_prefix, "ipv6-prefix", OPT_STR, .arg = "prefix", .help = "the prefix of ipv6-net"),
	O(ipv6_prefixlen, "ipv6-prefixlen", OPT_UINT, .def = "64", .min = 0, .max = 126, .arg = "len",
	  .help = "the length of ipv6-net"),
	O(ipv6_host, "ipv6-host", OPT_STR, .arg = "addr", .help = "the host as the guest sees it (fec0::2)"),
	O(restricted, "restrict", OPT_BOOL, .def = "off", .help = "nothing but what is forwarded goes in or out"),
	O(hostname, "hostname", OPT_STR, .arg = "name", .help = "name for the guest, by DHCP"),
	O(dhcpstart, "dhcpstart", OPT_STR, .arg = "addr", .help = "first of the 16 addresses for DHCP (10.0.2.15)"),
	O(dns, "dns", OPT_STR, .arg = "addr", .help = "name server as the guest sees it (10.0.2.3)"),
	O(ipv6_dns, "ipv6-dns", OPT_STR, .arg = "addr", .help = "name server as the guest sees it (fec0::3)"),
	O(dnssearch, "dnssearch", OPT_STRLIST, .arg = "domain", .help = "search domain, by DHCP; may be repeated"),
	O(domainname, "domainname", OPT_STR, .arg = "domain", .help = "the guest's domain, by DHCP"),
	O(tftp, "tftp", OPT_STR, .arg = "dir", .help = "directory that the guest can read by TFTP from host"),
	O(tftp_server_name, "tftp-server-name", OPT_STR, .arg = "name", .help = "name of the TFTP server, by DHCP"),
	O(bootfile, "bootfile", OPT_STR, .arg = "file", .help = "file to boot from by TFTP, by DHCP"),
	O(hostfwd, "hostfwd", OPT_STRLIST, .arg = "[tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport",
	  .help = "make a port of the guest reachable at one of the host (0: any that is free, which is said); may be repeated"),
	O(guestfwd, "guestfwd", OPT_STRLIST, .arg = "[tcp]:server:port-target",
	  .help = "join the guest's connections to that address to a character device (chardev:id, unix:path, ...), "
		  "or run a command for each (cmd:command); may be repeated"),
	O(prefilter, "prefilter", OPT_BOOL, .def = "on",
	  .help = "keep IPv4 options, fragments and other protocols than TCP, UDP and ping away from libslirp"),
	O(smb, "smb", OPT_STR, .arg = "dir", .help = "not offered: share a directory in another way"),
	O(smbserver, "smbserver", OPT_STR, .arg = "addr", .help = "not offered"),
	OPT_END,
};

/* ---- IPv4 ---- */

/* By the classes of old and the private ranges. */
static uint32_t guess_mask(uint32_t net)
{
	static const struct {
		uint32_t mask, net, guess;
	} classes[] = {
		{ 0x80000000, 0x00000000, 0xff000000 }, /* A */
		{ 0xfff00000, 0xac100000, 0xfff00000 }, /* 172.16/12 */
		{ 0xc0000000, 0x80000000, 0xffff0000 }, /* B */
		{ 0xffff0000, 0xc0a80000, 0xffff0000 }, /* 192.168/16 */
		{ 0xffff0000, 0xc6120000, 0xfffe0000 }, /* 198.18/15 */
		{ 0xe0000000, 0xe0000000, 0xfffffff0 }, /* multicast and beyond */
	};

	for (unsigned i = 0; i < ARRAY_SIZE(classes); i++) {
		if ((net & classes[i].mask) == classes[i].net)
			return classes[i].guess;
	}
	return 0xffffff00; /* C */
}

static bool parse_ipv4(const char *s, uint32_t *host_order)
{
	struct in_addr a;

	if (inet_pton(AF_INET, s, &a) != 1)
		return false;
	*host_order = ntohl(a.s_addr);
	return true;
}

static bool parse_mask(const char *s, uint32_t *mask)
{
	struct error ignored;
	uint64_t bits;

	if (!parse_uint(s, 4, 30, &bits, &ignored)) {
		*mask = 0xffffffffU << (32 - bits);
		return true;
	}
	return parse_ipv4(s, mask) && *mask >= 0xf0000000U && *mask <= 0xfffffffcU && is_power_of_2(~*mask + 1ULL);
}

static int parse_net(const char *name, const char *value, uint32_t *net, uint32_t *mask, struct error *err)
{
	char addr[64];
	const char *slash = strchr(value, '/');
	size_t len = slash ? (size_t)(slash - value) : strlen(value);

	if (len >= sizeof(addr))
		len = 0;
	memcpy(addr, value, len);
	addr[len] = 0;
	if (!parse_ipv4(addr, net))
		return fail(err, EINVAL, "%s=%s: not an IPv4 network; expected one like 10.0.2.0/24", name, value);
	*mask = guess_mask(*net);
	if (slash && !parse_mask(slash + 1, mask))
		return fail(err, EINVAL, "%s=%s: the mask is a number of bits from 4 to 30 or like 255.255.255.0", name,
			    value);
	*net &= *mask;
	return 0;
}

static const char *ip_text(uint32_t host_order, char buf[INET_ADDRSTRLEN])
{
	struct in_addr a = { htonl(host_order) };

	return inet_ntop(AF_INET, &a, buf, INET_ADDRSTRLEN);
}

struct ipv4_plan {
	uint32_t net, mask, host, dhcp, dns;
};

/* An address option: what was given, or the default; inside the network if it must be. */
static int ipv4_option(const char *name, const char *value, const struct ipv4_plan *p, bool inside, uint32_t *addr,
		       struct error *err)
{
	char net[INET_ADDRSTRLEN];

	if (!value)
		return 0;
	if (!parse_ipv4(value, addr))
		return fail(err, EINVAL, "%s=%s: not an IPv4 address; expected one like 10.0.2.2", name, value);
	if (inside && (*addr & p->mask) != p->net)
		return fail(err, EINVAL,
			    "%s=%s: the address is not in the guest's network %s/%d; choose one in it, or change net=",
			    name, value, ip_text(p->net, net), __builtin_popcount(p->mask));
	return 0;
}

static int ipv4_distinct(const struct ipv4_plan *p, struct error *err)
{
	char a[INET_ADDRSTRLEN];

	if (p->dns == p->host)
		return fail(err, EINVAL, "dns=%s: the same as host; the name server needs an address of its own",
			    ip_text(p->dns, a));
	if (p->dhcp == p->host || p->dhcp == p->dns)
		return fail(err, EINVAL, "dhcpstart=%s: the same as %s; the guest needs an address of its own",
			    ip_text(p->dhcp, a), p->dhcp == p->host ? "host" : "dns");
	return 0;
}

static int resolve_ipv4(const struct user_opts *o, struct user_config *c, struct error *err)
{
	const char *net = o->net ? o->net : o->ip;
	struct ipv4_plan p = { 0 };
	int rc;

	if (o->net && o->ip)
		return fail(err, EINVAL, "ip=%s: the old name of net, which is given too; leave one of them out",
			    o->ip);
	rc = parse_net(o->net || !o->ip ? "net" : "ip", net ? net : "10.0.2.0/24", &p.net, &p.mask, err);
	if (rc)
		return rc;
	p.host = p.net | (0x0202 & ~p.mask);
	p.dhcp = p.net | (0x020f & ~p.mask);
	p.dns = p.net | (0x0203 & ~p.mask);
	rc = ipv4_option("host", o->host, &p, true, &p.host, err);
	rc = rc ?: ipv4_option("dhcpstart", o->dhcpstart, &p, true, &p.dhcp, err);
	/* Outside of the network the name server is one like any other, unless nothing outside can be reached. */
	rc = rc ?: ipv4_option("dns", o->dns, &p, o->restricted, &p.dns, err);
	rc = rc ?: ipv4_distinct(&p, err);
	c->net = htonl(p.net);
	c->mask = htonl(p.mask);
	c->host = htonl(p.host);
	c->dhcp_start = htonl(p.dhcp);
	c->dns = htonl(p.dns);
	return rc;
}

/* ---- IPv6 ---- */

static bool same_prefix(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned bytes = bits / 8, rest = bits % 8;

	return !memcmp(a, b, bytes) && (!rest || !((a[bytes] ^ b[bytes]) >> (8 - rest)));
}

static int parse_prefix(const struct user_opts *o, uint8_t *prefix, uint8_t *len, struct error *err)
{
	const char *name = o->ipv6_net ? "ipv6-net" : "ipv6-prefix";
	const char *value = o->ipv6_net ? o->ipv6_net : o->ipv6_prefix ? o->ipv6_prefix : "fec0::";
	const char *slash = o->ipv6_net ? strchr(value, '/') : NULL;
	char addr[64];
	size_t n = slash ? (size_t)(slash - value) : strlen(value);
	struct error ignored;
	uint64_t bits = o->ipv6_prefixlen;

	if (n >= sizeof(addr))
		n = 0;
	memcpy(addr, value, n);
	addr[n] = 0;
	if (inet_pton(AF_INET6, addr, prefix) != 1)
		return fail(err, EINVAL, "%s=%s: not an IPv6 prefix; expected one like fec0::%s", name, value,
			    o->ipv6_net ? "/64" : "");
	if (slash && parse_uint(slash + 1, 0, 126, &bits, &ignored))
		return fail(err, EINVAL, "%s=%s: the length must be between 0 and 126", name, value);
	*len = (uint8_t)bits;
	return 0;
}

static int ipv6_option(const char *name, const char *value, const struct user_config *c, bool inside, uint8_t *addr,
		       struct error *err)
{
	char prefix[INET6_ADDRSTRLEN];

	if (!value)
		return 0;
	if (inet_pton(AF_INET6, value, addr) != 1)
		return fail(err, EINVAL, "%s=%s: not an IPv6 address; expected one like fec0::2", name, value);
	if (inside && !same_prefix(addr, c->prefix6, c->prefix_len))
		return fail(
			err, EINVAL,
			"%s=%s: the address is not in the guest's network %s/%u; choose one in it, or change ipv6-net=",
			name, value, inet_ntop(AF_INET6, c->prefix6, prefix, sizeof(prefix)), c->prefix_len);
	return 0;
}

static int resolve_ipv6(const struct user_opts *o, struct user_config *c, struct error *err)
{
	int rc;

	if (o->ipv6_net && o->ipv6_prefix)
		return fail(err, EINVAL, "ipv6-prefix=%s: ipv6-net is given too; leave one of them out",
			    o->ipv6_prefix);
	rc = parse_prefix(o, c->prefix6, &c->prefix_len, err);
	if (rc)
		return rc;
	memcpy(c->host6, c->prefix6, 16);
	memcpy(c->dns6, c->prefix6, 16);
	c->host6[15] |= 2;
	c->dns6[15] |= 3;
	rc = ipv6_option("ipv6-host", o->ipv6_host, c, true, c->host6, err);
	rc = rc ?: ipv6_option("ipv6-dns", o->ipv6_dns, c, o->restricted, c->dns6, err);
	if (!rc && !memcmp(c->host6, c->dns6, 16))
		return fail(err, EINVAL,
			    "ipv6-dns: the same as ipv6-host; the name server needs an address of its own");
	return rc;
}

/* ---- strings ---- */

static int take_string(const char *name, const char *value, char *to, size_t max, struct error *err)
{
	size_t len = value ? strlen(value) : 0;

	if (len > max)
		return fail(err, ENAMETOOLONG, "%s=%.40s%s: %zu characters; at most %zu go into the DHCP answer", name,
			    value, len > 40 ? "..." : "", len, max);
	memcpy(to, value ? value : "", len + 1);
	return 0;
}

/* RFC 1035: labels of 1 to 63 letters, joined by dots, 253 in all. libslirp drops others without a word. */
static bool domain_ok(const char *s)
{
	size_t len = strlen(s), label = 0;

	if (!len || len > 253)
		return false;
	for (size_t i = 0; i <= len; i++) {
		if (s[i] && s[i] != '.') {
			label++;
			continue;
		}
		if (label > 63 || (!label && s[i]))
			return false;
		label = 0;
	}
	return true;
}

static int take_searches(const struct strlist *l, struct user_config *c, struct error *err)
{
	size_t used = 0;

	for (unsigned i = 0; i < l->n; i++) {
		size_t size = strlen(l->v[i]) + 1;

		if (!domain_ok(l->v[i]))
			return fail(err, EINVAL, "dnssearch=%.64s: not a domain; expected one like example.org",
				    l->v[i]);
		if (used + size > sizeof(c->search) || i == 32)
			return fail(err, ENOSPC,
				    "dnssearch=%.64s: too many domains; at most 32 with %zu characters in all", l->v[i],
				    sizeof(c->search));
		memcpy(c->search + used, l->v[i], size);
		used += size;
	}
	c->searches = (uint16_t)l->n;
	return 0;
}

static int take_tftp(const char *dir, struct user_config *c, struct error *err)
{
	struct stat st;
	char *path;

	if (!dir)
		return 0;
	path = realpath(dir, NULL);
	if (!path || stat(path, &st)) {
		int code = errno;

		free(path);
		return fail(err, code, "tftp=%s: %s; expected a directory", dir, errno_str(code));
	}
	snprintf(c->tftp, sizeof(c->tftp), "%s", path);
	free(path);
	if (!S_ISDIR(st.st_mode))
		return fail(err, ENOTDIR, "tftp=%s: not a directory", dir);
	if (!c->tftp[1])
		return fail(err, EINVAL, "tftp=%s: the whole file system is not given to a guest; choose a directory",
			    dir);
	return 0;
}

static int resolve_strings(const struct user_opts *o, struct user_config *c, struct error *err)
{
	return take_string("hostname", o->hostname, c->hostname, 32, err)				   ?:
		       take_string("domainname", o->domainname, c->domainname, 253, err)		   ?:
		       take_string("tftp-server-name", o->tftp_server_name, c->tftp_server_name, 255, err) ?:
		       take_string("bootfile", o->bootfile, c->bootfile, 127, err)			   ?:
		       take_searches(&o->dnssearch, c, err)						   ?:
		       take_tftp(o->tftp, c, err);
}

/* ---- all ---- */

static int check_offered(const struct user_opts *o, struct error *err)
{
	const char *name = o->smb ? "smb" : "smbserver", *value = o->smb ? o->smb : o->smbserver;

	if (!value)
		return 0;
	return fail(err, ENOTSUP,
		    "%s=%s: not offered; run a file server on the host, which the guest reaches at the host= address",
		    name, value);
}

/* The first option of a family that is given, or NULL. */
static const char *given(const char *const names[], char *const values[], unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (values[i])
			return names[i];
	}
	return NULL;
}

static int resolve_families(const struct user_opts *o, struct user_config *c, struct error *err)
{
	static const char *const names4[] = { "net", "ip", "host", "dhcpstart", "dns", "hostfwd" };
	static const char *const names6[] = { "ipv6-net", "ipv6-prefix", "ipv6-host", "ipv6-dns" };
	char *const values4[] = { o->net, o->ip, o->host, o->dhcpstart, o->dns, o->hostfwd.n ? o->hostfwd.v[0] : NULL };
	char *const values6[] = { o->ipv6_net, o->ipv6_prefix, o->ipv6_host, o->ipv6_dns };
	const char *name;

	c->ipv4 = o->ipv4 == OPT_ON || (o->ipv4 == OPT_AUTO && o->ipv6 != OPT_ON);
	c->ipv6 = o->ipv6 == OPT_ON || (o->ipv6 == OPT_AUTO && o->ipv4 != OPT_ON);
	if (!c->ipv4 && !c->ipv6)
		return fail(err, EINVAL, "ipv4=off,ipv6=off: nothing is left; leave one of them on");
	name = c->ipv4 ? NULL : given(names4, values4, ARRAY_SIZE(values4));
	if (name)
		return fail(err, EINVAL, "%s needs IPv4, which is off; add ipv4=on or leave %s out", name, name);
	name = c->ipv6 ? NULL : given(names6, values6, ARRAY_SIZE(values6));
	if (name)
		return fail(err, EINVAL, "%s needs IPv6, which is off; add ipv6=on or leave %s out", name, name);
	return 0;
}

int user_opts_resolve(const struct user_opts *o, struct user_net *n, struct error *err)
{
	struct user_config *c = &n->config;
	int rc;

	memset(n, 0, sizeof(*n));
	c->version = USER_PROTO_VERSION;
	c->restricted = o->restricted;
	c->prefilter = o->prefilter;
	rc = check_offered(o, err)		 ?:
		     resolve_families(o, c, err) ?:
		     resolve_ipv4(o, c, err)	 ?:
		     resolve_ipv6(o, c, err)	 ?:
		     resolve_strings(o, c, err)	 ?:
						   user_rules_resolve(o, n, err);
	if (rc)
		user_net_free(n);
	return rc;
}

void user_net_free(struct user_net *n)
{
	free(n->fwd);
	for (unsigned i = 0; i < n->n_guestfwd; i++)
		free(n->guestfwd[i].text);
	n->fwd = NULL;
	n->n_fwd = n->n_guestfwd = 0;
}
