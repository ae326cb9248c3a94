/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * panel: frames through a VMM without a guest, in at one socket and out at another.
 *
 *   panel [-s BYTES] [-t SECONDS] [-w FRAMES] -a WIRE -b WIRE -- VMM ARG...
 *
 * Starts the VMM, sends frames into wire a as fast as they go, takes them from wire b, and prints one line:
 *
 *   frames N seconds S cpu_ns N lost N
 *
 * cpu_ns is the time that all threads of the VMM were on a processor, user and system. -w is the most frames that are
 * on their way; what does not come out for half a second is lost. A wire is
 *
 *   tcp:PORT  unix:PATH	a stream to connect to, each frame with its length in front
 *   pair			a socketpair of that kind; @A@ or @B@ in the VMM's arguments is the number of its end
 *   udp:NEAR:FAR		datagrams between two ports of 127.0.0.1
 *   dgram:NEAR:FAR		the same between two paths
 *
 * each with +HEX behind it for bytes that stand in front of every frame (datagrams: a tunnel's header).
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util.h"

#define FRAME_MAX  66000
#define BURST	   64
#define STREAM_BUF (256 * 1024)
#define READY_NS   20000000000ull
#define LOST_NS	   500000000ull

struct wire {
	char *spec;
	int fd, vmm_fd; /* vmm_fd: of a pair, the VMM's end */
	bool stream;
	uint8_t head[300];
	size_t head_len;
};

static size_t size = 64;
static double seconds = 1;
static uint64_t window = 512;
static struct wire a, b;
static pid_t vmm;

static uint64_t sent, received, lost;

/* ---- wires ---- */

static void set_address(struct sockaddr_un *un, const char *path)
{
	*un = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (snprintf(un->sun_path, sizeof(un->sun_path), "%s", path) >= (int)sizeof(un->sun_path))
		die("%s: too long for a socket", path);
}

static struct sockaddr_in port_address(int port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = htons((uint16_t)port),
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static int connect_stream(const char *spec)
{
	struct sockaddr_in in = port_address(atoi(spec + 4));
	uint64_t end = now_ns() + READY_NS;
	struct sockaddr_un un;
	bool tcp = !strncmp(spec, "tcp:", 4);
	int fd, one = 1;

	if (!tcp)
		set_address(&un, spec + 5);
	for (;;) {
		fd = socket(tcp ? AF_INET : AF_UNIX, SOCK_STREAM, 0);
		if (connect(fd, tcp ? (struct sockaddr *)&in : (struct sockaddr *)&un, tcp ? sizeof(in) : sizeof(un)) ==
		    0)
			break;
		close(fd);
		if (now_ns() > end || waitpid(vmm, NULL, WNOHANG) == vmm)
			die("%s: the VMM does not listen", spec);
		usleep(10000);
	}
	if (tcp)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static int open_udp(const char *spec)
{
	struct sockaddr_in near = port_address(atoi(spec)), far;
	const char *colon = strchr(spec, ':');
	int fd = socket(AF_INET, SOCK_DGRAM, 0), buf = 8 << 20;

	if (!colon)
		die("udp:%s: expected udp:NEAR:FAR", spec);
	far = port_address(atoi(colon + 1));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buf, sizeof(buf));
	if (bind(fd, (struct sockaddr *)&near, sizeof(near)) < 0 ||
	    connect(fd, (struct sockaddr *)&far, sizeof(far)) < 0)
		die("udp:%s: %s", spec, strerror(errno));
	return fd;
}

/* The far end may not be there yet: frames are sent to its address. */
static struct sockaddr_un far_path[2];

static int open_dgram(struct wire *w, char *spec)
{
	char *colon = strchr(spec, ':');
	struct sockaddr_un near;
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0), buf = 8 << 20;

	if (!colon)
		die("dgram:%s: expected dgram:NEAR:FAR", spec);
	*colon = 0;
	set_address(&near, spec);
	set_address(&far_path[w == &b], colon + 1);
	unlink(spec);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buf, sizeof(buf));
	if (bind(fd, (struct sockaddr *)&near, sizeof(near)) < 0)
		die("dgram:%s: %s", spec, strerror(errno));
	return fd;
}

