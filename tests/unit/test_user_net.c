/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * User networking against the real vwire-user and the real libslirp, with sockets of this host at the other end and a
 * few lines of TCP/IP (userguest.h) in the place of a guest.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/user.h"
#include "base/csum.h"
#include "base/log.h"
#include "unit/unit.h"
#include "unit/userguest.h"

static uint8_t frame[70000], pattern[400000];

static struct guest *must(const char *options)
{
	struct error err;
	struct guest *g = guest_new(options, &err);

	if (!g)
		print_error("%s\n", err.msg);
	assert_non_null(g);
	return g;
}

static bool has_frame(struct guest *g, void *arg)
{
	const uint16_t *what = arg; /* protocol, port */

	return find_ipv4(g, (uint8_t)what[0], what[1]) != NULL;
}

static struct got *wait_ipv4(struct guest *g, uint8_t proto, uint16_t port)
{
	uint16_t what[2] = { proto, port };

	return guest_until(g, has_frame, what, 5000) ? find_ipv4(g, proto, port) : NULL;
}

static bool any_frame(struct guest *g, void *arg)
{
	return g->n >= *(unsigned *)arg;
}

/* Tell libslirp who we are: it answers and remembers. */
static void introduce(struct guest *g)
{
	unsigned one = 1;

	assert_true(guest_send(g, frame, build_arp(frame, HOST_IP)));
	assert_true(guest_until(g, any_frame, &one, 5000));
	assert_int_equal(rd16(g->queue[0].data + 12), 0x0806);
	assert_int_equal(rd16(g->queue[0].data + 20), 2);
	assert_int_equal(rd32(g->queue[0].data + 28), HOST_IP);
	guest_clear(g);
}

static int helper_pid(struct guest *g)
{
	json_t *o = net_describe(g->user);
	int pid = (int)json_integer_value(json_object_get(o, "helper"));

	json_decref(o);
	return pid;
}

static json_int_t restarts(struct guest *g)
{
	json_t *o = net_describe(g->user);
	json_int_t n = json_integer_value(json_object_get(o, "restarts"));

	json_decref(o);
	return n;
}

static int host_socket(int type, uint16_t *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				 .sin_port = htons(*port) };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0), one = 1;

	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	*port = ntohs(a.sin_port);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 8), 0);
	return fd;
}

/* A port that is free now. */
static uint16_t free_port(int type)
{
	uint16_t port = 0;

	close(host_socket(type, &port));
	return port;
}

static int host_connect(int type, uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				 .sin_port = htons(port) };
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

static bool readable(struct guest *g, void *arg)
{
	struct pollfd p = { *(int *)arg, POLLIN, 0 };

	(void)g;
	return poll(&p, 1, 0) > 0;
}

/* ---- DHCP, ARP, ping ---- */

static size_t build_dhcp(uint8_t *f, uint8_t type, uint32_t wanted)
{
	uint8_t d[300] = { 1, 1, 6, 0, 1, 2, 3, 4 };
	size_t n = 240;

	memcpy(d + 28, guest_mac, 6);
	memcpy(d + 236, "\x63\x82\x53\x63", 4);
	d[n++] = 53;
	d[n++] = 1;
	d[n++] = type;
	if (wanted) {
		d[n++] = 50;
		d[n++] = 4;
		for (int i = 3; i >= 0; i--)
			d[n++] = (uint8_t)(wanted >> (8 * i));
	}
	d[n] = 255;
	n = build_udp(f, 0xffffffff, 68, 67, d, sizeof(d));
	memset(f, 0xff, 6);
	return n;
}

static const uint8_t *dhcp_option(const struct got *g, uint8_t code)
{
	for (uint32_t i = 42 + 240; i + 1 < g->len && g->data[i] != 255; i += g->data[i] ? 2U + g->data[i + 1] : 1) {
		if (g->data[i] == code)
			return g->data + i + 1;
	}
	return NULL;
}

static void get_lease(struct guest *g, uint32_t expected)
{
	struct got *got;

	guest_clear(g);
	assert_true(guest_send(g, frame, build_dhcp(frame, 1, 0)));
	got = wait_ipv4(g, 17, 68);
	assert_non_null(got);
	assert_int_equal(rd32(got->data + 42 + 16), expected);
	guest_clear(g);
	assert_true(guest_send(g, frame, build_dhcp(frame, 3, expected)));
	got = wait_ipv4(g, 17, 68);
	assert_non_null(got);
	assert_int_equal(dhcp_option(got, 53)[1], 5); /* ACK */
}

static void test_dhcp(void **state)
{
	struct guest *g = must("hostname=guest7,domainname=example.org,dnssearch=a.example,dnssearch=b.example,"
			       "bootfile=pxe.0,tftp-server-name=boot.example");
	struct got *got;

	(void)state;
	get_lease(g, GUEST_IP);
	got = find_ipv4(g, 17, 68);
	assert_int_equal(rd32(dhcp_option(got, 3) + 1), HOST_IP);
	assert_int_equal(rd32(dhcp_option(got, 6) + 1), DNS_IP);
	assert_memory_equal(dhcp_option(got, 12), "\6guest7", 7);
	assert_memory_equal(dhcp_option(got, 15), "\13example.org", 12);
	assert_memory_equal(dhcp_option(got, 66), "\14boot.example", 13);
	assert_memory_equal(dhcp_option(got, 119) + 1, "\1a\7example\0\1b", 12);
	assert_string_equal((char *)got->data + 42 + 108, "pxe.0");
	guest_free(g);
}

static void test_addresses(void **state)
{
	struct guest *g = must("net=192.168.76.0/24,host=192.168.76.1,dhcpstart=192.168.76.9,dns=192.168.76.5");
	struct got *got;

	(void)state;
	get_lease(g, 0xc0a84c09);
	got = find_ipv4(g, 17, 68);
	assert_int_equal(rd32(dhcp_option(got, 3) + 1), 0xc0a84c01);
	assert_int_equal(rd32(dhcp_option(got, 6) + 1), 0xc0a84c05);
	assert_int_equal(rd32(dhcp_option(got, 1) + 1), 0xffffff00);
	guest_free(g);
}

