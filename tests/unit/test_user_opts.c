/* SPDX-License-Identifier: BSD-2-Clause */
/* The options of -netdev user: defaults, rules, and the texts of all errors. */
#include <arpa/inet.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/user_opts.h"
#include "unit/unit.h"

static int resolve(const char *text, struct user_net *n, struct error *err)
{
	const struct opt *const tables[] = { user_opt_table, NULL };
	struct user_opts o = { 0 };
	struct opt_list l = { 0 };
	int rc = opt_list_parse(text, NULL, &l, err);

	rc = rc ?: opts_defaults(user_opt_table, &o, err);
	rc = rc ?: opts_apply(user_opt_table, &l, &o, true, err);
	rc = rc ?: opts_reject_rest(&l, tables, err);
	rc = rc ?: user_opts_resolve(&o, n, err);
	opts_free(user_opt_table, &o);
	opt_list_free(&l);
	return rc;
}

static void good(const char *text, struct user_net *n)
{
	struct error err = { 0 };
	int rc = resolve(text, n, &err);

	if (rc)
		print_error("%s\n", err.msg);
	assert_int_equal(rc, 0);
}

static const char *addr(uint32_t a)
{
	static char text[4][INET_ADDRSTRLEN];
	static unsigned i;

	return inet_ntop(AF_INET, &a, text[i++ % 4], INET_ADDRSTRLEN);
}

static const char *addr6(const uint8_t *a)
{
	static char text[INET6_ADDRSTRLEN];

	return inet_ntop(AF_INET6, a, text, sizeof(text));
}

static void test_defaults(void **state)
{
	struct user_net n;
	struct user_config *c = &n.config;

	(void)state;
	good("", &n);
	assert_true(c->ipv4 && c->ipv6 && !c->restricted && c->prefilter);
	assert_string_equal(addr(c->net), "10.0.2.0");
	assert_string_equal(addr(c->mask), "255.255.255.0");
	assert_string_equal(addr(c->host), "10.0.2.2");
	assert_string_equal(addr(c->dhcp_start), "10.0.2.15");
	assert_string_equal(addr(c->dns), "10.0.2.3");
	assert_string_equal(addr6(c->prefix6), "fec0::");
	assert_int_equal(c->prefix_len, 64);
	assert_string_equal(addr6(c->host6), "fec0::2");
	assert_string_equal(addr6(c->dns6), "fec0::3");
	user_net_free(&n);
}

static void test_families(void **state)
{
	static const struct {
		const char *text;
		bool v4, v6;
	} cases[] = {
		{ "", true, true },
		{ "ipv4=on", true, false },
		{ "ipv6=on", false, true },
		{ "ipv4=off", false, true },
		{ "ipv6=off", true, false },
		{ "ipv4=on,ipv6=on", true, true },
		{ "ipv4=off,ipv6=on", false, true },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct user_net n;

		good(cases[i].text, &n);
		assert_int_equal(n.config.ipv4, cases[i].v4);
		assert_int_equal(n.config.ipv6, cases[i].v6);
		user_net_free(&n);
	}
}

