/* SPDX-License-Identifier: BSD-2-Clause */
/* See the header; opcodes are of ACPI 6.4, 20.2, resource descriptors of 6.4. */
#include "machine/aml.h"

#define OP_ZERO	      0x00
#define OP_ONE	      0x01
#define OP_NAME	      0x08
#define OP_BYTE	      0x0a
#define OP_WORD	      0x0b
#define OP_DWORD      0x0c
#define OP_STRING     0x0d
#define OP_QWORD      0x0e
#define OP_SCOPE      0x10
#define OP_BUFFER     0x11
#define OP_PACKAGE    0x12
#define OP_DUAL_NAME  0x2e
#define OP_EXT	      0x5b
#define OP_EXT_DEVICE 0x82

/* ---- bytes ---- */

void aml_bytes(struct aml *a, const void *p, size_t n)
{
	if (n > a->cap - a->len) {
		a->full = true;
		return;
	}
	memcpy(a->buf + a->len, p, n);
	a->len += n;
}

void aml_byte(struct aml *a, uint8_t v)
{
	aml_bytes(a, &v, 1);
}

static void put16(struct aml *a, uint16_t v)
{
	v = htole16(v);
	aml_bytes(a, &v, sizeof(v));
}

static void put32(struct aml *a, uint32_t v)
{
	v = htole32(v);
	aml_bytes(a, &v, sizeof(v));
}

static void put64(struct aml *a, uint64_t v)
{
	v = htole64(v);
	aml_bytes(a, &v, sizeof(v));
}

/* Make room for n bytes at `at`, which move up what follows. */
static void insert(struct aml *a, size_t at, const uint8_t *p, size_t n)
{
	if (n > a->cap - a->len || at > a->len) {
		a->full = true;
		return;
	}
	memmove(a->buf + at + n, a->buf + at, a->len - at);
	memcpy(a->buf + at, p, n);
	a->len += n;
}

/* ---- blocks ---- */

static void begin(struct aml *a)
{
	if (a->depth == AML_DEPTH) {
		a->full = true;
		return;
	}
	a->start[a->depth++] = a->len;
}

/* PkgLength counts itself (20.2.4). */
void aml_end(struct aml *a)
{
	size_t start, len;
	uint8_t enc[4];
	unsigned n = 1;

	if (!a->depth) {
		a->full = true;
		return;
	}
	start = a->start[--a->depth];
	len = a->len - start;
	if (len + 1 < 64) {
		enc[0] = (uint8_t)(len + 1);
	} else {
		n = len + 2 < 1 << 12 ? 2 : len + 3 < 1 << 20 ? 3 : 4;
		len += n;
		enc[0] = (uint8_t)((n - 1) << 6 | (len & 15));
		for (unsigned i = 1; i < n; i++)
			enc[i] = (uint8_t)(len >> (8 * i - 4));
	}
	insert(a, start, enc, n);
}

void aml_scope(struct aml *a, const char *path)
{
	aml_byte(a, OP_SCOPE);
	begin(a);
	aml_name(a, path);
}

void aml_device(struct aml *a, const char *name)
{
	aml_byte(a, OP_EXT);
	aml_byte(a, OP_EXT_DEVICE);
	begin(a);
	aml_name(a, name);
}

void aml_package(struct aml *a, uint8_t elements)
{
	aml_byte(a, OP_PACKAGE);
	begin(a);
	aml_byte(a, elements);
}

/* ---- values ---- */

static void segment(struct aml *a, const char *s, size_t n)
{
	char seg[4] = { '_', '_', '_', '_' };

	memcpy(seg, s, MIN(n, sizeof(seg)));
	aml_bytes(a, seg, sizeof(seg));
}

void aml_name(struct aml *a, const char *path)
{
	const char *dot;

	if (*path == '\\')
		aml_byte(a, (uint8_t)*path++);
	dot = strchr(path, '.');
	if (dot) {
		aml_byte(a, OP_DUAL_NAME);
		segment(a, path, (size_t)(dot - path));
		path = dot + 1;
	}
	segment(a, path, strlen(path));
}

void aml_name_is(struct aml *a, const char *name)
{
	aml_byte(a, OP_NAME);
	aml_name(a, name);
}