static void test_ping(void **state)
{
	struct guest *g = must("");
	struct got *got;

	(void)state;
	introduce(g);
	for (uint16_t i = 0; i < 100; i++) {
		assert_true(guest_send(g, frame, build_ping(frame, HOST_IP, i, 56)));
		got = wait_ipv4(g, 1, 0);
		assert_non_null(got);
		assert_int_equal(got->data[34], 0);
		assert_int_equal(rd16(got->data + 40), i);
		guest_clear(g);
	}
	guest_free(g);
}

/* ---- IPv6 ---- */

static size_t build_ip6(uint8_t *f, uint8_t next, unsigned csum_at, const uint8_t src[16], const uint8_t dst[16],
			const uint8_t *msg, size_t n)
{
	uint8_t rest[8] = { 0, 0, 0, (uint8_t)n, 0, 0, 0, next };
	uint16_t sum;

	build_eth(f, 0x86dd);
	f[0] = f[1] = 0x33;
	memcpy(f + 2, dst + 12, 4);
	memset(f + 14, 0, 40);
	f[14] = 0x60;
	f[19] = (uint8_t)n;
	f[20] = next;
	f[21] = 255;
	memcpy(f + 22, src, 16);
	memcpy(f + 38, dst, 16);
	memcpy(f + 54, msg, n);
	sum = (uint16_t)~csum_fold(csum_add(csum_add(csum_add(0, f + 22, 32), rest, 8), f + 54, n));
	memcpy(f + 54 + csum_at, &sum, 2);
	return 54 + n;
}

static size_t build_icmp6(uint8_t *f, const uint8_t src[16], const uint8_t dst[16], const uint8_t *msg, size_t n)
{
	return build_ip6(f, 58, 2, src, dst, msg, n);
}

static bool has_icmp6(struct guest *g, void *arg)
{
	for (unsigned i = 0; i < g->n; i++) {
		const struct got *got = &g->queue[i];

		if (got->len > 54 && rd16(got->data + 12) == 0x86dd && got->data[20] == 58 &&
		    got->data[54] == *(uint8_t *)arg)
			return true;
	}
	return false;
}

static void test_ipv6(void **state)
{
	static const uint8_t self[16] = { 0xfe, 0x80, [8] = 0x50, 0x54, 0, 0xff, 0xfe, 0x12, 0x34, 0x56 };
	static const uint8_t global[16] = { 0xfe, 0xc0, [8] = 0x50, 0x54, 0, 0xff, 0xfe, 0x12, 0x34, 0x56 };
	static const uint8_t routers[16] = { 0xff, 2, [15] = 2 }, host[16] = { 0xfe, 0xc0, [15] = 2 };
	static const uint8_t solicited[16] = { 0xff, 2, [11] = 1, [12] = 0xff, [15] = 2 };
	uint8_t rs[16] = { 133, [8] = 1, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56 };
	uint8_t ns[32] = { 135, [24] = 1, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56 };
	uint8_t echo[16] = { 128, [4] = 1, 2, 3, 4 };
	uint8_t ra = 134, na = 136, reply = 129;
	struct guest *g = must("ipv6=on,ipv4=on");

	(void)state;
	assert_true(guest_send(g, frame, build_icmp6(frame, self, routers, rs, sizeof(rs))));
	assert_true(guest_until(g, has_icmp6, &ra, 5000));
	memcpy(ns + 8, host, 16);
	assert_true(guest_send(g, frame, build_icmp6(frame, global, solicited, ns, sizeof(ns))));
	assert_true(guest_until(g, has_icmp6, &na, 5000));
	assert_true(guest_send(g, frame, build_icmp6(frame, global, host, echo, sizeof(echo))));
	assert_true(guest_until(g, has_icmp6, &reply, 5000));
	guest_free(g);
}

/* ---- TCP ---- */

/* The next TCP segment for our port, taken out of the queue: its payload, or NULL after a while. */
static struct got *wait_tcp(struct guest *g, const struct tcp *t)
{
	return wait_ipv4(g, 6, t->port);
}

static void drop_got(struct guest *g, struct got *got)
{
	free(got->data);
	memmove(got, got + 1, (size_t)(g->queue + g->n - (got + 1)) * sizeof(*got));
	g->n--;
}

static void connect_out(struct guest *g, struct tcp *t)
{
	struct got *got;

	assert_true(guest_send(g, frame, build_tcp(frame, t, SYN, 1460, NULL, 0)));
	got = wait_tcp(g, t);
	assert_non_null(got);
	assert_int_equal(got->data[47] & (SYN | ACK | RST), SYN | ACK);
	t->seq++;
	assert_int_equal(rd32(got->data + 42), t->seq);
	t->ack = rd32(got->data + 38) + 1;
	drop_got(g, got);
	assert_true(guest_send(g, frame, build_tcp(frame, t, ACK, 0, NULL, 0)));
}

/* Send n bytes of the pattern in TSO frames of at most `piece`; read them from fd and compare. */
static void send_stream(struct guest *g, struct tcp *t, int fd, size_t n, size_t piece)
{
	static uint8_t in[sizeof(pattern)];
	size_t sent = 0, read_n = 0;
	uint32_t start = t->seq;

	while (read_n < n) {
		size_t k = MIN(piece, n - sent);
		struct got *got;
		struct frame_meta m;
		ssize_t r;

		if (k && t->seq - start < 65000) { /* within the window: 64 KiB at most under way */
			size_t len = build_tso(frame, t, pattern + sent, MIN(k, 65000 - (t->seq - start)), 1460, &m);

			assert_true(guest_send_meta(g, frame, len, &m));
			sent += len - 54;
			t->seq += (uint32_t)(len - 54);
		}
		guest_run(g, 1);
		while ((got = find_ipv4(g, 6, t->port))) {
			start = rd32(got->data + 42);
			assert_false(got->data[47] & RST);
			drop_got(g, got);
		}
		r = recv(fd, in + read_n, sizeof(in) - read_n, MSG_DONTWAIT);
		if (r > 0)
			read_n += (size_t)r;
	}
	assert_int_equal(read_n, n);
	assert_memory_equal(in, pattern, n);
}

