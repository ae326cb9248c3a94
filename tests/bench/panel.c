/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * panel: frames through one VMM without a guest, or through a row of them.
 *
 *   panel [-s BYTES] [-g] [-t SECONDS] [-w FRAMES] [-x COUNT] -a WIRE -b WIRE -- VMM ARG... [-- VMM ARG...]
 *
 * Starts the VMMs, sends frames into wire a as fast as they go, takes them from wire b, and prints one line:
 *
 *   frames N seconds S cpu_ns N instructions N lost N probes N
 *
 * cpu_ns is the time that all threads of the VMMs were on a processor, user and system; instructions is what the
 * processor counted meanwhile, -1 where it has no counter. -w is the most frames that are on their way; what does not
 * come out for half a second is lost. probes are frames that were sent before the first one came through. -g: TCP
 * frames with their segmentation left to others; the segments may come out, a frame is complete with its payload. A
 * wire is
 *
 *   pair		a stream in a socketpair, each frame with its length in front; @A@ or @B@ in an argument of a VMM is
 *			the number of its end
 *   packet:NAME	a network interface, by a packet socket with a vnet header
 *
 * -x: so many further pairs, @X0@, @X1@, ..., by which every frame has to come too.
 *
 * The second VMM is started a moment after the first, which it may connect to, and again and again if nothing comes.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/perf_event.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util.h"

#define FRAME_MAX  66000
#define HEADERS	   54 /* Ethernet, IPv4, TCP */
#define SEGMENT	   1446
#define BURST	   64
#define STREAM_BUF (256 * 1024)
#define ENDS	   16
#define VMMS	   2
#define THREADS	   64
#define READY_NS   20000000000ull
#define START_NS   300000000ull
#define AGAIN_NS   3000000000ull
#define LOST_NS	   500000000ull

struct wire {
	char *spec;
	int fd, vmm_fd; /* vmm_fd: of a pair, the VMM's end */
	bool stream;
	uint64_t received, payload; /* frames that came; bytes of segments that make no frame yet */
	size_t have, len; /* of the frame that is coming: bytes so far, with its length word, and its length */
	uint8_t word[4];
};

static size_t size = 64;
static bool segmented;
static double seconds = 1;
static uint64_t window = 512;
static struct wire a, b, extra[ENDS];
static unsigned extras;

static struct {
	char **argv;
	pid_t pid;
} vmm[VMMS];
static unsigned vmms;

static uint64_t sent, lost;

/* ---- wires ---- */

static void open_pair(struct wire *w)
{
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd) < 0)
		die("socketpair: %s", strerror(errno));
	w->fd = fd[0];
	w->vmm_fd = fd[1];
	w->stream = true;
}

static void open_packet(struct wire *w, const char *name)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(name) };
	int one = 1, buf = 64 << 20;

	w->fd = socket(AF_PACKET, SOCK_RAW, 0);
	w->vmm_fd = -1;
	at.sll_protocol = w == &b ? htons(segmented ? ETH_P_IP : 0x88b5) : 0;
	setsockopt(w->fd, SOL_SOCKET, SO_RCVBUFFORCE, &buf, sizeof(buf));
	if (!at.sll_ifindex || setsockopt(w->fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) < 0 ||
	    /* Behind the queueing discipline nobody cuts segments. */
	    (!segmented && setsockopt(w->fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one)) < 0) ||
	    bind(w->fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		die("%s: %s", w->spec, strerror(errno));
}

static void open_wire(struct wire *w)
{
	if (!strcmp(w->spec, "pair"))
		open_pair(w);
	else if (!strncmp(w->spec, "packet:", 7))
		open_packet(w, w->spec + 7);
	else
		die("%s: no such kind of wire", w->spec);
}

/* ---- the VMMs ---- */

static void put_number(char **arg, const char *name, int number)
{
	char *at = strstr(*arg, name), *text;

	if (!at)
		return;
	if (asprintf(&text, "%.*s%d%s", (int)(at - *arg), *arg, number, at + strlen(name)) < 0)
		die("no memory");
	*arg = text;
}

static void put_numbers(char **argv)
{
	char name[16];

	for (char **p = argv; *p; p++) {
		put_number(p, "@A@", a.vmm_fd);
		put_number(p, "@B@", b.vmm_fd);
		for (unsigned i = 0; i < extras; i++) {
			snprintf(name, sizeof(name), "@X%u@", i);
			put_number(p, name, extra[i].vmm_fd);
		}
	}
}