/* Before the VMM starts: what it may find there. */
static void prepare(struct wire *w)
{
	char *plus = strrchr(w->spec, '+');
	int fd[2];

	for (const char *hex = plus ? plus + 1 : ""; hex[0] && hex[1] && w->head_len < sizeof(w->head); hex += 2) {
		unsigned byte;

		if (sscanf(hex, "%2x", &byte) != 1)
			die("%s: bytes in hex are wanted behind +", w->spec);
		w->head[w->head_len++] = (uint8_t)byte;
	}
	if (plus)
		*plus = 0;
	w->fd = w->vmm_fd = -1;
	w->stream = !strncmp(w->spec, "tcp:", 4) || !strncmp(w->spec, "unix:", 5) || !strcmp(w->spec, "pair");
	if (!strcmp(w->spec, "pair")) {
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd) < 0)
			die("socketpair: %s", strerror(errno));
		w->fd = fd[0];
		w->vmm_fd = fd[1];
	} else if (!strncmp(w->spec, "udp:", 4)) {
		w->fd = open_udp(w->spec + 4);
	} else if (!strncmp(w->spec, "dgram:", 6)) {
		w->fd = open_dgram(w, w->spec + 6);
	} else if (!w->stream) {
		die("%s: no such kind of wire", w->spec);
	}
}

static void start_vmm(char **argv)
{
	char number[2][16];

	for (char **p = argv; *p; p++) {
		const struct wire *w[2] = { &a, &b };

		for (unsigned i = 0; i < 2; i++) {
			char *at = strstr(*p, i ? "@B@" : "@A@"), *text;

			snprintf(number[i], sizeof(number[i]), "%d", w[i]->vmm_fd);
			if (!at)
				continue;
			if (asprintf(&text, "%.*s%s%s", (int)(at - *p), *p, number[i], at + 3) < 0)
				die("no memory");
			*p = text;
		}
	}
	vmm = fork();
	if (vmm)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close(STDOUT_FILENO);
	dup2(STDERR_FILENO, STDOUT_FILENO);
	if (a.fd >= 0)
		close(a.fd);
	if (b.fd >= 0)
		close(b.fd);
	execvp(argv[0], argv);
	die("%s: %s", argv[0], strerror(errno));
}

static void finish(struct wire *w)
{
	if (w->vmm_fd >= 0)
		close(w->vmm_fd);
	if (w->fd < 0)
		w->fd = connect_stream(w->spec);
}

/* ---- frames in ---- */

static uint8_t frame[FRAME_MAX];
static uint8_t stream_out[STREAM_BUF];
static size_t unit, stream_len, stream_at; /* bytes of a frame with its length; of a run of frames; gone of it */

static void make_frames(void)
{
	uint32_t be = htonl((uint32_t)size);

	memset(frame, 0xff, 6);
	memcpy(frame + 6, "\x52\x54\0\0\0\1\x88\xb5", 8);
	unit = 4 + size;
	while (stream_len + unit <= sizeof(stream_out) && stream_len < BURST * unit) {
		memcpy(stream_out + stream_len, &be, 4);
		memcpy(stream_out + stream_len + 4, frame, size);
		stream_len += unit;
	}
}

static void send_stream(uint64_t most)
{
	size_t left = stream_len - stream_at, want = (size_t)most * unit;
	ssize_t n = send(a.fd, stream_out + stream_at, left < want ? left : want, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN)
		die("the VMM does not take frames: %s", strerror(errno));
	if (n <= 0)
		return;
	/* A frame counts as sent when its first byte is. */
	sent += (stream_at + (size_t)n + unit - 1) / unit - (stream_at + unit - 1) / unit;
	stream_at = (stream_at + (size_t)n) % stream_len;
}

static void send_datagrams(uint64_t most)
{
	struct iovec iov[2] = { { a.head, a.head_len }, { frame, size } };
	struct mmsghdr m[BURST];
	unsigned count = most < BURST ? (unsigned)most : BURST;
	int n;

	for (unsigned i = 0; i < count; i++) {
		m[i] = (struct mmsghdr){ .msg_hdr = { .msg_iov = iov, .msg_iovlen = 2 } };
		if (far_path[0].sun_family) {
			m[i].msg_hdr.msg_name = &far_path[0];
			m[i].msg_hdr.msg_namelen = sizeof(far_path[0]);
		}
	}
	n = sendmmsg(a.fd, m, count, MSG_DONTWAIT);
	if (n > 0)
		sent += (unsigned)n;
}

static void send_some(void)
{
	uint64_t under_way = sent - received - lost;

	if (under_way >= window)
		return;
	if (a.stream)
		send_stream(window - under_way);
	else
		send_datagrams(window - under_way);
}

/* ---- frames out ---- */

static size_t have; /* bytes of the frame that is being received */

/* Each length word in these bytes must be ours. */
static void check_stream(const uint8_t *p, size_t n)
{
	uint32_t be = htonl((uint32_t)size);

	while (n) {
		size_t k = unit - have;

		if (have < 4 && p[0] != ((const uint8_t *)&be)[have])
			die("the stream has a length that is not %zu", size);
		if (have < 4)
			k = 1;
		k = k < n ? k : n;
		have += k;
		p += k;
		n -= k;
		if (have == unit) {
			have = 0;
			received++;
		}
	}
}