/* Receive n bytes of the pattern, which the host sends; returns the largest frame. */
static uint32_t receive_stream(struct guest *g, struct tcp *t, int fd, size_t n)
{
	size_t written = 0, got_n = 0;
	uint32_t largest = 0;

	while (got_n < n) {
		ssize_t w = written < n ? send(fd, pattern + written, n - written, MSG_DONTWAIT) : 0;
		struct got *got;

		if (w > 0)
			written += (size_t)w;
		got = wait_tcp(g, t);
		assert_non_null(got);
		assert_int_equal(rd16(got->data + 16), got->len - 14);
		if (got->len > 1514) {
			assert_int_equal(got->meta.gso, NET_GSO_TCP4);
			assert_int_equal(got->meta.gso_size, 1460);
			assert_true(got->meta.needs_csum);
			assert_int_equal(got->meta.csum_start, 34);
			assert_int_equal(got->meta.csum_offset, 16);
		}
		if (got->len > 54 && rd32(got->data + 38) == t->ack) {
			assert_memory_equal(got->data + 54, pattern + got_n, got->len - 54);
			got_n += got->len - 54;
			t->ack += got->len - 54;
			assert_true(guest_send(g, frame, build_tcp(frame, t, ACK, 0, NULL, 0)));
		}
		largest = MAX(largest, got->len);
		drop_got(g, got);
	}
	return largest;
}

/* The guest introduces itself and connects to a port of the host, whose end is returned. */
static int connect_to_host(struct guest *g, struct tcp *t)
{
	uint16_t port = 0;
	int listener = host_socket(SOCK_STREAM, &port), fd;

	*t = (struct tcp){ HOST_IP, 40001, port, 1000, 0 };
	introduce(g);
	connect_out(g, t);
	fd = accept(listener, NULL, NULL);
	assert_true(fd >= 0);
	close(listener);
	return fd;
}

static void test_tcp_out(void **state)
{
	struct guest *g = must("");
	struct tcp t;
	int fd;

	(void)state;
	fd = connect_to_host(g, &t);
	send_stream(g, &t, fd, 400000, 64000);
	assert_true(receive_stream(g, &t, fd, 400000) > 20000);
	close(fd);
	guest_free(g);
}

/* A taker without any offload gets the same bytes in segments of its MSS, with right checksums. */
static void test_tcp_lowered(void **state)
{
	struct guest *g = must("");
	struct tcp t;
	int fd;

	(void)state;
	net_takes_changed(&g->c, 0);
	fd = connect_to_host(g, &t);
	assert_int_equal(receive_stream(g, &t, fd, 200000), 1514);
	close(fd);
	guest_free(g);
}

/* Urgent data is made ordinary; a full checksum stays right when the header is changed. */
static void test_tcp_urgent(void **state)
{
	struct guest *g = must("");
	struct tcp t;
	char in[16] = "";
	int fd;

	(void)state;
	fd = connect_to_host(g, &t);
	assert_true(guest_send(g, frame, build_tcp(frame, &t, ACK | PSH | URG, 0, "urgent", 6)));
	assert_true(guest_until(g, readable, &fd, 5000));
	assert_int_equal(read(fd, in, sizeof(in)), 6);
	assert_string_equal(in, "urgent");
	close(fd);
	guest_free(g);
}

static void accept_in(struct guest *g, struct tcp *t)
{
	struct got *got = wait_tcp(g, t);

	assert_non_null(got);
	assert_int_equal(got->data[47] & (SYN | ACK), SYN);
	assert_int_equal(rd32(got->data + 30), GUEST_IP);
	t->remote = rd32(got->data + 26);
	t->remote_port = rd16(got->data + 34);
	t->ack = rd32(got->data + 38) + 1;
	drop_got(g, got);
	assert_true(guest_send(g, frame, build_tcp(frame, t, SYN | ACK, 1460, NULL, 0)));
	t->seq++;
	got = wait_tcp(g, t);
	assert_non_null(got);
	drop_got(g, got);
}

static void hostfwd_tcp(struct guest *g, uint16_t port)
{
	struct tcp t = { .port = 80, .seq = 5000 };
	int fd;

	introduce(g);
	fd = host_connect(SOCK_STREAM, port);
	accept_in(g, &t);
	send_stream(g, &t, fd, 300000, 30000);
	receive_stream(g, &t, fd, 300000);
	close(fd);
	guest_run(g, 20);
	guest_clear(g);
}

static void test_hostfwd(void **state)
{
	uint16_t tcp = free_port(SOCK_STREAM), udp = free_port(SOCK_DGRAM);
	char options[200], buf[64] = "";
	struct guest *g;
	struct got *got;
	int fd;

	(void)state;
	snprintf(options, sizeof(options), "hostfwd=tcp:127.0.0.1:%u-:80,hostfwd=udp::%u-10.0.2.15:53", tcp, udp);
	g = must(options);
	hostfwd_tcp(g, tcp);
	fd = host_connect(SOCK_DGRAM, udp);
	assert_int_equal(write(fd, "ask", 3), 3);
	got = wait_ipv4(g, 17, 53);
	assert_non_null(got);
	assert_memory_equal(got->data + 42, "ask", 3);
	assert_true(
		guest_send(g, frame, build_udp(frame, rd32(got->data + 26), 53, rd16(got->data + 34), "answer", 6)));
	assert_true(guest_until(g, readable, &fd, 5000));
	assert_int_equal(read(fd, buf, sizeof(buf)), 6);
	assert_string_equal(buf, "answer");
	close(fd);
	guest_free(g);
}

static void test_hostfwd_at_run_time(void **state)
{
	uint16_t port = free_port(SOCK_STREAM);
	struct tcp t = { .port = 80, .seq = 5000 };
	struct guest *g = must("");
	struct error err;
	char rule[64], remove[64];
	int fd;

	(void)state;
	snprintf(rule, sizeof(rule), "tcp:127.0.0.1:%u-:80", port);
	snprintf(remove, sizeof(remove), "tcp:127.0.0.1:%u", port);
	assert_int_equal(user_hostfwd_add(g->user, rule, &err), 0);
	hostfwd_tcp(g, port);
	assert_int_equal(user_hostfwd_add(g->user, rule, &err), -EEXIST);
	fd = host_connect(SOCK_STREAM, port);
	accept_in(g, &t);
	assert_int_equal(user_hostfwd_remove(g->user, remove, &err), 0);
	/* What is connected stays, nobody else comes. */
	receive_stream(g, &t, fd, 100000);
	close(fd);
	assert_int_equal(user_hostfwd_remove(g->user, remove, &err), -ENOENT);
	close(host_socket(SOCK_STREAM, &port));
	guest_free(g);
}

