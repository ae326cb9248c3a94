/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * agent: the guest's end of the bench
 *
 * It opens all connections, so that user networking, which has no way in, runs the very tests that a tap runs. On the
 * control connection it gets one command a line and answers each, when done, with a line:
 *
 *   COUNTERS          the guest's counters, see struct guest_counters
 *   ECHO              connect to the data port, send back what comes until the other end closes
 *   SINK              connect, read all
 *   SOURCE BYTES      connect, send so much
 *   UDP echo          on a datagram socket: send each datagram back
 *   UDP sink BURST    one answer for each BURST datagrams
 *   UDP source BURST  BURST datagrams for each that comes
 *   BYE
 *
 * A datagram that starts with Q ends a UDP command; R, in a sink, starts counting anew after a loss.
 */
#ifndef BENCH_AGENT_H
#define BENCH_AGENT_H

int agent(const char *host, int port);

#endif
