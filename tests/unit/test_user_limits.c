/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest that makes libslirp use memory and sockets until there are none: its flows are refused, or vwire-user ends at
 * its limit and another takes its place; nobody else pays for it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "unit/unit.h"
#include "unit/userguest.h"

#define DATA_LIMIT_KIB (768L * 1024) /* of vwire-user, as docs/user.md says */

static uint8_t frame[70000];

static struct guest *must(const char *options)
{
	struct error err = { "" };
	struct guest *g = guest_new(options, &err);

	if (!g)
		print_error("%s\n", err.msg);
	assert_non_null(g);
	return g;
}

static json_int_t fact(struct guest *g, const char *name)
{
	json_t *o = net_describe(g->user);
	json_int_t n = json_integer_value(json_object_get(o, name));

	json_decref(o);
	return n;
}

/* The link is up, by another than that one. */
static bool is_another(struct guest *g, void *arg)
{
	return g->link && fact(g, "helper") != *(int *)arg;
}

static bool ponged(struct guest *g, void *arg)
{
	(void)arg;
	return find_ipv4(g, 1, 0) != NULL;
}

/* It answers, by whatever is between. */
static bool answers(struct guest *g)
{
	for (unsigned i = 0; i < 100; i++) {
		guest_clear(g);
		guest_send(g, frame, build_arp(frame, HOST_IP)); /* it learns our address by that */
		guest_send(g, frame, build_ping(frame, HOST_IP, 1, 56));
		if (guest_until(g, ponged, NULL, 200))
			return true;
	}
	return false;
}

/* KiB of /proc/PID/status, or -1: it is gone. */
static long status_kib(int pid, const char *name)
{
	char path[64], line[200];
	size_t len = strlen(name);
	long kib = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, name, len) && line[len] == ':')
			kib = atol(line + len + 1);
	}
	if (f)
		fclose(f);
	return kib;
}

static int host_listener(uint16_t *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 4096), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	*port = ntohs(a.sin_port);
	return fd;
}

/* Not waited for. */
static int dial(uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				 .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	assert_true(connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0 || errno == EINPROGRESS);
	return fd;
}

static bool segment_came(struct guest *g, void *arg)
{
	return find_ipv4(g, 6, *(uint16_t *)arg) != NULL;
}

static bool connect_out(struct guest *g, struct tcp *t)
{
	struct got *got;

	guest_clear(g);
	if (!guest_send(g, frame, build_tcp(frame, t, SYN, 1460, NULL, 0)) ||
	    !guest_until(g, segment_came, &t->port, 5000))
		return false;
	got = find_ipv4(g, 6, t->port);
	if ((got->data[47] & (SYN | ACK | RST)) != (SYN | ACK))
		return false;
	t->seq++;
	t->ack = rd32(got->data + 38) + 1;
	return guest_send(g, frame, build_tcp(frame, t, ACK, 0, NULL, 0));
}

#define HOLES 500

/* Segments of a byte with a hole before each: all of them have to be kept. False: the link went. */
static bool send_holes(struct guest *g, const struct tcp *t, long *most)
{
	int pid = (int)fact(g, "helper");

	for (unsigned i = 1; i < 2 * HOLES; i += 2) {
		struct tcp s = *t;

		s.seq += i;
		while (!guest_send(g, frame, build_tcp(frame, &s, ACK, 0, "x", 1)))
			guest_run(g, 1);
		if (i % 64 == 1) {
			guest_run(g, 0);
			guest_clear(g);
			*most = MAX(*most, status_kib(pid, "VmData"));
			if (!g->link)
				return false;
		}
	}
	return true;
}