static bool link_is(struct guest *g, void *arg)
{
	return g->link == *(bool *)arg;
}

/* What a rule that left the host's port open came to. */
static uint16_t port_of_rule(struct guest *g, unsigned i)
{
	json_t *o = net_describe(g->user);
	const char *rule = json_string_value(json_array_get(json_object_get(o, "hostfwd"), i)), *port;
	unsigned n;

	assert_non_null(rule);
	port = strstr(rule, "(port ");
	assert_non_null(port);
	n = (unsigned)strtoul(port + 6, NULL, 10);
	json_decref(o);
	assert_in_range(n, 1, 65535);
	return (uint16_t)n;
}

static void test_any_port(void **state)
{
	struct guest *g = must("hostfwd=tcp:127.0.0.1:0-:80,hostfwd=tcp:127.0.0.1:0-:80,hostfwd=udp:127.0.0.1:0-:53");
	bool up = true, down = false;
	struct error err;
	uint16_t port[3];
	char rule[64];

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		port[i] = port_of_rule(g, i);
	assert_int_not_equal(port[0], port[1]);
	hostfwd_tcp(g, port[0]);
	hostfwd_tcp(g, port[1]);
	snprintf(rule, sizeof(rule), "tcp:127.0.0.1:%u-:80", port[0]);
	assert_int_equal(user_hostfwd_add(g->user, rule, &err), -EEXIST);
	/* After a death they are the same. */
	kill(helper_pid(g), SIGKILL);
	assert_true(guest_until(g, link_is, &down, 5000));
	assert_true(guest_until(g, link_is, &up, 30000));
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(port_of_rule(g, i), port[i]);
	guest_clear(g);
	hostfwd_tcp(g, port[1]);
	/* At run time; removed by what it is or by what it was. */
	assert_int_equal(user_hostfwd_add(g->user, "tcp:127.0.0.1:0-:80", &err), 0);
	port[2] = port_of_rule(g, 3);
	hostfwd_tcp(g, port[2]);
	snprintf(rule, sizeof(rule), "tcp:127.0.0.1:%u", port[2]);
	assert_int_equal(user_hostfwd_remove(g->user, rule, &err), 0);
	close(host_socket(SOCK_STREAM, &port[2]));
	assert_int_equal(user_hostfwd_remove(g->user, "tcp:127.0.0.1:0", &err), 0);
	close(host_socket(SOCK_STREAM, &port[0]));
	guest_free(g);
}

static void test_port_in_use(void **state)
{
	uint16_t port = 0;
	int fd = host_socket(SOCK_STREAM, &port);
	char options[64], expected[300];
	struct error err;

	(void)state;
	snprintf(options, sizeof(options), "hostfwd=tcp:127.0.0.1:%u-:80", port);
	assert_null(guest_new(options, &err));
	snprintf(
		expected, sizeof(expected),
		"user,id=net0: %s: TCP port %u on 127.0.0.1: Address already in use; choose a different port, or end the "
		"program that has it",
		options, port);
	assert_string_equal(err.msg, expected);
	assert_null(guest_new("hostfwd=udp:192.0.2.1:5555-:80", &err));
	assert_string_equal(err.msg, "user,id=net0: hostfwd=udp:192.0.2.1:5555-:80: UDP port 5555 on 192.0.2.1: Cannot "
				     "assign requested address; the address is not one of this host");
	close(fd);
}

static void test_restrict(void **state)
{
	static const uint32_t targets[] = { HOST_IP,	0x7f000001, 0x0a000201, 0xa9fea9fe, 0x08080808,
					    0xc0a80001, 0x0a0002ff, 0xffffffff, 0x0a000204, 0xac100001 };
	struct guest *g = must("restrict=on");
	uint16_t tcp = 0, udp = 0;
	int listener = host_socket(SOCK_STREAM, &tcp), fd = host_socket(SOCK_DGRAM, &udp);

	(void)state;
	introduce(g);
	for (unsigned i = 0; i < ARRAY_SIZE(targets); i++) {
		struct tcp t = { targets[i], (uint16_t)(41000 + i), tcp, 1000, 0 };

		assert_true(guest_send(g, frame, build_tcp(frame, &t, SYN, 1460, NULL, 0)));
		assert_true(guest_send(g, frame, build_udp(frame, targets[i], 42000, udp, "x", 1)));
	}
	guest_run(g, 300);
	assert_false(readable(g, &listener));
	assert_false(readable(g, &fd));
	for (unsigned i = 0; i < g->n; i++)
		assert_false(is_ipv4(&g->queue[i], 6) && (g->queue[i].data[47] & (SYN | RST)) == SYN);
	close(fd);
	close(listener);
	guest_free(g);
}

static const uint8_t self6[16] = { 0xfe, 0xc0, [8] = 0x50, 0x54, 0, 0xff, 0xfe, 0x12, 0x34, 0x56 };

/* libslirp learns who has self6. */
static void introduce6(struct guest *g)
{
	static const uint8_t solicited[16] = { 0xff, 2, [11] = 1, [12] = 0xff, [15] = 2 };
	uint8_t ns[32] = { 135, [8] = 0xfe, 0xc0, [23] = 2, [24] = 1, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56 };
	uint8_t na = 136;

	assert_true(guest_send(g, frame, build_icmp6(frame, self6, solicited, ns, sizeof(ns))));
	assert_true(guest_until(g, has_icmp6, &na, 5000));
	guest_clear(g);
}

