/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * load: see load.h
 */
#include "load.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util.h"

#define PAYLOAD	       64	   /* bytes of a datagram */
#define CHUNK	       (128 << 10) /* bytes of a stream's write */
#define WARM_UP_TRIPS  20	   /* not counted */
#define WARM_UP_BURSTS 2
#define LOST_MAX       20 /* then a test gives up */
#define TRIPS_MAX      (1 << 20)

struct run {
	struct bench *bench;
	uint64_t n;	/* the test's first argument */
	unsigned burst; /* its second */
	uint64_t want, done, lost;
	uint64_t begin, end; /* ns */
	struct sample before, after;
};

static uint64_t trip_ns[TRIPS_MAX];
static unsigned trips;
static char buf[256 << 10];

/* The warm-up is over: what is counted begins here. The guest was asked before it, since to ask is traffic too. */
static void begin_count(struct run *r)
{
	sample_host(&r->before);
	r->done = 0;
	r->lost = 0;
	trips = 0;
	r->begin = now_ns();
}

static void end_count(struct run *r)
{
	r->end = now_ns();
	sample_host(&r->after);
}

static void count_trip(struct run *r, uint64_t ns)
{
	if (trips < TRIPS_MAX)
		trip_ns[trips++] = ns;
	r->done++;
}

/* --- round trips ------------------------------------------------------------------------------------------------ */

struct trip {
	int fd;
	struct sockaddr_in guest;
};