static void test_memory(void **state)
{
	struct guest *g = must("");
	uint16_t port;
	int listener = host_listener(&port);

	(void)state;
	if (SANITIZED) /* which have their own idea of memory */
		skip();
	for (unsigned round = 0; round < 2; round++) {
		int pid = (int)fact(g, "helper");
		bool lives = true;
		long most = 0;

		assert_true(answers(g));
		for (uint16_t i = 0; lives && i < 200; i++) {
			struct tcp t = { HOST_IP, (uint16_t)(40000 + i), port, 1000, 0 };

			lives = connect_out(g, &t) && send_holes(g, &t, &most);
		}
		assert_false(lives);
		assert_in_range(most, DATA_LIMIT_KIB / 2, DATA_LIMIT_KIB);
		assert_true(guest_until(g, is_another, &pid, 30000));
		assert_int_equal(fact(g, "restarts"), round + 1);
	}
	assert_true(answers(g));
	close(listener);
	guest_free(g);
}

#define FLOWS	   3000
#define FIRST_PORT 10000
#define LISTENERS  4	/* that a kernel holds so many connections for */
#define MOST_FLOWS 2064 /* there are descriptors for: 1,024, as many that forwards may need, and a few */

static uint32_t to_acknowledge[FLOWS]; /* 0: not connected */
static unsigned connected, refused;

static void look_at_answers(struct guest *g)
{
	for (unsigned i = 0; i < g->n; i++) {
		const struct got *got = &g->queue[i];
		unsigned flow = got->len >= 54 ? rd16(got->data + 36) - FIRST_PORT : FLOWS;

		if (is_ipv4(got, 6) && flow < FLOWS && (got->data[47] & (SYN | RST)) == SYN) {
			connected += !to_acknowledge[flow];
			to_acknowledge[flow] = rd32(got->data + 38) + 1;
		}
		refused += is_ipv4(got, 6) && got->data[47] & RST;
		refused += is_ipv4(got, 1) && got->data[34] == 3; /* unreachable */
	}
	guest_clear(g);
}

static void send_to(struct guest *g, unsigned flow, uint16_t port, uint8_t flags)
{
	struct tcp t = { HOST_IP, (uint16_t)(FIRST_PORT + flow), port, 1000, 0 };

	if (!(flags & SYN)) {
		t.seq++;
		t.ack = to_acknowledge[flow];
	}
	while (!guest_send(g, frame, build_tcp(frame, &t, flags, flags & SYN ? 1460 : 0, NULL, 0)))
		guest_run(g, 1);
}

static bool all_answered(struct guest *g, void *arg)
{
	look_at_answers(g);
	return connected + refused >= *(unsigned *)arg;
}

static bool few_sockets(struct guest *g, void *arg)
{
	(void)arg;
	look_at_answers(g);
	return fact(g, "sockets") < 10;
}

/* Flows as long as there are descriptors, the next ones are refused and told so; when some end others have room. */
static void test_sockets(void **state)
{
	struct guest *g = must("");
	uint16_t port[LISTENERS];
	int listener[LISTENERS];
	struct tcp one_more = { HOST_IP, 50000, 0, 1000, 0 };

	(void)state;
	for (unsigned i = 0; i < LISTENERS; i++)
		listener[i] = host_listener(&port[i]);
	assert_true(answers(g));
	guest_clear(g);
	for (unsigned round = 0; round < 2; round++) {
		memset(to_acknowledge, 0, sizeof(to_acknowledge));
		connected = refused = 0;
		for (unsigned i = 1; i <= FLOWS; i++) {
			send_to(g, i - 1, port[i % LISTENERS], SYN);
			if (!guest_until(g, all_answered, &i, 10000))
				print_message("%u: %u %u sockets %d\n", i, connected, refused, (int)fact(g, "sockets"));
			assert_true(guest_until(g, all_answered, &i, 10000));
		}
		assert_in_range(connected, 500, MOST_FLOWS);
		assert_in_range(fact(g, "sockets"), connected, MOST_FLOWS);
		assert_int_equal(fact(g, "restarts"), 0);
		assert_true(answers(g));
		for (unsigned i = 0; i < FLOWS; i++) {
			if (to_acknowledge[i])
				send_to(g, i, port[(i + 1) % LISTENERS], RST | ACK);
		}
		assert_true(guest_until(g, few_sockets, NULL, 30000));
	}
	one_more.remote_port = port[0];
	assert_true(connect_out(g, &one_more));
	assert_int_equal(fact(g, "restarts"), 0);
	for (unsigned i = 0; i < LISTENERS; i++)
		close(listener[i]);
	guest_free(g);
}