static size_t build_syn6(uint8_t *f, const char *to, uint16_t port)
{
	uint8_t syn[24] = { 0x9c,
			    0x40,
			    (uint8_t)(port >> 8),
			    (uint8_t)port,
			    0,
			    0,
			    3,
			    0xe8,
			    [12] = 0x60,
			    SYN,
			    0xff,
			    0xff,
			    [20] = 2,
			    4,
			    5,
			    0xa0 };
	uint8_t dst[16];

	assert_int_equal(inet_pton(AF_INET6, to, dst), 1);
	return build_ip6(f, 6, 16, self6, dst, syn, sizeof(syn));
}

static size_t build_udp6(uint8_t *f, const char *to, uint16_t port)
{
	uint8_t udp[9] = { 0x9c, 0x41, (uint8_t)(port >> 8), (uint8_t)port, 0, sizeof(udp), [8] = 'x' }, dst[16];

	assert_int_equal(inet_pton(AF_INET6, to, dst), 1);
	return build_ip6(f, 17, 6, self6, dst, udp, sizeof(udp));
}

static int host_socket6(int type, uint16_t *port)
{
	struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET6, type | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)))
		skip(); /* a host without IPv6 */
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 8), 0);
	*port = ntohs(a.sin6_port);
	return fd;
}

/* By IPv6 the guest reaches servers on the host, and with restrict=on it does not. */
static void test_inet6(void **state)
{
	static const char *const targets[] = { "fec0::2",     "::1",	 "fec0::3",	     "fe80::2",
					       "2001:db8::1", "fc00::1", "::ffff:127.0.0.1", "::" };
	uint16_t port, udp_port;
	int fd = host_socket6(SOCK_STREAM, &port), udp = host_socket6(SOCK_DGRAM, &udp_port);
	struct guest *g = must("");
	char byte;

	(void)state;
	introduce6(g);
	assert_true(guest_send(g, frame, build_syn6(frame, "fec0::2", port)));
	assert_true(guest_until(g, readable, &fd, 5000));
	close(accept(fd, NULL, NULL));
	assert_true(guest_send(g, frame, build_udp6(frame, "fec0::2", udp_port)));
	assert_true(guest_until(g, readable, &udp, 5000));
	assert_int_equal(read(udp, &byte, 1), 1);
	guest_free(g);
	g = must("restrict=on");
	introduce6(g);
	for (unsigned i = 0; i < ARRAY_SIZE(targets); i++) {
		assert_true(guest_send(g, frame, build_syn6(frame, targets[i], port)));
		assert_true(guest_send(g, frame, build_udp6(frame, targets[i], udp_port)));
	}
	guest_run(g, 300);
	assert_false(readable(g, &fd));
	assert_false(readable(g, &udp));
	close(udp);
	close(fd);
	guest_free(g);
}

/* ---- large datagrams ---- */

/* The host sends a datagram of n bytes; the guest gets it in fragments of its MTU. */
static void large_datagram(struct guest *g, int fd, const struct sockaddr_in *to, size_t n)
{
	static uint8_t in[70000];
	size_t seen = 0;
	unsigned want = (unsigned)((n + 8 + 1479) / 1480);

	guest_clear(g);
	assert_int_equal(sendto(fd, pattern, n, 0, (const struct sockaddr *)to, sizeof(*to)), n);
	assert_true(guest_until(g, any_frame, &want, 5000));
	for (unsigned i = 0; i < g->n; i++) {
		const uint8_t *d = g->queue[i].data;
		size_t off = (rd16(d + 20) & 0x1fff) * 8U, len = rd16(d + 16) - 20U;

		assert_true(g->queue[i].len <= 1514);
		assert_int_equal(csum_fold(csum_add(0, d + 14, 20)), 0xffff);
		assert_int_equal(!!(rd16(d + 20) & 0x2000), off + len < n + 8);
		memcpy(in + off, d + 34, len);
		seen += len;
	}
	assert_int_equal(seen, n + 8);
	assert_memory_equal(in + 8, pattern, n);
}

static void test_fragments(void **state)
{
	struct guest *g = must("");
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	uint16_t port = 0;
	int fd = host_socket(SOCK_DGRAM, &port);
	char buf[8];

	(void)state;
	introduce(g);
	assert_true(guest_send(g, frame, build_udp(frame, HOST_IP, 777, port, "hello", 5)));
	assert_true(guest_until(g, readable, &fd, 5000));
	assert_int_equal(recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len), 5);
	large_datagram(g, fd, &from, 4000);
	large_datagram(g, fd, &from, 32000);
	large_datagram(g, fd, &from, 60000); /* libslirp fragments this one itself, too coarsely */
	close(fd);
	guest_free(g);
}

struct talk {
	uint16_t port;
	unsigned want;
};

/* The guest never falls silent while it waits: what it says must not put off what libslirp has to do. */
static bool all_came_while_talking(struct guest *g, void *arg)
{
	const struct talk *t = arg;
	unsigned n = 0;

	for (unsigned i = 0; i < g->n; i++)
		n += rd16(g->queue[i].data + 12) == 0x0800;
	if (n < t->want)
		(void)guest_send(g, frame, build_udp(frame, HOST_IP, 777, t->port, "noise", 5));
	return n >= t->want;
}

/* Datagrams wait in libslirp until it knows the guest's address, and go as soon as the guest has told it. */
static void test_address_told_while_talking(void **state)
{
	struct guest *g = must("");
	struct talk t = { .want = 8 };
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	int fd = host_socket(SOCK_DGRAM, &t.port);
	unsigned one = 1;
	char buf[8];

	(void)state;
	assert_true(guest_send(g, frame, build_udp(frame, HOST_IP, 777, t.port, "hello", 5)));
	assert_true(guest_until(g, readable, &fd, 30000));
	assert_int_equal(recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len), 5);
	for (unsigned i = 0; i < t.want; i++)
		assert_int_equal(sendto(fd, pattern, 100 + i, 0, (const struct sockaddr *)&from, sizeof(from)),
				 100 + i);
	assert_true(guest_until(g, any_frame, &one, 30000));
	assert_int_equal(rd16(g->queue[0].data + 12), 0x0806);
	guest_clear(g);
	assert_true(guest_send(g, frame, build_arp(frame, HOST_IP)));
	assert_true(guest_until(g, all_came_while_talking, &t, 30000));
	close(fd);
	guest_free(g);
}

/* ---- the frame check, as the account shows it ---- */