static void test_networks(void **state)
{
	static const struct {
		const char *net, *mask, *host, *dhcp, *dns;
	} cases[] = {
		{ "net=192.168.1.0/24", "255.255.255.0", "192.168.1.2", "192.168.1.15", "192.168.1.3" },
		{ "net=192.168.1.77/255.255.255.0", "255.255.255.0", "192.168.1.2", "192.168.1.15", "192.168.1.3" },
		{ "net=10.0.0.0", "255.0.0.0", "10.0.2.2", "10.0.2.15", "10.0.2.3" },
		{ "ip=172.16.0.0", "255.240.0.0", "172.16.2.2", "172.16.2.15", "172.16.2.3" },
		{ "net=192.168.0.0", "255.255.0.0", "192.168.2.2", "192.168.2.15", "192.168.2.3" },
		{ "net=198.18.0.0", "255.254.0.0", "198.18.2.2", "198.18.2.15", "198.18.2.3" },
		{ "net=203.0.113.0", "255.255.255.0", "203.0.113.2", "203.0.113.15", "203.0.113.3" },
		{ "net=130.1.0.0", "255.255.0.0", "130.1.2.2", "130.1.2.15", "130.1.2.3" },
		{ "net=10.1.0.0/16", "255.255.0.0", "10.1.2.2", "10.1.2.15", "10.1.2.3" },
		{ "net=10.9.9.0/27", "255.255.255.224", "10.9.9.2", "10.9.9.15", "10.9.9.3" },
		{ "net=10.0.2.0/24,host=10.0.2.1,dhcpstart=10.0.2.100,dns=1.1.1.1", "255.255.255.0", "10.0.2.1",
		  "10.0.2.100", "1.1.1.1" },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct user_net n;

		good(cases[i].net, &n);
		assert_string_equal(addr(n.config.mask), cases[i].mask);
		assert_string_equal(addr(n.config.host), cases[i].host);
		assert_string_equal(addr(n.config.dhcp_start), cases[i].dhcp);
		assert_string_equal(addr(n.config.dns), cases[i].dns);
		user_net_free(&n);
	}
}

static void test_ipv6(void **state)
{
	struct user_net n;

	(void)state;
	good("ipv6-net=2001:db8:1::/48,ipv6-host=2001:db8:1::1,ipv6-dns=2001:db8:1::53", &n);
	assert_int_equal(n.config.prefix_len, 48);
	assert_string_equal(addr6(n.config.prefix6), "2001:db8:1::");
	assert_string_equal(addr6(n.config.host6), "2001:db8:1::1");
	assert_string_equal(addr6(n.config.dns6), "2001:db8:1::53");
	good("ipv6-prefix=fd00:1::,ipv6-prefixlen=56", &n);
	assert_int_equal(n.config.prefix_len, 56);
	assert_string_equal(addr6(n.config.host6), "fd00:1::2");
	good("ipv6-net=fd00:2::", &n);
	assert_int_equal(n.config.prefix_len, 64);
}

static void test_rules(void **state)
{
	static const struct {
		const char *text;
		bool udp;
		const char *host;
		uint16_t host_port;
		const char *guest;
		uint16_t guest_port;
	} cases[] = {
		{ "hostfwd=tcp::2222-:22", false, "0.0.0.0", 2222, "0.0.0.0", 22 },
		{ "hostfwd=::2222-:22", false, "0.0.0.0", 2222, "0.0.0.0", 22 },
		{ "hostfwd=udp:127.0.0.1:53-10.0.2.20:5353", true, "127.0.0.1", 53, "10.0.2.20", 5353 },
		{ "hostfwd=tcp:127.0.0.1:0-:80", false, "127.0.0.1", 0, "0.0.0.0", 80 },
		{ "hostfwd=:127.0.0.1:65535-10.0.2.15:65535", false, "127.0.0.1", 65535, "10.0.2.15", 65535 },
	};
	struct user_net n;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		good(cases[i].text, &n);
		assert_int_equal(n.n_fwd, 1);
		assert_int_equal(n.fwd[0].fwd.udp, cases[i].udp);
		assert_string_equal(addr(n.fwd[0].fwd.host_addr), cases[i].host);
		assert_int_equal(n.fwd[0].fwd.host_port, cases[i].host_port);
		assert_string_equal(addr(n.fwd[0].fwd.guest_addr), cases[i].guest);
		assert_int_equal(n.fwd[0].fwd.guest_port, cases[i].guest_port);
		user_net_free(&n);
	}
	good("hostfwd=tcp::80-:80,hostfwd=udp::80-:80,hostfwd=tcp::81-:80", &n);
	assert_int_equal(n.n_fwd, 3);
	user_net_free(&n);
	good("guestfwd=tcp:10.0.2.100:1234-cmd:nc -U /tmp/a-b:c,,d,guestfwd=:10.0.2.101:7-cmd:cat,"
	     "guestfwd=:10.0.2.102:7-unix:/tmp/a-b,,server=on",
	     &n);
	assert_int_equal(n.n_guestfwd, 3);
	assert_null(n.guestfwd[2].command);
	assert_string_equal(n.guestfwd[2].target, "unix:/tmp/a-b,server=on");
	assert_string_equal(n.guestfwd[0].command, "nc -U /tmp/a-b:c,d");
	assert_string_equal(addr(n.guestfwd[0].fwd.addr), "10.0.2.100");
	assert_int_equal(n.guestfwd[0].fwd.port, 1234);
	assert_int_equal(n.guestfwd[1].fwd.index, 1);
	user_net_free(&n);
}