/* Pings and questions to the name server, each from another: bounded, and it lives on. */
static void test_pings_and_questions(void **state)
{
	static const uint8_t question[] = { 0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 'x', 0, 0, 1, 0, 1 };
	struct guest *g = must("");
	json_int_t most = 0;

	(void)state;
	assert_true(answers(g));
	for (unsigned i = 0; i < 10000; i++) {
		size_t len = build_ping(frame, HOST_IP, 1, 56);

		frame[38] = (uint8_t)(i >> 8); /* the identifier; its checksum is put right on the way */
		frame[39] = (uint8_t)i;
		while (!guest_send(g, frame, len))
			guest_run(g, 1);
		len = build_udp(frame, DNS_IP, (uint16_t)(20000 + i), 53, question, sizeof(question));
		while (!guest_send(g, frame, len))
			guest_run(g, 1);
		if (i % 16 == 0) {
			guest_run(g, 0);
			guest_clear(g);
			most = MAX(most, fact(g, "sockets"));
		}
	}
	assert_in_range(most, 500, MOST_FLOWS);
	assert_true(answers(g));
	assert_int_equal(counter_get(&g->user->rx.dropped[NET_DROP_PREFILTER]), 0);
	assert_int_equal(fact(g, "restarts"), 0);
	guest_free(g);
}

#define RULES 1000

/* So many forwards, and each leads to the guest. */
static void test_forwards(void **state)
{
	static char options[RULES * 32];
	struct guest *g;
	json_t *o, *list;
	size_t len = 0;

	(void)state;
	for (unsigned i = 0; i < RULES; i++)
		len += (size_t)snprintf(options + len, sizeof(options) - len, "%shostfwd=tcp:127.0.0.1:0-:%u",
					i ? "," : "", i + 1);
	g = must(options);
	assert_true(answers(g));
	o = net_describe(g->user);
	list = json_object_get(o, "hostfwd");
	assert_int_equal(json_array_size(list), RULES);
	for (unsigned i = 0; i < RULES; i += 111) {
		const char *port = strstr(json_string_value(json_array_get(list, i)), "(port ");
		uint16_t guest_port = (uint16_t)(i + 1);
		int fd;

		assert_non_null(port);
		fd = dial((uint16_t)atoi(port + 6));
		guest_clear(g);
		assert_true(guest_until(g, segment_came, &guest_port, 10000));
		close(fd);
	}
	json_decref(o);
	guest_free(g);
}

/* A lower limit that vwire was started with stays, and is a limit all the same. The last test: it stays here, too. */
static void test_lower_limit(void **state)
{
	struct rlimit low = { 300 * MIB, 300 * MIB };
	char path[64], line[200];
	bool kept = false;
	FILE *f;
	struct guest *g;
	json_t *o;
	bool limits = false;
	size_t i;
	json_t *layer;

	(void)state;
	if (SANITIZED)
		skip();
	assert_int_equal(setrlimit(RLIMIT_DATA, &low), 0);
	g = must("");
	assert_true(answers(g));
	snprintf(path, sizeof(path), "/proc/%d/limits", (int)fact(g, "helper"));
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		kept |= !strncmp(line, "Max data size", 13) && strstr(line, "314572800            314572800");
	fclose(f);
	assert_true(kept);
	o = net_describe(g->user);
	json_array_foreach(json_object_get(o, "layers"), i, layer) limits |=
		!strcmp(json_string_value(layer), "resource limits");
	json_decref(o);
	assert_true(limits);
	guest_free(g);
}

static int setup(void **state)
{
	(void)state;
	log_init("test", LOG_ERR);
	signal(SIGPIPE, SIG_IGN);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_memory, guest_teardown),
		cmocka_unit_test_teardown(test_sockets, guest_teardown),
		cmocka_unit_test_teardown(test_pings_and_questions, guest_teardown),
		cmocka_unit_test_teardown(test_forwards, guest_teardown),
		cmocka_unit_test_teardown(test_lower_limit, guest_teardown),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