static void test_prefilter(void **state)
{
	struct guest *g = must("");
	size_t len;

	(void)state;
	introduce(g);
	len = build_eth(frame, 0x88f8);
	assert_true(guest_send(g, frame, len + 46));
	len = build_ping(frame, HOST_IP, 1, 56);
	frame[20] = 0x20; /* more fragments */
	assert_true(guest_send(g, frame, len));
	guest_run(g, 100);
	net_quiesce(&g->c);
	assert_int_equal(counter_get(&g->user->rx.dropped[NET_DROP_PREFILTER]), 2);
	assert_int_equal(counter_get(&g->user->rx.out), 1);
	assert_int_equal(counter_get(&g->user->rx.in), 3);
	assert_int_equal(counter_get(&g->user->rx.held), 0);
	net_start(&g->c);
	guest_free(g);
}

/*
 * 20,000 frames of noise with true headers in front: whatever it does to libslirp, the account is exact and it goes on.
 */
static void test_noise(void **state)
{
	struct guest *g = must("");
	unsigned seed = 7;

	(void)state;
	introduce(g);
	for (unsigned i = 0; i < 20000; i++) {
		size_t len = 14 + (size_t)(rand_r(&seed) % 200);

		for (size_t k = 0; k < len; k++)
			frame[k] = (uint8_t)rand_r(&seed);
		switch (i % 5) {
		case 0:
			build_ip(frame, 17, HOST_IP, len > 34 ? len - 34 : 0);
			break;
		case 1:
			build_ip(frame, 6, HOST_IP, len > 34 ? len - 34 : 0);
			break;
		case 2:
			build_ip(frame, 1, HOST_IP, len > 34 ? len - 34 : 0);
			break;
		case 3:
			build_eth(frame, 0x86dd);
			frame[14] = 0x60;
			frame[20] = (uint8_t[]){ 6, 17, 58, 0, 44 }[rand_r(&seed) % 5];
			frame[18] = 0;
			frame[19] = (uint8_t)(len > 54 ? len - 54 : 0);
			break;
		default:
			build_eth(frame, 0x0806);
		}
		if (!guest_send(g, frame, len))
			guest_run(g, 1);
		if (i % 64 == 0) {
			guest_run(g, 0);
			guest_clear(g);
		}
	}
	guest_run(g, 200);
	guest_clear(g);
	introduce(g);
	guest_free(g);
}

/* ---- too much of something ---- */

static void assert_alive(struct guest *g)
{
	bool answered = false;

	guest_clear(g);
	assert_true(guest_send(g, frame, build_ping(frame, HOST_IP, 1, 56)));
	for (unsigned i = 0; i < 1000 && !answered; i++) { /* there may be much else in the way */
		guest_run(g, 5);
		answered = find_ipv4(g, 1, 0) != NULL;
		guest_clear(g);
	}
	assert_true(answered);
	assert_int_equal(restarts(g), 0);
}

static long resident_kib(int pid)
{
	char path[64], line[200];
	long kib = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		sscanf(line, "VmRSS: %ld", &kib);
	fclose(f);
	return kib;
}

/* More connections than libslirp may have descriptors: some are refused, it lives on, and its memory is bounded. */
static void test_many_flows(void **state)
{
	struct guest *g = must("");
	uint16_t tcp = 0, udp = 0;
	int listener = host_socket(SOCK_STREAM, &tcp), fd = host_socket(SOCK_DGRAM, &udp);

	(void)state;
	listen(listener, 4096);
	introduce(g);
	for (unsigned i = 0; i < 4000; i++) {
		struct tcp t = { HOST_IP, (uint16_t)(10000 + i), tcp, 1000, 0 };

		while (!guest_send(g, frame, build_tcp(frame, &t, SYN, 1460, NULL, 0)))
			guest_run(g, 1);
		while (!guest_send(g, frame, build_udp(frame, HOST_IP, (uint16_t)(20000 + i), udp, "x", 1)))
			guest_run(g, 1);
		if (i % 16 == 0) {
			guest_run(g, 1);
			guest_clear(g);
		}
	}
	guest_run(g, 300);
	assert_alive(g);
#if !SANITIZED /* which have their own idea of memory */
	assert_true(resident_kib(helper_pid(g)) < 64 * 1024);
#else
	(void)resident_kib;
#endif
	close(fd);
	close(listener);
	guest_free(g);
}

/* libslirp once aborted on a request for an address that is not its to give. */
static void test_dhcp_foreign(void **state)
{
	static const uint32_t wanted[] = { 0x01020304, HOST_IP, DNS_IP, 0x0a0002ff, 0xffffffff, 0x0a00021f };
	struct guest *g = must("");

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(wanted); i++) {
		struct got *got;

		guest_clear(g);
		assert_true(guest_send(g, frame, build_dhcp(frame, 3, wanted[i])));
		got = wait_ipv4(g, 17, 68);
		if (got)
			assert_int_equal(dhcp_option(got, 53)[1], 6); /* NAK */
	}
	for (unsigned i = 0; i < 5000; i++) { /* a storm, of which most have an address of their own */
		size_t len = build_dhcp(frame, 1, 0);

		frame[42 + 32] = (uint8_t)(i >> 8);
		frame[42 + 33] = (uint8_t)i;
		while (!guest_send(g, frame, len))
			guest_run(g, 1);
		if (i % 64 == 0) {
			guest_run(g, 1);
			guest_clear(g);
		}
	}
	introduce(g);
	assert_alive(g);
	guest_free(g);
}

/* ---- the name server ---- */

static bool write_resolv(const char *server)
{
	FILE *f = fopen("/etc/resolv.new", "w");

	if (!f)
		return false;
	fprintf(f, "nameserver %s\n", server);
	return !fclose(f) && !rename("/etc/resolv.new", "/etc/resolv.conf");
}

static int name_server(const char *addr)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(53) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	inet_pton(AF_INET, addr, &a.sin_addr);
	return bind(fd, (struct sockaddr *)&a, sizeof(a)) ? -1 : fd;
}