void aml_int(struct aml *a, uint64_t v)
{
	if (v <= 1) {
		aml_byte(a, v ? OP_ONE : OP_ZERO);
	} else if (v <= UINT8_MAX) {
		aml_byte(a, OP_BYTE);
		aml_byte(a, (uint8_t)v);
	} else if (v <= UINT16_MAX) {
		aml_byte(a, OP_WORD);
		put16(a, (uint16_t)v);
	} else if (v <= UINT32_MAX) {
		aml_byte(a, OP_DWORD);
		put32(a, (uint32_t)v);
	} else {
		aml_byte(a, OP_QWORD);
		put64(a, v);
	}
}

void aml_string(struct aml *a, const char *s)
{
	aml_byte(a, OP_STRING);
	aml_bytes(a, s, strlen(s) + 1);
}

static unsigned hex_digit(char c)
{
	return (unsigned)(c <= '9' ? c - '0' : c - 'A' + 10);
}

/* Three letters of 5 bits, four hexadecimal digits; big-endian (19.3.4). */
void aml_eisaid(struct aml *a, const char *id)
{
	uint32_t v = (uint32_t)((id[0] & 31) << 26 | (id[1] & 31) << 21 | (id[2] & 31) << 16);

	for (unsigned i = 0; i < 4; i++)
		v |= hex_digit(id[3 + i]) << (12 - 4 * i);
	aml_byte(a, OP_DWORD);
	put32(a, __builtin_bswap32(v));
}

/* ---- resources ---- */

/* A buffer's size stands before its bytes, here always as a word: where it stands is known from the end. */
void aml_resources_begin(struct aml *a)
{
	aml_byte(a, OP_BUFFER);
	begin(a);
	aml_byte(a, OP_WORD);
	put16(a, 0);
}

void aml_resources_end(struct aml *a)
{
	static const uint8_t end_tag[] = { 0x79, 0 };
	size_t start;

	aml_bytes(a, end_tag, sizeof(end_tag));
	if (a->full || !a->depth)
		return;
	start = a->start[a->depth - 1];
	a->buf[start + 1] = (uint8_t)(a->len - start - 3);
	a->buf[start + 2] = (uint8_t)((a->len - start - 3) >> 8);
	aml_end(a);
}

void aml_io(struct aml *a, uint16_t port, uint8_t len)
{
	aml_byte(a, 0x47);
	aml_byte(a, 1); /* decodes 16 bits */
	put16(a, port);
	put16(a, port);
	aml_byte(a, 1);
	aml_byte(a, len);
}

void aml_irq(struct aml *a, unsigned line)
{
	aml_byte(a, 0x22);
	put16(a, (uint16_t)BIT(line));
}

/* The extended form (6.4.3.6): consumer, level, active high, exclusive. */
void aml_interrupt(struct aml *a, uint32_t gsi)
{
	aml_byte(a, 0x89);
	put16(a, 6);
	aml_byte(a, 0x01);
	aml_byte(a, 1);
	put32(a, gsi);
}

void aml_memory32(struct aml *a, uint32_t base, uint32_t len)
{
	aml_byte(a, 0x86);
	put16(a, 9);
	aml_byte(a, 1); /* writable */
	put32(a, base);
	put32(a, len);
}

/* The common head of address space descriptors: produced by the bridge, minimum and maximum fixed, positive decode. */
static void window_head(struct aml *a, uint8_t tag, uint16_t len, uint8_t type, uint8_t flags)
{
	aml_byte(a, tag);
	put16(a, len);
	aml_byte(a, type);
	aml_byte(a, 0x0c);
	aml_byte(a, flags);
}

static void window16(struct aml *a, uint8_t type, uint8_t flags, uint16_t first, uint16_t last)
{
	window_head(a, 0x88, 13, type, flags);
	put16(a, 0);
	put16(a, first);
	put16(a, last);
	put16(a, 0);
	put16(a, (uint16_t)(last - first + 1));
}

void aml_bus_window(struct aml *a, uint16_t first, uint16_t last)
{
	window16(a, 2, 0, first, last);
}

void aml_io_window(struct aml *a, uint16_t first, uint16_t last)
{
	window16(a, 1, 3, first, last); /* the entire range */
}

void aml_memory32_window(struct aml *a, uint32_t first, uint32_t last)
{
	window_head(a, 0x87, 23, 0, 1); /* not cacheable, writable */
	put32(a, 0);
	put32(a, first);
	put32(a, last);
	put32(a, 0);
	put32(a, last - first + 1);
}

void aml_memory64_window(struct aml *a, uint64_t first, uint64_t last)
{
	window_head(a, 0x8a, 43, 0, 3); /* cacheable */
	put64(a, 0);
	put64(a, first);
	put64(a, last);
	put64(a, 0);
	put64(a, last - first + 1);
}