static bool take_stream(void)
{
	static uint8_t in[STREAM_BUF];
	ssize_t n = recv(b.fd, in, sizeof(in), MSG_DONTWAIT);

	if (n == 0)
		die("the VMM closed the connection");
	if (n > 0)
		check_stream(in, (size_t)n);
	return n > 0;
}

static bool take_datagrams(void)
{
	static uint8_t in[BURST][FRAME_MAX + 512];
	struct mmsghdr m[BURST];
	struct iovec iov[BURST];
	int n;

	for (unsigned i = 0; i < BURST; i++) {
		iov[i] = (struct iovec){ in[i], sizeof(in[i]) };
		m[i] = (struct mmsghdr){ .msg_hdr = { .msg_iov = &iov[i], .msg_iovlen = 1 } };
	}
	n = recvmmsg(b.fd, m, BURST, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++) {
		if (m[i].msg_len != b.head_len + size)
			die("a datagram of %u bytes came, of %zu were sent", m[i].msg_len, b.head_len + size);
		received++;
	}
	return n > 0;
}

static bool take_some(void)
{
	return b.stream ? take_stream() : take_datagrams();
}

/* ---- the run ---- */

/* Send until `end` (ns), and take what comes; then until all is here or given up. */
static void pump(uint64_t end)
{
	uint64_t last = now_ns();

	for (;;) {
		uint64_t now = now_ns();
		bool sending = now < end;
		struct pollfd p[2] = { { .fd = b.fd, .events = POLLIN }, { .fd = a.fd } };
		bool room = sending && sent - received - lost < window;

		if (!sending && received + lost >= sent)
			return;
		if (room)
			send_some();
		if (take_some()) {
			last = now;
			continue;
		}
		if (now - last > LOST_NS) {
			lost = sent - received;
			last = now;
		}
		p[1].events = room && sent - received - lost < window ? POLLOUT : 0;
		poll(p, 2, 10);
	}
}

/* Frames one by one until one has come out: both ends are connected then, and the VMM forwards. */
static void wait_ready(void)
{
	uint64_t end = now_ns() + READY_NS, full = window;

	window = 1;
	while (!received) {
		if (now_ns() > end || waitpid(vmm, NULL, WNOHANG) == vmm)
			die("no frame comes through");
		lost = sent;
		pump(now_ns() + 20000000);
	}
	usleep(100000);
	while (take_some())
		;
	window = full;
	sent = received = lost = 0;
}

/* Time on a processor of all threads of the VMM, ns. */
static uint64_t cpu_ns(void)
{
	char path[300], text[128];
	uint64_t sum = 0;
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)vmm);
	d = opendir(path);
	if (!d)
		die("%s: %s", path, strerror(errno));
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", (int)vmm, e->d_name);
		sum += strtoull(read_text(path, text, sizeof(text)), NULL, 10);
	}
	closedir(d);
	return sum;
}

static void measure(void)
{
	uint64_t begin, cpu;

	pump(now_ns() + (uint64_t)(seconds * 1e8)); /* warm */
	sent = received = lost = 0;
	cpu = cpu_ns();
	begin = now_ns();
	pump(begin + (uint64_t)(seconds * 1e9));
	printf("frames %llu seconds %.3f cpu_ns %llu lost %llu\n", (unsigned long long)received,
	       (double)(now_ns() - begin) / 1e9, (unsigned long long)(cpu_ns() - cpu), (unsigned long long)lost);
}

int main(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "+s:t:w:a:b:")) != -1) {
		if (c == 's')
			size = strtoul(optarg, NULL, 0);
		else if (c == 't')
			seconds = atof(optarg);
		else if (c == 'w')
			window = strtoul(optarg, NULL, 0);
		else if (c == 'a')
			a.spec = optarg;
		else if (c == 'b')
			b.spec = optarg;
		else
			return 1;
	}
	if (!a.spec || !b.spec || optind == argc || size < 14 || size > 65553 || !window)
		die("usage: panel [-s BYTES] [-t SECONDS] [-w FRAMES] -a WIRE -b WIRE -- VMM ARG...");
	signal(SIGPIPE, SIG_IGN);
	make_frames();
	prepare(&a);
	prepare(&b);
	start_vmm(argv + optind);
	finish(&a);
	finish(&b);
	wait_ready();
	measure();
	kill(vmm, SIGKILL);
	waitpid(vmm, NULL, 0);
	return 0;
}
