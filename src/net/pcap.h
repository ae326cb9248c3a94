/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Capture files, in memory: the records of pcap (draft-ietf-opsawg-pcap) and of pcapng (draft-ietf-opsawg-pcapng), of
 * Ethernet frames, in the byte order of the host. Plain functions, any thread.
 *
 * A pcap file is a head and one record a frame, stamped in microseconds. A pcapng file is a section header, one
 * interface description, one enhanced packet block a frame, stamped in nanoseconds, with its direction, queue and
 * comments as options, and an interface statistics block at the end.
 */
#ifndef NET_PCAP_H
#define NET_PCAP_H

#include "base/util.h"

#define PCAP_LEN_MAX 262144 /* largest snapshot length that readers (libpcap) believe */

enum {
	PCAP_HEAD = 24,
	PCAP_RECORD_HEAD = 16, /* the frame's bytes follow */
	PCAPNG_HEAD_MAX = 1024,
	PCAPNG_PACKET_HEAD = 28, /* the frame's bytes follow, then the options */
	PCAPNG_OPTIONS_MAX = 512,
	PCAPNG_STATISTICS = 64,
};

/* Time is that of the host, in ns since 1970. */
struct pcap_stamp {
	uint64_t ns;
	uint32_t caplen, len; /* bytes that follow, bytes that the frame has */
};

/* What a file says of itself. */
struct pcapng_about {
	const char *program, *interface, *filter; /* filter: NULL if there is none */
	uint32_t snaplen;
};

/* Write to `to`, which has the room that is named above; return the bytes. */
size_t pcap_head(uint8_t *to, uint32_t snaplen);
size_t pcap_record_head(uint8_t *to, const struct pcap_stamp *s);
size_t pcapng_head(uint8_t *to, const struct pcapng_about *about);
/* frames: received by the capture; missed: of these, not in the file for want of room. */
size_t pcapng_statistics(uint8_t *to, uint64_t ns, uint64_t frames, uint64_t missed);

/* A packet block: its head goes to `to`, the caller puts s->caplen bytes behind it, then options, then the end. */
size_t pcapng_packet_head(uint8_t *to, const struct pcap_stamp *s);
struct pcapng_options {
	bool outbound;	/* from the guest */
	unsigned queue; /* said unless it is 0 */
	const char *comment[4];
	unsigned n_comments;
};
/* Padding, options and the end of the block that begins at `block`: the bytes of the whole block. */
size_t pcapng_packet_end(uint8_t *block, const struct pcap_stamp *s, const struct pcapng_options *o);

/* Of the first n bytes of a row of whole records, those that are in whole records; the rest is part of one. */
size_t pcap_whole_records(const uint8_t *p, size_t n);
size_t pcapng_whole_blocks(const uint8_t *p, size_t n);

#endif