static void test_thousand_rules(void **state)
{
	static char text[64 * 1100];
	struct user_net n;
	struct error err;
	size_t len = 0;

	(void)state;
	for (unsigned i = 0; i < USER_FWD_MAX; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%shostfwd=tcp::%u-:80", i ? "," : "",
					10000 + i);
	good(text, &n);
	assert_int_equal(n.n_fwd, USER_FWD_MAX);
	user_net_free(&n);
	snprintf(text + len, sizeof(text) - len, ",hostfwd=tcp::9999-:80");
	assert_true(resolve(text, &n, &err) < 0);
	assert_string_equal(err.msg, "hostfwd=tcp::9999-:80: too many rules; at most 1024");
}

static void test_strings(void **state)
{
	struct user_net n;
	char dir[] = "/tmp/vwire-opts.XXXXXX", text[200];

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(text, sizeof(text), "tftp=%s/../%s,dnssearch=a.example,dnssearch=b.example,restrict=on,prefilter=off",
		 dir, dir + 5);
	good(text, &n);
	assert_string_equal(n.config.tftp, dir);
	assert_int_equal(n.config.searches, 2);
	assert_memory_equal(n.config.search, "a.example\0b.example", 20);
	assert_true(n.config.restricted && !n.config.prefilter);
	user_net_free(&n);
	rmdir(dir);
}

static void test_json(void **state)
{
	struct user_net n;

	(void)state;
	good("{\"restrict\":true,\"net\":\"10.5.5.0/24\",\"dnssearch\":[{\"str\":\"a.example\"},{\"str\":\"b.example\"}],"
	     "\"hostfwd\":[{\"str\":\"tcp::2222-:22\"}]}",
	     &n);
	assert_int_equal(n.config.searches, 2);
	assert_int_equal(n.n_fwd, 1);
	assert_string_equal(addr(n.config.host), "10.5.5.2");
	user_net_free(&n);
}

#define GUESTFWD_FORM "expected [tcp]:server:port-chardev:id or [tcp]:server:port-cmd:command"

