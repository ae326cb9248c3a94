/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * agent: see agent.h
 */
#include "agent.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sample.h"
#include "util.h"

#define DATAGRAM 64	     /* bytes of a datagram's payload */
#define CHUNK	 (128 << 10) /* bytes of a stream's write */

static char buf[256 << 10];

static void echo(int data)
{
	ssize_t got;

	while ((got = read(data, buf, sizeof(buf))) > 0)
		write_all(data, buf, got);
}

static uint64_t sink(int data)
{
	uint64_t sum = 0;
	ssize_t got;

	while ((got = read(data, buf, sizeof(buf))) > 0)
		sum += got;
	return sum;
}

static uint64_t source(int data, uint64_t bytes)
{
	uint64_t sent = 0;

	while (sent < bytes) {
		size_t n = bytes - sent < CHUNK ? bytes - sent : CHUNK;

		if (write_all(data, buf, n))
			break;
		sent += n;
	}
	shutdown(data, SHUT_WR);
	sink(data); /* until the other end has it all */
	return sent;
}

static uint64_t datagrams(int data, const char *what)
{
	const char *arg = strchr(what, ' ');
	int burst = arg ? atoi(arg) : 1;
	int in_burst = 0;
	uint64_t sum = 0;
	ssize_t got;

	send(data, "H", 1, 0); /* tells the host where we are */
	receive_timeout(data, 3000);
	while ((got = recv(data, buf, sizeof(buf), 0)) > 0 && buf[0] != 'Q') {
		if (buf[0] == 'R') {
			in_burst = 0;
			send(data, "A", 1, 0);
			continue;
		}
		sum++;
		if (what[0] == 'e') {
			send(data, buf, got, 0);
		} else if (what[1] == 'i') {
			if (++in_burst == burst) {
				in_burst = 0;
				send(data, "A", 1, 0);
			}
		} else {
			for (int i = 0; i < burst; i++)
				send(data, buf, DATAGRAM, 0);
		}
	}
	return sum;
}

static void send_counters(int control)
{
	struct guest_counters g;

	sample_guest(&g);
	put_line(control, "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64, g.rx_packets,
		 g.tx_packets, g.rx_bytes, g.tx_bytes, g.drops, g.interrupts);
}

static uint64_t obey(const char *command, const char *host, int port)
{
	const char *arg = strchr(command, ' ');
	int udp = !strncmp(command, "UDP ", 4);
	int data = connect_to(host, port, udp ? SOCK_DGRAM : SOCK_STREAM);
	uint64_t done = 0;

	if (data < 0)
		return 0;
	if (udp)
		done = datagrams(data, command + 4);
	else if (!strcmp(command, "ECHO"))
		echo(data);
	else if (!strcmp(command, "SINK"))
		done = sink(data);
	else if (!strncmp(command, "SOURCE ", 7))
		done = source(data, strtoull(arg, NULL, 10));
	close(data);
	return done;
}

int agent(const char *host, int port)
{
	char line[4096];
	int control = -1;

	for (int i = 0; i < 200 && (control = connect_to(host, port, SOCK_STREAM)) < 0; i++)
		usleep(50000);
	if (control < 0)
		die("no control connection to %s", host);
	put_line(control, "HELLO");
	while (get_line(control, line, sizeof(line)) >= 0) {
		if (!strcmp(line, "COUNTERS"))
			send_counters(control);
		else if (!strcmp(line, "BYE"))
			break;
		else
			put_line(control, "OK %" PRIu64, obey(line, host, port + 1));
	}
	return 0;
}