static bool query_arrives(struct guest *g, int fd)
{
	/* Who asks more often than once a second is served from libslirp's cache, for as long as he does. */
	for (unsigned i = 0; i < 8; i++) {
		if (!guest_send(g, frame, build_udp(frame, DNS_IP, 1053, 53, "query", 5)))
			return false;
		if (guest_until(g, readable, &fd, 1200))
			return true;
	}
	return false;
}

static bool write_map(const char *name, unsigned id)
{
	FILE *f = fopen(name, "w");

	return f && fprintf(f, "0 %u 1", id) > 0 && !fclose(f);
}

static bool private_etc(void)
{
	unsigned uid = geteuid(), gid = getegid();
	FILE *f;

	if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET))
		return false;
	f = fopen("/proc/self/setgroups", "w");
	if (!f || fputs("deny", f) < 0 || fclose(f))
		return false;
	return write_map("/proc/self/gid_map", gid) && write_map("/proc/self/uid_map", uid) &&
	       !mount("none", "/etc", "tmpfs", 0, NULL);
}

/*
 * In a process with a private /etc and a network of its own: 1 to 9 say what failed, 77 that there is no such process.
 */
static int resolv_child(void)
{
	struct ifreq up = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int control, first, second;
	struct guest *g;
	struct error err;

	if (!private_etc())
		return 77;
	control = socket(AF_INET, SOCK_DGRAM, 0);
	if (ioctl(control, SIOCSIFFLAGS, &up) || !write_resolv("127.0.0.1"))
		return 1;
	first = name_server("127.0.0.1");
	second = name_server("127.0.0.2");
	if (first < 0 || second < 0)
		return 2;
	g = guest_new("", &err);
	if (!g)
		return 3;
	if (!query_arrives(g, first))
		return 4;
	usleep(1100000); /* libslirp compares whole seconds */
	if (!write_resolv("127.0.0.2"))
		return 5;
	return query_arrives(g, second) ? 0 : 6;
}

/* The host's name server is asked, also after it changed. */
static void test_resolv(void **state)
{
	pid_t pid = fork();
	int status;

	(void)state;
	if (!pid)
		_exit(resolv_child());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(status, 0);
}

/* ---- TFTP ---- */

static size_t build_rrq(uint8_t *f, const char *name, uint16_t port)
{
	uint8_t d[200] = { 0, 1 };
	size_t n = 2 + (size_t)snprintf((char *)d + 2, 150, "%s", name) + 1;

	n += (size_t)snprintf((char *)d + n, 40, "octet") + 1;
	return build_udp(f, HOST_IP, port, 69, d, n);
}

static void tftp_case(struct guest *g, const char *name, uint16_t port, const char *content)
{
	struct got *got;

	guest_clear(g);
	assert_true(guest_send(g, frame, build_rrq(frame, name, port)));
	got = wait_ipv4(g, 17, port);
	assert_non_null(got);
	assert_int_equal(rd16(got->data + 42), content ? 3 : 5); /* DATA, ERROR */
	if (content)
		assert_memory_equal(got->data + 46, content, strlen(content));
}

static void make_file(const char *path, const char *content)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(content, f);
	fclose(f);
	assert_int_equal(chmod(path, 0644), 0);
}

static void test_tftp(void **state)
{
	char dir[] = "/tmp/vwire-tftp.XXXXXX", path[100], options[100];
	struct guest *g;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chmod(dir, 0755), 0);
	snprintf(path, sizeof(path), "%s/boot", dir);
	make_file(path, "kernel");
	snprintf(path, sizeof(path), "%s/link", dir);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	snprintf(options, sizeof(options), "tftp=%s", dir);
	g = must(options);
	introduce(g);
	tftp_case(g, "boot", 1001, "kernel");
	tftp_case(g, "/boot", 1002, "kernel");
	tftp_case(g, "../../etc/passwd", 1003, NULL);
	tftp_case(g, "link", 1004, NULL);
	guest_free(g);
	unlink(path);
	snprintf(path, sizeof(path), "%s/boot", dir);
	unlink(path);
	rmdir(dir);
}

/* ---- commands ---- */

/* Say hello to a command and finish; the answer must be `want`. */
static void say_hello(struct guest *g, struct tcp *t)
{
	assert_true(guest_send(g, frame, build_tcp(frame, t, ACK | PSH, 0, "hello\n", 6)));
	t->seq += 6;
	assert_true(guest_send(g, frame, build_tcp(frame, t, ACK | FIN, 0, NULL, 0)));
}

static void hear(struct guest *g, struct tcp *t, const char *want)
{
	char text[8] = "";

	while (!*text) {
		struct got *got = wait_tcp(g, t);

		assert_non_null(got);
		if (got->len > 54)
			memcpy(text, got->data + 54, MIN(got->len - 54, sizeof(text) - 1));
		drop_got(g, got);
	}
	assert_string_equal(text, want);
}

static void test_guestfwd(void **state)
{
	struct guest *g =
		must("guestfwd=tcp:10.0.2.100:1234-cmd:tr a-z A-Z,guestfwd=tcp:10.0.2.101:1234-cmd:tr a-z n-za-m");

	(void)state;
	introduce(g);
	for (uint16_t i = 0; i < 3; i++) {
		struct tcp t = { 0x0a000264, 40010 + i, 1234, 1000, 0 }, u = { 0x0a000265, 40020 + i, 1234, 1000, 0 };

		connect_out(g, &t);
		connect_out(g, &u);
		say_hello(g, &u);
		say_hello(g, &t);
		hear(g, &t, "HELLO\n");
		hear(g, &u, "uryyb\n");
	}
	guest_free(g);
}

/* ---- death ---- */

static void test_kill(void **state)
{
	uint16_t port = free_port(SOCK_STREAM);
	bool up = true, down = false;
	char options[64];
	struct guest *g;

	(void)state;
	snprintf(options, sizeof(options), "hostfwd=tcp:127.0.0.1:%u-:80", port);
	g = must(options);
	hostfwd_tcp(g, port);
	for (unsigned i = 0; i < 3; i++) {
		int pid = helper_pid(g);

		for (unsigned k = 0; k < 40; k++)
			assert_true(guest_send(g, frame, build_ping(frame, HOST_IP, (uint16_t)k, 1000)));
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_true(guest_until(g, link_is, &down, 1000));
		assert_true(guest_send(g, frame, build_ping(frame, HOST_IP, 1, 56))); /* taken, dropped: link-down */
		assert_true(guest_until(g, link_is, &up, 5000));
		assert_true(helper_pid(g) != pid);
		assert_int_equal(restarts(g), i + 1);
		guest_clear(g);
		hostfwd_tcp(g, port);
	}
	guest_free(g);
}