static void start_vmm(unsigned i)
{
	vmm[i].pid = fork();
	if (vmm[i].pid)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(STDERR_FILENO, STDOUT_FILENO);
	close(a.fd);
	close(b.fd);
	for (unsigned k = 0; k < extras; k++)
		close(extra[k].fd);
	execvp(vmm[i].argv[0], vmm[i].argv);
	die("%s: %s", vmm[i].argv[0], strerror(errno));
}

static void start_vmms(void)
{
	for (unsigned i = 0; i < vmms; i++) {
		if (i)
			usleep(START_NS / 1000);
		put_numbers(vmm[i].argv);
		start_vmm(i);
	}
}

static void start_again(unsigned i)
{
	kill(vmm[i].pid, SIGKILL);
	waitpid(vmm[i].pid, NULL, 0);
	start_vmm(i);
}

static void end_vmms(void)
{
	for (unsigned i = 0; i < vmms; i++)
		kill(vmm[i].pid, SIGTERM);
	for (unsigned i = 0; i < vmms; i++)
		waitpid(vmm[i].pid, NULL, 0);
}

/* ---- what they cost ---- */

struct cost {
	uint64_t ns;
	pid_t tid[THREADS];
	unsigned threads;
};

static void add_children(pid_t pid, pid_t tid, struct cost *c);

/* All threads of a process and of the processes that it started. */
static void add_process(pid_t pid, struct cost *c)
{
	char path[64];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	d = opendir(path);
	if (!d)
		return;
	while ((e = readdir(d))) {
		pid_t tid = (pid_t)atoi(e->d_name);

		if (!tid || c->threads == THREADS)
			continue;
		c->tid[c->threads++] = tid;
		add_children(pid, tid, c);
	}
	closedir(d);
}

static void add_children(pid_t pid, pid_t tid, struct cost *c)
{
	char path[64], text[512], *p, *end;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)tid);
	p = read_text(path, text, sizeof(text));
	for (long child; (child = strtol(p, &end, 10)) > 0; p = end)
		add_process((pid_t)child, c);
}

static struct cost cost_now(void)
{
	struct cost c = { 0 };
	char path[64], text[128];

	for (unsigned i = 0; i < vmms; i++)
		add_process(vmm[i].pid, &c);
	for (unsigned i = 0; i < c.threads; i++) {
		snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)c.tid[i]);
		c.ns += strtoull(read_text(path, text, sizeof(text)), NULL, 10);
	}
	return c;
}

static int open_counter(pid_t tid)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_HARDWARE,
					.size = sizeof(attr),
					.config = PERF_COUNT_HW_INSTRUCTIONS };

	return (int)syscall(SYS_perf_event_open, &attr, tid, -1, -1, 0);
}

static long long read_counters(const int *fd, unsigned n)
{
	long long sum = 0, value;

	for (unsigned i = 0; i < n; i++) {
		if (fd[i] < 0 || read(fd[i], &value, sizeof(value)) != sizeof(value))
			return -1;
		sum += value;
	}
	return sum;
}

/* ---- frames in ---- */

struct tcp_frame {
	struct virtio_net_hdr vnet;
	uint8_t bytes[FRAME_MAX];
};

static struct tcp_frame frame;
static uint8_t stream_out[STREAM_BUF];
static size_t unit, stream_len, stream_at; /* bytes of a frame with its length; of a run of frames; gone of it */

static void put16(size_t at, unsigned value)
{
	frame.bytes[at] = (uint8_t)(value >> 8);
	frame.bytes[at + 1] = (uint8_t)value;
}