static uint16_t checksum(const void *data, size_t size)
{
	const uint16_t *words = data;
	uint32_t sum = 0;

	for (size_t i = 0; i < size / 2; i++)
		sum += words[i];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* One trip; 0 if the answer came. */
static int trip_icmp(struct trip *t, uint64_t sequence)
{
	struct {
		struct icmphdr head;
		char data[PAYLOAD - sizeof(struct icmphdr)];
	} request = { .head = { .type = ICMP_ECHO } };

	request.head.un.echo.id = 0x4242;
	request.head.un.echo.sequence = htons(sequence);
	request.head.checksum = checksum(&request, sizeof(request));
	send(t->fd, &request, sizeof(request), 0);
	for (;;) {
		struct icmphdr answer;

		if (recv(t->fd, buf, sizeof(buf), 0) < 0)
			return -1;
		memcpy(&answer, buf + (buf[0] & 15) * 4, sizeof(answer)); /* behind the IP header */
		if (answer.type == ICMP_ECHOREPLY && answer.un.echo.id == request.head.un.echo.id &&
		    answer.un.echo.sequence == request.head.un.echo.sequence)
			return 0;
	}
}

static void send_to_guest(struct trip *t, const void *data, size_t size)
{
	sendto(t->fd, data, size, 0, (struct sockaddr *)&t->guest, sizeof(t->guest));
}

static int trip_udp(struct trip *t, uint64_t sequence)
{
	char request[PAYLOAD] = "E";

	memcpy(request + 8, &sequence, sizeof(sequence));
	send_to_guest(t, request, sizeof(request));
	do {
		if (recv(t->fd, buf, sizeof(buf), 0) < 0)
			return -1;
	} while (memcmp(buf + 8, &sequence, sizeof(sequence)) != 0);
	return 0;
}

static int trip_tcp(struct trip *t, uint64_t sequence)
{
	char c = (char)sequence;

	return write_all(t->fd, &c, 1) || read_all(t->fd, &c, 1) ? -1 : 0;
}

static void make_trips(struct run *r, struct trip *t, int (*trip)(struct trip *t, uint64_t sequence))
{
	r->want = r->n;
	for (uint64_t i = 0; i < r->n + WARM_UP_TRIPS && r->lost < LOST_MAX; i++) {
		uint64_t begin;

		if (i == WARM_UP_TRIPS)
			begin_count(r);
		begin = now_ns();
		if (trip(t, i))
			r->lost++;
		else
			count_trip(r, now_ns() - begin);
	}
	end_count(r);
}

static void test_icmp(struct run *r)
{
	struct trip t = { .guest = { .sin_family = AF_INET } };

	t.fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
	inet_aton(r->bench->guest, &t.guest.sin_addr);
	receive_timeout(t.fd, 1000);
	if (t.fd < 0 || connect(t.fd, (struct sockaddr *)&t.guest, sizeof(t.guest)))
		die("icmp socket");
	make_trips(r, &t, trip_icmp);
	close(t.fd);
}

/* Where the agent's datagrams come from: it says hello first. */
static void find_guest(struct bench *b, struct trip *t)
{
	char hello[2048];
	socklen_t size;

	t->fd = b->datagrams;
	receive_timeout(t->fd, 3000);
	do {
		size = sizeof(t->guest);
	} while (recvfrom(t->fd, hello, sizeof(hello), 0, (struct sockaddr *)&t->guest, &size) > 0 && hello[0] != 'H');
}

static void test_urr(struct run *r)
{
	struct trip t = { 0 };

	put_line(r->bench->control, "UDP echo");
	find_guest(r->bench, &t);
	receive_timeout(t.fd, 1000);
	make_trips(r, &t, trip_udp);
	send_to_guest(&t, "Q", 1);
}

static void test_trr(struct run *r)
{
	struct trip t = { 0 };

	put_line(r->bench->control, "ECHO");
	t.fd = accept_from(r->bench->listener);
	make_trips(r, &t, trip_tcp);
	close(t.fd);
}

/* --- bursts and bulk -------------------------------------------------------------------------------------------- */

static void burst_to_guest(struct run *r, struct trip *t)
{
	static const char datagram[PAYLOAD] = "D";

	for (unsigned i = 0; i < r->burst; i++)
		send_to_guest(t, datagram, sizeof(datagram));
	if (recv(t->fd, buf, sizeof(buf), 0) > 0) {
		r->done += r->burst;
		return;
	}
	r->lost++;
	send_to_guest(t, "R", 1);
	recv(t->fd, buf, sizeof(buf), 0);
}

static void burst_to_host(struct run *r, struct trip *t)
{
	static const char request[PAYLOAD] = "D";

	send_to_guest(t, request, sizeof(request));
	for (unsigned i = 0; i < r->burst; i++) {
		if (recv(t->fd, buf, sizeof(buf), 0) <= 0) {
			r->lost++;
			break;
		}
		r->done++;
	}
}

static void make_bursts(struct run *r, const char *way, void (*burst)(struct run *r, struct trip *t))
{
	struct trip t = { 0 };

	r->want = r->n * r->burst;
	put_line(r->bench->control, "UDP %s %u", way, r->burst);
	find_guest(r->bench, &t);
	receive_timeout(t.fd, 500);
	for (uint64_t i = 0; i < r->n + WARM_UP_BURSTS && r->lost < LOST_MAX; i++) {
		if (i == WARM_UP_BURSTS)
			begin_count(r);
		burst(r, &t);
	}
	end_count(r);
	send_to_guest(&t, "Q", 1);
}

static void test_ubh(struct run *r)
{
	make_bursts(r, "sink", burst_to_guest);
}

static void test_ubg(struct run *r)
{
	make_bursts(r, "source", burst_to_host);
}

static uint64_t drain(int fd)
{
	uint64_t sum = 0;
	ssize_t got;

	while ((got = read(fd, buf, sizeof(buf))) > 0)
		sum += got;
	return sum;
}

static void test_th(struct run *r)
{
	int fd;

	r->want = r->n;
	put_line(r->bench->control, "SINK");
	fd = accept_from(r->bench->listener);
	begin_count(r);
	while (r->done < r->n) {
		size_t size = r->n - r->done < CHUNK ? r->n - r->done : CHUNK;

		if (write_all(fd, buf, size))
			break;
		r->done += size;
	}
	shutdown(fd, SHUT_WR);
	drain(fd); /* the guest closes when it has read all */
	end_count(r);
	close(fd);
}

static void test_tg(struct run *r)
{
	int fd;

	r->want = r->n;
	put_line(r->bench->control, "SOURCE %" PRIu64, r->n);
	fd = accept_from(r->bench->listener);
	begin_count(r);
	r->done = drain(fd);
	end_count(r);
	close(fd);
}

static void test_idle(struct run *r)
{
	begin_count(r);
	usleep(r->n * 1000);
	end_count(r);
	r->want = r->done = 1;
}

/* --- one test --------------------------------------------------------------------------------------------------- */

static const struct test {
	const char *name;
	void (*run)(struct run *r);
	int by_agent; /* the agent answers when it is done */
} tests[] = {
	{ "icmp", test_icmp, 0 }, { "urr", test_urr, 1 }, { "trr", test_trr, 1 }, { "ubh", test_ubh, 1 },
	{ "ubg", test_ubg, 1 },	  { "th", test_th, 1 },	  { "tg", test_tg, 1 },	  { "idle", test_idle, 0 },
};

void ask_guest(struct bench *b, struct guest_counters *g)
{
	char line[512];

	memset(g, 0, sizeof(*g));
	put_line(b->control, "COUNTERS");
	if (get_line(b->control, line, sizeof(line)) > 0)
		sscanf(line, "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64, &g->rx_packets,
		       &g->tx_packets, &g->rx_bytes, &g->tx_bytes, &g->drops, &g->interrupts);
}

static int by_time(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void print_trips(void)
{
	uint64_t sum = 0;

	if (!trips)
		return;
	qsort(trip_ns, trips, sizeof(trip_ns[0]), by_time);
	for (unsigned i = 0; i < trips; i++)
		sum += trip_ns[i];
	printf(" trip_avg=%" PRIu64 " trip_p50=%" PRIu64 " trip_p99=%" PRIu64, sum / trips, trip_ns[trips / 2],
	       trip_ns[trips * 99ull / 100]);
}

static void print_run(const char *name, struct run *r)
{
	const struct sample *a = &r->before, *b = &r->after;

	printf("R tag=%s test=%s", r->bench->tag, name);
	if (r->bench->flow)
		printf(".%u", r->bench->flow);
	printf(" want=%" PRIu64 " done=%" PRIu64 " lost=%" PRIu64 " begin=%" PRIu64, r->want, r->done, r->lost,
	       r->begin);
	printf(" drops=%" PRIu64, b->guest.drops - a->guest.drops + b->tap_drops - a->tap_drops);
	printf(" ns=%" PRIu64 " idle_ns=%" PRIu64, r->end - r->begin, b->idle_ns - a->idle_ns);
	print_trips();
	printf(" guest_rx=%" PRIu64 " guest_tx=%" PRIu64, b->guest.rx_packets - a->guest.rx_packets,
	       b->guest.tx_packets - a->guest.tx_packets);
	printf(" guest_interrupts=%" PRIu64, b->guest.interrupts - a->guest.interrupts);
	for (unsigned i = 0; i < KVM_COUNTERS; i++)
		printf(" %s=%" PRIu64, kvm_counter_names[i], b->kvm[i] - a->kvm[i]);
	printf(" context_switches=%" PRIu64 "\n", b->context_switches - a->context_switches);
	fflush(stdout);
}

int run_test(struct bench *b, const char *spec)
{
	struct run r = { .bench = b, .burst = 64 };
	char name[16], answer[512];

	if (sscanf(spec, "%15[a-z]:%" SCNu64 ":%u", name, &r.n, &r.burst) < 2)
		return -1;
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		if (strcmp(tests[i].name, name) != 0)
			continue;
		trips = 0;
		ask_guest(b, &r.before.guest);
		tests[i].run(&r);
		if (tests[i].by_agent && get_line(b->control, answer, sizeof(answer)) < 0)
			return -1;
		ask_guest(b, &r.after.guest);
		print_run(name, &r);
		return 0;
	}
	return -1;
}