static bool room_again(struct guest *g, void *arg)
{
	return g->room_wakes > *(unsigned *)arg;
}

static void test_stop(void **state)
{
	struct guest *g = must("");
	unsigned sent = 0, wakes;
	int pid;

	(void)state;
	introduce(g);
	pid = helper_pid(g);
	kill(pid, SIGSTOP);
	while (guest_send(g, frame, build_ping(frame, HOST_IP, (uint16_t)sent, 1000)) && sent < 100000)
		sent++;
	assert_in_range(sent, 100, 2000);
	guest_run(g, 50);
	assert_true(g->link);
	wakes = g->room_wakes;
	g->full = true; /* replies would fill our queue */
	kill(pid, SIGCONT);
	assert_true(guest_until(g, room_again, &wakes, 5000));
	g->full = false;
	for (unsigned i = 0; i < 20; i++) {
		guest_clear(g);
		guest_run(g, 5);
	}
	guest_clear(g);
	introduce(g);
	guest_free(g);
}

static void stop_helper(pid_t pid)
{
	siginfo_t info;

	kill(pid, SIGSTOP);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WSTOPPED | WNOWAIT), 0);
}

/* Somebody stops it while frames wait: the link is down until it continues. Nobody is killed for that. */
static void test_stopped_while_frames_wait(void **state)
{
	struct guest *g = must("");
	bool up = true, down = false;
	int pid;

	(void)state;
	introduce(g);
	pid = helper_pid(g);
	for (uint16_t round = 0; round < 2; round++) {
		stop_helper(pid);
		for (uint16_t i = 0; i < 3; i++)
			assert_true(guest_send(g, frame, build_ping(frame, HOST_IP, i, 100)));
		assert_int_equal(counter_get(&g->user->rx.held), 3);
		assert_true(guest_until(g, link_is, &down, 30000));
		guest_run(g, 1500); /* it is looked at again and again */
		assert_false(g->link);
		assert_true(guest_send(g, frame, build_ping(frame, HOST_IP, 3, 100)));
		assert_int_equal(counter_get(&g->c.tx.dropped[NET_DROP_LINK_DOWN]), round + 1);
		kill(pid, SIGCONT);
		assert_true(guest_until(g, link_is, &up, 30000));
		assert_int_equal(helper_pid(g), pid);
		assert_int_equal(counter_get(&g->user->rx.held), 0);
		guest_run(g, 20);
		guest_clear(g);
		introduce(g);
	}
	/* It dies while it is stopped: the link is down once, and up with the next one. */
	stop_helper(pid);
	assert_true(guest_send(g, frame, build_ping(frame, HOST_IP, 1, 100)));
	assert_true(guest_until(g, link_is, &down, 30000));
	kill(pid, SIGKILL);
	assert_true(guest_until(g, link_is, &up, 30000));
	assert_int_not_equal(helper_pid(g), pid);
	guest_clear(g);
	introduce(g);
	guest_free(g);
}

/* The guest takes nothing for a while: the data waits in the host's sockets, none is lost. */
static void test_back_pressure(void **state)
{
	struct guest *g = must("");
	struct tcp t;
	int fd;

	(void)state;
	fd = connect_to_host(g, &t);
	g->full = true;
	for (unsigned i = 0; i < 2000; i++) {
		if (!guest_send(g, frame, build_ping(frame, HOST_IP, (uint16_t)i, 1000)))
			guest_run(g, 1);
	}
	guest_run(g, 100);
	g->full = false;
	for (unsigned i = 0; i < 20; i++) {
		guest_clear(g);
		guest_run(g, 5);
	}
	guest_clear(g);
	introduce(g);
	receive_stream(g, &t, fd, 100000);
	close(fd);
	guest_free(g);
}

static int setup(void **state)
{
	(void)state;
	log_init("test", LOG_ERR);
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (uint8_t)(i * 2654435761U >> 13);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_dhcp, guest_teardown),
		cmocka_unit_test_teardown(test_addresses, guest_teardown),
		cmocka_unit_test_teardown(test_ping, guest_teardown),
		cmocka_unit_test_teardown(test_ipv6, guest_teardown),
		cmocka_unit_test_teardown(test_tcp_out, guest_teardown),
		cmocka_unit_test_teardown(test_tcp_lowered, guest_teardown),
		cmocka_unit_test_teardown(test_tcp_urgent, guest_teardown),
		cmocka_unit_test_teardown(test_hostfwd, guest_teardown),
		cmocka_unit_test_teardown(test_hostfwd_at_run_time, guest_teardown),
		cmocka_unit_test_teardown(test_any_port, guest_teardown),
		cmocka_unit_test_teardown(test_port_in_use, guest_teardown),
		cmocka_unit_test_teardown(test_restrict, guest_teardown),
		cmocka_unit_test_teardown(test_inet6, guest_teardown),
		cmocka_unit_test_teardown(test_fragments, guest_teardown),
		cmocka_unit_test_teardown(test_address_told_while_talking, guest_teardown),
		cmocka_unit_test_teardown(test_prefilter, guest_teardown),
		cmocka_unit_test_teardown(test_noise, guest_teardown),
		cmocka_unit_test_teardown(test_many_flows, guest_teardown),
		cmocka_unit_test_teardown(test_dhcp_foreign, guest_teardown),
		cmocka_unit_test(test_resolv),
		cmocka_unit_test_teardown(test_tftp, guest_teardown),
		cmocka_unit_test_teardown(test_guestfwd, guest_teardown),
		cmocka_unit_test_teardown(test_kill, guest_teardown),
		cmocka_unit_test_teardown(test_stop, guest_teardown),
		cmocka_unit_test_teardown(test_stopped_while_frames_wait, guest_teardown),
		cmocka_unit_test_teardown(test_back_pressure, guest_teardown),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