static unsigned sum16(size_t at, size_t len, unsigned sum)
{
	for (size_t i = 0; i < len; i += 2)
		sum += (unsigned)frame.bytes[at + i] << 8 | frame.bytes[at + i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* A TCP frame whose checksum is of the pseudo header alone. */
static void make_segmented(void)
{
	static const uint8_t ip[] = "\x45\0\0\0\0\1\x40\0\x40\6\0\0\x0a\0\0\1\x0a\0\0\2";
	static const uint8_t tcp[] = "\0\x50\0\x5a\0\0\0\1\0\0\0\1\x50\x10\4\0\0\0\0\0";

	put16(12, ETH_P_IP);
	memcpy(frame.bytes + 14, ip, 20);
	put16(16, (unsigned)size - 14);
	put16(24, ~sum16(14, 20, 0) & 0xffff);
	memcpy(frame.bytes + 34, tcp, 20);
	put16(50, sum16(26, 8, 6 + (unsigned)size - 34));
	frame.vnet = (struct virtio_net_hdr){ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
					      .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
					      .hdr_len = HEADERS,
					      .gso_size = SEGMENT,
					      .csum_start = 34,
					      .csum_offset = 16 };
}

static void make_frames(void)
{
	uint32_t be = htonl((uint32_t)size);

	memset(frame.bytes, 0xff, 6);
	memcpy(frame.bytes + 6, "\x52\x54\0\0\0\1\x88\xb5", 8);
	if (segmented)
		make_segmented();
	unit = 4 + size;
	while (stream_len + unit <= sizeof(stream_out) && stream_len < BURST * unit) {
		memcpy(stream_out + stream_len, &be, 4);
		memcpy(stream_out + stream_len + 4, frame.bytes, size);
		stream_len += unit;
	}
}

static void send_stream(uint64_t most)
{
	size_t part = stream_at % unit, left = stream_len - stream_at;
	size_t want = (size_t)most * unit + (part ? unit - part : 0);
	ssize_t n = send(a.fd, stream_out + stream_at, left < want ? left : want, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN)
		die("the VMM does not take frames: %s", strerror(errno));
	if (n <= 0)
		return;
	/* A frame counts as sent when its first byte is. */
	sent += (stream_at + (size_t)n + unit - 1) / unit - (stream_at + unit - 1) / unit;
	stream_at = (stream_at + (size_t)n) % stream_len;
}

static void send_packets(uint64_t most)
{
	struct iovec iov = { &frame, offsetof(struct tcp_frame, bytes) + size };
	struct mmsghdr m[BURST];
	unsigned count = most < BURST ? (unsigned)most : BURST;
	int n;

	for (unsigned i = 0; i < count; i++)
		m[i] = (struct mmsghdr){ .msg_hdr = { .msg_iov = &iov, .msg_iovlen = 1 } };
	n = sendmmsg(a.fd, m, count, MSG_DONTWAIT);
	if (n > 0)
		sent += (unsigned)n;
}

/* A part of a frame has been sent. */
static bool begun(void)
{
	return a.stream && stream_at % unit;
}

/* ---- frames out ---- */

static void receive_frame(struct wire *w, size_t len)
{
	if (!segmented) {
		if (len != size)
			die("a frame of %zu bytes came, of %zu were sent", len, size);
		w->received++;
		return;
	}
	if (len <= HEADERS)
		die("a segment of %zu bytes came", len);
	w->payload += len - HEADERS;
	w->received += w->payload / (size - HEADERS);
	w->payload %= size - HEADERS;
}

static size_t take_length(struct wire *w, uint8_t byte)
{
	w->word[w->have] = byte;
	if (w->have == 3)
		w->len = (size_t)w->word[0] << 24 | (size_t)w->word[1] << 16 | (size_t)w->word[2] << 8 | w->word[3];
	return 1;
}

static void cut_stream(struct wire *w, const uint8_t *p, size_t n)
{
	size_t k;

	for (; n; p += k, n -= k) {
		if (w->have < 4) {
			k = take_length(w, *p);
		} else {
			k = 4 + w->len - w->have;
			k = k < n ? k : n;
		}
		w->have += k;
		if (w->have < 4 || w->have < 4 + w->len)
			continue;
		receive_frame(w, w->len);
		w->have = 0;
	}
}

static bool take_stream(struct wire *w)
{
	static uint8_t in[STREAM_BUF];
	ssize_t n = recv(w->fd, in, sizeof(in), MSG_DONTWAIT);

	if (n == 0)
		die("the VMM closed the connection");
	if (n > 0)
		cut_stream(w, in, (size_t)n);
	return n > 0;
}

static bool take_packets(struct wire *w)
{
	static uint8_t in[BURST][FRAME_MAX];
	struct mmsghdr m[BURST];
	struct iovec iov[BURST];
	int n;

	for (unsigned i = 0; i < BURST; i++) {
		iov[i] = (struct iovec){ in[i], sizeof(in[i]) };
		m[i] = (struct mmsghdr){ .msg_hdr = { .msg_iov = &iov[i], .msg_iovlen = 1 } };
	}
	n = recvmmsg(w->fd, m, BURST, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++)
		receive_frame(w, m[i].msg_len - sizeof(struct virtio_net_hdr));
	return n > 0;
}

static bool take_some(void)
{
	bool any = b.stream ? take_stream(&b) : take_packets(&b);

	for (unsigned i = 0; i < extras; i++)
		any |= take_stream(&extra[i]);
	if (a.stream) /* some VMMs send frames back to where they came from */
		take_stream(&a);
	return any;
}

/* Frames that have come out everywhere. */
static uint64_t received(void)
{
	uint64_t least = b.received;

	for (unsigned i = 0; i < extras; i++)
		least = extra[i].received < least ? extra[i].received : least;
	return least;
}

static void forget(struct wire *w)
{
	w->received = w->payload = 0;
}

static void count_anew(void)
{
	sent = lost = 0;
	forget(&b);
	for (unsigned i = 0; i < extras; i++)
		forget(&extra[i]);
}

/* ---- the run ---- */

static uint64_t under_way(void)
{
	uint64_t done = received() + lost;

	return sent > done ? sent - done : 0;
}

static void send_some(uint64_t most)
{
	if (a.stream)
		send_stream(most);
	else
		send_packets(most);
}

static void wait_for_any(bool room)
{
	struct pollfd p[ENDS + 2] = { { .fd = b.fd, .events = POLLIN },
				      { .fd = a.fd, .events = (short)(room ? POLLIN | POLLOUT : POLLIN) } };

	for (unsigned i = 0; i < extras; i++)
		p[2 + i] = (struct pollfd){ .fd = extra[i].fd, .events = POLLIN };
	poll(p, 2 + extras, 10);
}

/* Send until `end` (ns), and take what comes; then until all is here or given up. */
static void pump(uint64_t end)
{
	uint64_t last = now_ns(), now;
	bool sending, room;

	for (;;) {
		now = now_ns();
		sending = now < end;
		if (!sending && !begun() && !under_way())
			return;
		room = sending && under_way() < window;
		if (room)
			send_some(window - under_way());
		else if (!sending && begun())
			send_some(0);
		if (take_some()) {
			last = now;
			continue;
		}
		if (now - last > LOST_NS) {
			lost = sent - received();
			last = now;
		}
		wait_for_any((room && under_way() < window) || begun());
	}
}

/* Frames one by one until one has come out: the ends are connected then, and the VMMs forward. Returns how many. */
static uint64_t wait_ready(void)
{
	uint64_t begin = now_ns(), again = begin + AGAIN_NS, full = window, probes;

	window = 1;
	while (!received()) {
		if (now_ns() > begin + READY_NS || waitpid(vmm[0].pid, NULL, WNOHANG) == vmm[0].pid)
			die("no frame comes through");
		if (now_ns() > again && vmms > 1) {
			start_again(1);
			again = now_ns() + AGAIN_NS;
		}
		lost = sent;
		pump(now_ns() + 20000000);
	}
	usleep(100000);
	while (take_some())
		;
	window = full;
	probes = sent;
	count_anew();
	return probes;
}

static void measure(uint64_t probes)
{
	int counter[THREADS];
	long long instructions;
	struct cost before, after;
	uint64_t begin, warm;

	pump(now_ns() + (uint64_t)(seconds * 1e8));
	warm = lost;
	count_anew();
	before = cost_now();
	for (unsigned i = 0; i < before.threads; i++)
		counter[i] = open_counter(before.tid[i]);
	begin = now_ns();
	pump(begin + (uint64_t)(seconds * 1e9));
	instructions = read_counters(counter, before.threads);
	after = cost_now();
	printf("frames %llu seconds %.4f cpu_ns %llu instructions %lld lost %llu probes %llu\n",
	       (unsigned long long)received(), (double)(now_ns() - begin) / 1e9,
	       (unsigned long long)(after.ns - before.ns), instructions, (unsigned long long)(lost + warm),
	       (unsigned long long)probes);
}

static void options(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "+s:gt:w:x:a:b:")) != -1) {
		switch (c) {
		case 's':
			size = strtoul(optarg, NULL, 0);
			break;
		case 'g':
			segmented = true;
			break;
		case 't':
			seconds = atof(optarg);
			break;
		case 'w':
			window = strtoul(optarg, NULL, 0);
			break;
		case 'x':
			extras = (unsigned)strtoul(optarg, NULL, 0);
			break;
		case 'a':
			a.spec = optarg;
			break;
		case 'b':
			b.spec = optarg;
			break;
		default:
			exit(1);
		}
	}
	for (char **p = argv + optind; *p && vmms < VMMS; p++) {
		vmm[vmms++].argv = p;
		while (*p && strcmp(*p, "--"))
			p++;
		if (!*p)
			break;
		*p = NULL;
	}
	if (!a.spec || !b.spec || !vmms || size < 15 || size > 65549 || !window || extras > ENDS)
		die("usage: panel [-s BYTES] [-g] [-t SECONDS] [-w FRAMES] [-x COUNT] -a WIRE -b WIRE -- VMM ARG... [-- VMM ARG...]");
}

int main(int argc, char **argv)
{
	uint64_t probes;

	options(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	make_frames();
	open_wire(&a);
	open_wire(&b);
	for (unsigned i = 0; i < extras; i++)
		open_pair(&extra[i]);
	start_vmms();
	probes = wait_ready();
	measure(probes);
	end_vmms();
	return 0;
}