/* Every error: the option, the value, what is allowed. */
static const struct {
	const char *text, *error;
} bad[] = {
	{ "ipv4=off,ipv6=off", "ipv4=off,ipv6=off: nothing is left; leave one of them on" },
	{ "ipv6=on,net=10.0.2.0/24", "net needs IPv4, which is off; add ipv4=on or leave net out" },
	{ "ipv4=off,hostfwd=tcp::1-:1", "hostfwd needs IPv4, which is off; add ipv4=on or leave hostfwd out" },
	{ "ipv4=off,dns=10.0.2.3", "dns needs IPv4, which is off; add ipv4=on or leave dns out" },
	{ "ipv4=on,ipv6-host=fec0::2", "ipv6-host needs IPv6, which is off; add ipv6=on or leave ipv6-host out" },
	{ "net=10.0.2", "net=10.0.2: not an IPv4 network; expected one like 10.0.2.0/24" },
	{ "net=", "net=: not an IPv4 network; expected one like 10.0.2.0/24" },
	{ "ip=example.org", "ip=example.org: not an IPv4 network; expected one like 10.0.2.0/24" },
	{ "net=10.0.2.0/33", "net=10.0.2.0/33: the mask is a number of bits from 4 to 30 or like 255.255.255.0" },
	{ "net=10.0.2.0/3", "net=10.0.2.0/3: the mask is a number of bits from 4 to 30 or like 255.255.255.0" },
	{ "net=10.0.2.0/255.0.255.0",
	  "net=10.0.2.0/255.0.255.0: the mask is a number of bits from 4 to 30 or like 255.255.255.0" },
	{ "net=10.0.2.0/", "net=10.0.2.0/: the mask is a number of bits from 4 to 30 or like 255.255.255.0" },
	{ "net=10.0.2.0/24,ip=10.0.3.0",
	  "ip=10.0.3.0: the old name of net, which is given too; leave one of them out" },
	{ "host=10.0.3.2",
	  "host=10.0.3.2: the address is not in the guest's network 10.0.2.0/24; choose one in it, or change net=" },
	{ "host=gateway", "host=gateway: not an IPv4 address; expected one like 10.0.2.2" },
	{ "dhcpstart=10.1.2.15",
	  "dhcpstart=10.1.2.15: the address is not in the guest's network 10.0.2.0/24; choose one in it, or change net=" },
	{ "dns=10.0.2.2", "dns=10.0.2.2: the same as host; the name server needs an address of its own" },
	{ "dhcpstart=10.0.2.2", "dhcpstart=10.0.2.2: the same as host; the guest needs an address of its own" },
	{ "dhcpstart=10.0.2.3", "dhcpstart=10.0.2.3: the same as dns; the guest needs an address of its own" },
	{ "restrict=on,dns=1.1.1.1",
	  "dns=1.1.1.1: the address is not in the guest's network 10.0.2.0/24; choose one in it, or change net=" },
	{ "ipv6-net=10.0.2.0/24", "ipv6-net=10.0.2.0/24: not an IPv6 prefix; expected one like fec0::/64" },
	{ "ipv6-net=fec0::/127", "ipv6-net=fec0::/127: the length must be between 0 and 126" },
	{ "ipv6-prefix=fec0::/64", "ipv6-prefix=fec0::/64: not an IPv6 prefix; expected one like fec0::" },
	{ "ipv6-prefixlen=127", "ipv6-prefixlen=127: must be between 0 and 126" },
	{ "ipv6-net=fec0::/64,ipv6-prefix=fec0::", "ipv6-prefix=fec0::: ipv6-net is given too; leave one of them out" },
	{ "ipv6-host=fec1::2",
	  "ipv6-host=fec1::2: the address is not in the guest's network fec0::/64; choose one in it, or change ipv6-net=" },
	{ "ipv6-host=fec0::3", "ipv6-dns: the same as ipv6-host; the name server needs an address of its own" },
	{ "hostname=a-name-that-is-longer-than-32-chr",
	  "hostname=a-name-that-is-longer-than-32-chr: 33 characters; at most 32 go into the DHCP answer" },
	{ "dnssearch=", "dnssearch=: not a domain; expected one like example.org" },
	{ "dnssearch=a..b", "dnssearch=a..b: not a domain; expected one like example.org" },
	{ "tftp=/nonexistent/dir", "tftp=/nonexistent/dir: No such file or directory; expected a directory" },
	{ "tftp=/etc/passwd", "tftp=/etc/passwd: not a directory" },
	{ "tftp=/", "tftp=/: the whole file system is not given to a guest; choose a directory" },
	{ "smb=/srv",
	  "smb=/srv: not offered; run a file server on the host, which the guest reaches at the host= address" },
	{ "smbserver=10.0.2.4",
	  "smbserver=10.0.2.4: not offered; run a file server on the host, which the guest reaches at the host= address" },
	{ "restrict=maybe", "restrict=maybe: expected on or off" },
	{ "hostfwd=tcp:2222:22", "hostfwd=tcp:2222:22: expected [tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport" },
	{ "hostfwd=2222", "hostfwd=2222: expected [tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport" },
	{ "hostfwd=tcp::2222-22",
	  "hostfwd=tcp::2222-22: expected [tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport" },
	{ "hostfwd=sctp::1-:1",
	  "hostfwd=sctp::1-:1: the protocol \"sctp\" is neither tcp nor udp; expected [tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport" },
	{ "hostfwd=tcp:localhost:1-:1",
	  "hostfwd=tcp:localhost:1-:1: the host address \"localhost\" is not an IPv4 address" },
	{ "hostfwd=tcp::65536-:1",
	  "hostfwd=tcp::65536-:1: the host port \"65536\" is not a number between 0 and 65535 (0: any that is free)" },
	{ "hostfwd=tcp::-:1",
	  "hostfwd=tcp::-:1: the host port \"\" is not a number between 0 and 65535 (0: any that is free)" },
	{ "hostfwd=tcp::1-:0", "hostfwd=tcp::1-:0: the guest port \"0\" is not a number between 1 and 65535" },
	{ "hostfwd=tcp::1-:ssh", "hostfwd=tcp::1-:ssh: the guest port \"ssh\" is not a number between 1 and 65535" },
	{ "hostfwd=tcp::1-:22:", "hostfwd=tcp::1-:22:: the guest port \"22:\" is not a number between 1 and 65535" },
	{ "hostfwd=tcp::1-10.0.3.1:1",
	  "hostfwd=tcp::1-10.0.3.1:1: the guest address 10.0.3.1 is not in the guest's network; choose one in it, or leave it empty" },
	{ "hostfwd=tcp::7-:1,hostfwd=tcp:127.0.0.1:7-:2",
	  "hostfwd=tcp:127.0.0.1:7-:2: this port is forwarded already by hostfwd=tcp::7-:1; choose a different one" },
	{ "hostfwd=unix:/tmp/x-:22",
	  "hostfwd=unix:/tmp/x-:22: forwarding from a UNIX socket is not offered; expected [tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport" },
	{ "guestfwd=tcp:10.0.2.100:80", "guestfwd=tcp:10.0.2.100:80: " GUESTFWD_FORM },
	{ "guestfwd=udp:10.0.2.100:80-cmd:cat",
	  "guestfwd=udp:10.0.2.100:80-cmd:cat: only tcp can be forwarded; " GUESTFWD_FORM },
	{ "guestfwd=tcp:10.0.2.100:80-", "guestfwd=tcp:10.0.2.100:80-: the target is empty; " GUESTFWD_FORM },
	{ "guestfwd=tcp:10.0.2.100:80-cmd:", "guestfwd=tcp:10.0.2.100:80-cmd:: the command is empty; " GUESTFWD_FORM },
	{ "guestfwd=tcp:10.0.2.100:0-cmd:cat",
	  "guestfwd=tcp:10.0.2.100:0-cmd:cat: the server port \"0\" is not a number between 1 and 65535" },
};

static void test_errors(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct user_net n;
		struct error err = { 0 };
		int rc = resolve(bad[i].text, &n, &err);

		if (!rc || strcmp(err.msg, bad[i].error))
			print_error("%s\n  got:      %s\n  expected: %s\n", bad[i].text, rc ? err.msg : "success",
				    bad[i].error);
		assert_true(rc < 0);
		assert_string_equal(err.msg, bad[i].error);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults), cmocka_unit_test(test_families), cmocka_unit_test(test_networks),
		cmocka_unit_test(test_ipv6),	 cmocka_unit_test(test_rules),	  cmocka_unit_test(test_thousand_rules),
		cmocka_unit_test(test_strings),	 cmocka_unit_test(test_json),	  cmocka_unit_test(test_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
