/* SPDX-License-Identifier: BSD-2-Clause */
/* Records of capture files; see pcap.h for the two specifications. */
#include "net/pcap.h"

#define LINKTYPE_ETHERNET 1

enum { /* block types */
	SECTION_HEADER = 0x0a0d0d0a,
	INTERFACE_DESCRIPTION = 1,
	INTERFACE_STATISTICS = 5,
	ENHANCED_PACKET = 6,
};

enum { /* options */
	OPT_ENDOFOPT = 0,
	OPT_COMMENT = 1,
	SHB_USERAPPL = 4,
	IF_NAME = 2,
	IF_TSRESOL = 9,
	IF_FILTER = 11,
	ISB_IFRECV = 4,
	ISB_IFDROP = 5,
	EPB_FLAGS = 2,
	EPB_QUEUE = 6,
};

enum { /* EPB_FLAGS */
	DIR_INBOUND = 1,
	DIR_OUTBOUND = 2,
};

static uint8_t *add16(uint8_t *p, unsigned v)
{
	uint16_t w = (uint16_t)v;

	memcpy(p, &w, sizeof(w));
	return p + sizeof(w);
}

static uint8_t *add32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, sizeof(v));
	return p + sizeof(v);
}

static uint8_t *add64(uint8_t *p, uint64_t v)
{
	memcpy(p, &v, sizeof(v));
	return p + sizeof(v);
}

static uint32_t get_word(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* ---- pcap ---- */

size_t pcap_head(uint8_t *to, uint32_t snaplen)
{
	uint8_t *p = add32(to, 0xa1b2c3d4); /* microseconds */

	p = add16(p, 2);
	p = add16(p, 4);
	p = add64(p, 0);
	p = add32(p, MIN(snaplen, (uint32_t)PCAP_LEN_MAX));
	p = add32(p, LINKTYPE_ETHERNET);
	return (size_t)(p - to);
}

size_t pcap_record_head(uint8_t *to, const struct pcap_stamp *s)
{
	uint8_t *p = add32(to, (uint32_t)(s->ns / NSEC_PER_SEC)); /* unsigned: until 2106 */

	p = add32(p, (uint32_t)(s->ns % NSEC_PER_SEC / NSEC_PER_USEC));
	p = add32(p, s->caplen);
	p = add32(p, s->len);
	return (size_t)(p - to);
}

size_t pcap_whole_records(const uint8_t *p, size_t n)
{
	size_t at = 0, len;

	while (n - at >= PCAP_RECORD_HEAD) {
		len = PCAP_RECORD_HEAD + (size_t)get_word(p + at + 8);
		if (len > n - at)
			break;
		at += len;
	}
	return at;
}

/* ---- pcapng: blocks ---- */

static uint8_t *pad(uint8_t *p, size_t len)
{
	while (len++ % 4)
		*p++ = 0;
	return p;
}

static uint8_t *add_option(uint8_t *p, unsigned code, const void *value, size_t len)
{
	p = add16(p, code);
	p = add16(p, (unsigned)len);
	memcpy(p, value, len);
	return pad(p + len, len);
}

/* At most `max` bytes of it. */
static uint8_t *add_text(uint8_t *p, unsigned code, const char *text, size_t max)
{
	return add_option(p, code, text, strnlen(text, max));
}

static uint8_t *add_option32(uint8_t *p, unsigned code, uint32_t v)
{
	return add_option(p, code, &v, sizeof(v));
}

static uint8_t *add_option64(uint8_t *p, unsigned code, uint64_t v)
{
	return add_option(p, code, &v, sizeof(v));
}

/* A block begins with its type and length, and ends with its length. */
static uint8_t *block_begin(uint8_t *p, uint32_t type)
{
	return add32(p, type) + sizeof(uint32_t);
}

static size_t block_end(uint8_t *block, uint8_t *p)
{
	uint32_t len;

	p = add32(p, OPT_ENDOFOPT);
	len = (uint32_t)(p - block) + (uint32_t)sizeof(len);
	add32(p, len);
	add32(block + sizeof(uint32_t), len);
	return len;
}

static size_t section_header(uint8_t *block, const char *program)
{
	uint8_t *p = block_begin(block, SECTION_HEADER);

	p = add32(p, 0x1a2b3c4d); /* byte order */
	p = add16(p, 1);
	p = add16(p, 0);
	p = add64(p, UINT64_MAX); /* length of the section: not known */
	p = add_text(p, SHB_USERAPPL, program, 100);
	return block_end(block, p);
}

static size_t interface_description(uint8_t *block, const struct pcapng_about *about)
{
	static const uint8_t nanoseconds = 9;
	uint8_t *p = block_begin(block, INTERFACE_DESCRIPTION);

	p = add16(p, LINKTYPE_ETHERNET);
	p = add16(p, 0);
	p = add32(p, MIN(about->snaplen, (uint32_t)PCAP_LEN_MAX));
	p = add_text(p, IF_NAME, about->interface, 127);
	p = add_option(p, IF_TSRESOL, &nanoseconds, 1);
	if (about->filter) {
		char text[512] = ""; /* its first byte says of which kind it is: 0, what people write */
		size_t len = strnlen(about->filter, sizeof(text) - 1);

		memcpy(text + 1, about->filter, len);
		p = add_option(p, IF_FILTER, text, len + 1);
	}
	return block_end(block, p);
}

size_t pcapng_head(uint8_t *to, const struct pcapng_about *about)
{
	size_t n = section_header(to, about->program);

	return n + interface_description(to + n, about);
}

static uint8_t *add_time(uint8_t *p, uint64_t ns)
{
	p = add32(p, (uint32_t)(ns >> 32));
	return add32(p, (uint32_t)ns);
}

size_t pcapng_statistics(uint8_t *to, uint64_t ns, uint64_t frames, uint64_t missed)
{
	uint8_t *p = block_begin(to, INTERFACE_STATISTICS);

	p = add32(p, 0); /* the interface */
	p = add_time(p, ns);
	p = add_option64(p, ISB_IFRECV, frames);
	p = add_option64(p, ISB_IFDROP, missed);
	return block_end(to, p);
}

/* ---- pcapng: packets ---- */

size_t pcapng_packet_head(uint8_t *to, const struct pcap_stamp *s)
{
	uint8_t *p = block_begin(to, ENHANCED_PACKET);

	p = add32(p, 0); /* the interface */
	p = add_time(p, s->ns);
	p = add32(p, s->caplen);
	p = add32(p, s->len);
	return (size_t)(p - to);
}

size_t pcapng_packet_end(uint8_t *block, const struct pcap_stamp *s, const struct pcapng_options *o)
{
	uint8_t *p = pad(block + PCAPNG_PACKET_HEAD + s->caplen, s->caplen);

	p = add_option32(p, EPB_FLAGS, o->outbound ? DIR_OUTBOUND : DIR_INBOUND);
	if (o->queue)
		p = add_option32(p, EPB_QUEUE, o->queue);
	for (unsigned i = 0; i < o->n_comments; i++)
		p = add_text(p, OPT_COMMENT, o->comment[i], 100);
	return block_end(block, p);
}

size_t pcapng_whole_blocks(const uint8_t *p, size_t n)
{
	size_t at = 0, len;

	while (n - at >= 12) {
		len = get_word(p + at + 4);
		if (len < 12 || len > n - at)
			break;
		at += len;
	}
	return at;
}
