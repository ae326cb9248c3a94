/* SPDX-License-Identifier: BSD-2-Clause */
/* The commands of the qtest protocol. */
#include "ctl/qtest_cmd.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define WORDS_MAX      6
#define SIZE_MAX_BYTES (8 * MIB) /* of one read, write or memset: its text must fit into a line */
#define TIMERS_MAX     1000000	 /* due in one clock_step */

struct words {
	char *v[WORDS_MAX];
	unsigned n;
};

/* How a block command writes bytes as text. */
struct codec {
	bool (*decode)(const char *text, uint8_t *out, uint64_t n); /* false: it is not that */
	void (*encode)(const uint8_t *in, uint64_t n, char *out);   /* `ratio` characters for 3 bytes, rounded up */
	unsigned ratio;
	const char *form;
};

struct command {
	const char *name;
	unsigned min, max; /* arguments */
	unsigned size;	   /* of the access, in bytes */
	void (*fn)(struct qtest *q, const struct command *c, const struct words *w);
	const struct codec *codec; /* of block commands */
};

static bool number(struct qtest *q, const char *text, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 0);
	if (!errno && end != text && !*end)
		return true;
	qtest_say(q, "FAIL '%.40s' is not a number", text);
	return false;
}

/* ADDR and SIZE of a block command. */
static bool block(struct qtest *q, const struct words *w, uint64_t *addr, uint64_t *size)
{
	if (!number(q, w->v[1], addr) || !number(q, w->v[2], size))
		return false;
	if (*size <= SIZE_MAX_BYTES && *addr + *size >= *addr)
		return true;
	qtest_say(q, "FAIL more than %llu bytes, or beyond the end of memory", (unsigned long long)SIZE_MAX_BYTES);
	return false;
}

static void ok(struct qtest *q)
{
	qtest_settle(q);
	qtest_say(q, "OK");
}

/* ---- ports and memory, one access ---- */

static void cmd_out(struct qtest *q, const struct command *c, const struct words *w)
{
	uint64_t port, value;

	if (!number(q, w->v[1], &port) || !number(q, w->v[2], &value))
		return;
	epoch_enter(loop_reader(q->loop));
	space_write(q->io, port & 0xffff, c->size, value & (BIT(8 * c->size) - 1));
	epoch_leave(loop_reader(q->loop));
	ok(q);
}

static void cmd_in(struct qtest *q, const struct command *c, const struct words *w)
{
	uint64_t port, value;

	if (!number(q, w->v[1], &port))
		return;
	epoch_enter(loop_reader(q->loop));
	space_read(q->io, port & 0xffff, c->size, &value);
	epoch_leave(loop_reader(q->loop));
	qtest_settle(q);
	qtest_say(q, "OK 0x%04" PRIx64, value);
}

/* One access to RAM or a region; little-endian, as is everything here. */
static void mem_write(struct qtest *q, uint64_t addr, unsigned size, uint64_t value)
{
	void *ram = ram_ptr(q->ram, addr, size);

	if (ram) {
		value = htole64(value);
		memcpy(ram, &value, size);
		return;
	}
	epoch_enter(loop_reader(q->loop));
	space_write(q->mem, addr, size, value);
	epoch_leave(loop_reader(q->loop));
}

static uint64_t mem_read(struct qtest *q, uint64_t addr, unsigned size)
{
	const void *ram = ram_ptr(q->ram, addr, size);
	uint64_t value = 0;

	if (ram) {
		memcpy(&value, ram, size);
		return le64toh(value);
	}
	epoch_enter(loop_reader(q->loop));
	space_read(q->mem, addr, size, &value);
	epoch_leave(loop_reader(q->loop));
	return value;
}

static void cmd_write(struct qtest *q, const struct command *c, const struct words *w)
{
	uint64_t addr, value;

	if (!number(q, w->v[1], &addr) || !number(q, w->v[2], &value))
		return;
	mem_write(q, addr, c->size, c->size < 8 ? value & (BIT(8 * c->size) - 1) : value);
	ok(q);
}

static void cmd_read(struct qtest *q, const struct command *c, const struct words *w)
{
	uint64_t addr, value;

	if (!number(q, w->v[1], &addr))
		return;
	value = mem_read(q, addr, c->size);
	qtest_settle(q);
	qtest_say(q, "OK 0x%016" PRIx64, value);
}

/* ---- blocks of bytes: RAM at once, regions in aligned pieces of at most four bytes ---- */

static unsigned piece(uint64_t addr, uint64_t left)
{
	return !(addr & 3) && left >= 4 ? 4 : !(addr & 1) && left >= 2 ? 2 : 1;
}

static void block_write(struct qtest *q, uint64_t addr, const uint8_t *from, uint64_t size)
{
	void *ram = ram_ptr(q->ram, addr, size);

	if (ram) {
		memcpy(ram, from, size);
		return;
	}
	while (size) {
		unsigned n = piece(addr, size);
		uint64_t value = 0;

		memcpy(&value, from, n);
		mem_write(q, addr, n, le64toh(value));
		addr += n;
		from += n;
		size -= n;
	}
}

static void block_read(struct qtest *q, uint64_t addr, uint8_t *to, uint64_t size)
{
	const void *ram = ram_ptr(q->ram, addr, size);

	if (ram) {
		memcpy(to, ram, size);
		return;
	}
	while (size) {
		unsigned n = piece(addr, size);
		uint64_t value = htole64(mem_read(q, addr, n));

		memcpy(to, &value, n);
		addr += n;
		to += n;
		size -= n;
	}
}

/* ---- bytes as hexadecimal digits ---- */

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' :
	       c >= 'a' && c <= 'f' ? c - 'a' + 10 :
	       c >= 'A' && c <= 'F' ? c - 'A' + 10 :
				      -1;
}

/* "0x0102..." into at most `size` bytes; the rest is zero. False: not hexadecimal. */
static bool from_hex(const char *text, uint8_t *out, uint64_t size)
{
	memset(out, 0, size);
	if (text[0] != '0' || text[1] != 'x')
		return false;
	text += 2;
	for (uint64_t i = 0; i < size && text[2 * i]; i++) {
		int high = hex_digit(text[2 * i]);
		int low = high < 0 ? -1 : hex_digit(text[2 * i + 1]);

		if (low < 0)
			return false;
		out[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static void to_hex(const uint8_t *in, uint64_t n, char *out)
{
	static const char digits[] = "0123456789abcdef";

	*out++ = '0';
	*out++ = 'x';
	for (uint64_t i = 0; i < n; i++) {
		*out++ = digits[in[i] >> 4];
		*out++ = digits[in[i] & 15];
	}
	*out = 0;
}

static const struct codec hex_codec = { from_hex, to_hex, 6, "FAIL data must be 0x and two digits a byte" };

/* ---- bytes as base64 (RFC 4648, 4) ---- */

static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void to_base64(const uint8_t *in, uint64_t n, char *out)
{
	for (uint64_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)in[i] << 16 | (i + 1 < n ? (uint32_t)in[i + 1] << 8 : 0) |
			     (i + 2 < n ? in[i + 2] : 0);

		*out++ = base64[v >> 18];
		*out++ = base64[v >> 12 & 63];
		*out++ = i + 1 < n ? base64[v >> 6 & 63] : '=';
		*out++ = i + 2 < n ? base64[v & 63] : '=';
	}
	*out = 0;
}

/* Exactly n bytes of data; false if the text is not base64 or holds another number. */
static bool from_base64(const char *text, uint8_t *out, uint64_t n)
{
	uint64_t got = 0;
	uint32_t bits = 0;
	unsigned have = 0;

	for (; *text && *text != '='; text++) {
		const char *digit = strchr(base64, *text);

		if (!digit)
			return false;
		bits = bits << 6 | (uint32_t)(digit - base64);
		have += 6;
		if (have < 8)
			continue;
		have -= 8;
		if (got == n)
			return false;
		out[got++] = (uint8_t)(bits >> have);
	}
	return got == n && !text[strspn(text, "=")];
}

static const struct codec base64_codec = { from_base64, to_base64, 4, "FAIL data must be SIZE bytes in base64" };

/* ---- block commands ---- */

static void cmd_block_write(struct qtest *q, const struct command *c, const struct words *w)
{
	uint64_t addr, size;
	uint8_t *data;

	if (!block(q, w, &addr, &size))
		return;
	data = malloc(size + 1);
	if (data && c->codec->decode(w->v[3], data, size)) {
		block_write(q, addr, data, size);
		ok(q);
	} else {
		qtest_say(q, "%s", data ? c->codec->form : "FAIL out of memory");
	}
	free(data);
}

static void cmd_block_read(struct qtest *q, const struct command *c, const struct words *w)
{
	uint64_t addr, size;
	uint8_t *data;
	char *text;

	if (!block(q, w, &addr, &size))
		return;
	data = malloc(size + 1);
	text = malloc((size + 2) / 3 * c->codec->ratio + sizeof("0x"));
	if (data && text) {
		block_read(q, addr, data, size);
		c->codec->encode(data, size, text);
		qtest_settle(q);
		qtest_say(q, "OK %s", text);
	} else {
		qtest_say(q, "FAIL out of memory");
	}
	free(data);
	free(text);
}

static void cmd_memset(struct qtest *q, const struct command *c, const struct words *w)
{
	uint64_t addr, size, value;
	uint8_t *data;

	(void)c;
	if (!block(q, w, &addr, &size) || !number(q, w->v[3], &value))
		return;
	data = malloc(size + 1);
	if (!data) {
		qtest_say(q, "FAIL out of memory");
		return;
	}
	memset(data, (int)(value & 0xff), size);
	block_write(q, addr, data, size);
	free(data);
	ok(q);
}

/* ---- interrupts ---- */

static void cmd_intercept(struct qtest *q, const struct command *c, const struct words *w)
{
	const char *path = w->v[1];
	const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;

	(void)c;
	if (!strcmp(name, "ioapic")) {
		q->accel.report_lines = true;
	} else if (!strcmp(name, "msi")) {
		q->accel.report_messages = true;
	} else {
		qtest_say(q, "FAIL Unknown device '%.60s'; there are ioapic and msi", path);
		return;
	}
	ok(q);
}

static void cmd_set_irq(struct qtest *q, const struct command *c, const struct words *w)
{
	uint64_t gsi, level;

	(void)c;
	if (!number(q, w->v[3], &gsi) || !number(q, w->v[4], &level))
		return;
	if (strcmp(w->v[1], "ioapic") || gsi >= QTEST_LINES) {
		qtest_say(q, "FAIL Unknown device or line; there is ioapic with %d lines", QTEST_LINES);
		return;
	}
	qtest_accel_line(&q->accel, (unsigned)gsi, level != 0);
	ok(q);
}

/* ---- time ---- */

/* Every timer on the way finds the clock at its own time. */
static void step_to(struct qtest *q, uint64_t target)
{
	for (unsigned n = 0; n < TIMERS_MAX; n++) {
		uint64_t next = loop_next_vm_deadline(q->loop);

		if (next > target)
			break;
		vm_clock_step(MAX(next, clock_now(CLOCK_VM_NS)));
		qtest_settle(q);
	}
	vm_clock_step(target);
	qtest_settle(q);
	qtest_say(q, "OK %" PRIu64, clock_now(CLOCK_VM_NS));
}

static void cmd_clock_step(struct qtest *q, const struct command *c, const struct words *w)
{
	uint64_t now = clock_now(CLOCK_VM_NS);
	uint64_t ns;

	(void)c;
	if (w->n < 2) {
		uint64_t next = loop_next_vm_deadline(q->loop);

		step_to(q, next == UINT64_MAX ? now : MAX(next, now));
	} else if (number(q, w->v[1], &ns)) {
		step_to(q, ns > UINT64_MAX / 2 - now ? UINT64_MAX / 2 : now + ns);
	}
}

static void cmd_clock_set(struct qtest *q, const struct command *c, const struct words *w)
{
	uint64_t ns;

	(void)c;
	if (!number(q, w->v[1], &ns))
		return;
	if (ns < clock_now(CLOCK_VM_NS))
		qtest_say(q, "FAIL the clock does not go back");
	else
		step_to(q, MIN(ns, UINT64_MAX / 2));
}

/* ---- the rest ---- */

static void cmd_endianness(struct qtest *q, const struct command *c, const struct words *w)
{
	(void)c;
	(void)w;
	qtest_say(q, "OK little");
}

static void cmd_module_load(struct qtest *q, const struct command *c, const struct words *w)
{
	(void)c;
	qtest_say(q, "FAIL there are no modules to load: %.40s%.40s", w->v[1], w->v[2]);
}

static const struct command commands[] = {
	{ "outb", 2, 2, 1, cmd_out, NULL },
	{ "outw", 2, 2, 2, cmd_out, NULL },
	{ "outl", 2, 2, 4, cmd_out, NULL },
	{ "inb", 1, 1, 1, cmd_in, NULL },
	{ "inw", 1, 1, 2, cmd_in, NULL },
	{ "inl", 1, 1, 4, cmd_in, NULL },
	{ "writeb", 2, 2, 1, cmd_write, NULL },
	{ "writew", 2, 2, 2, cmd_write, NULL },
	{ "writel", 2, 2, 4, cmd_write, NULL },
	{ "writeq", 2, 2, 8, cmd_write, NULL },
	{ "readb", 1, 1, 1, cmd_read, NULL },
	{ "readw", 1, 1, 2, cmd_read, NULL },
	{ "readl", 1, 1, 4, cmd_read, NULL },
	{ "readq", 1, 1, 8, cmd_read, NULL },
	{ "read", 2, 2, 0, cmd_block_read, &hex_codec },
	{ "write", 3, 3, 0, cmd_block_write, &hex_codec },
	{ "memread", 2, 2, 0, cmd_block_read, &hex_codec },
	{ "memwrite", 3, 3, 0, cmd_block_write, &hex_codec },
	{ "memset", 3, 3, 0, cmd_memset, NULL },
	{ "b64read", 2, 2, 0, cmd_block_read, &base64_codec },
	{ "b64write", 3, 3, 0, cmd_block_write, &base64_codec },
	{ "irq_intercept_in", 1, 1, 0, cmd_intercept, NULL },
	{ "irq_intercept_out", 1, 1, 0, cmd_intercept, NULL },
	{ "set_irq_in", 4, 4, 0, cmd_set_irq, NULL },
	{ "clock_step", 0, 1, 0, cmd_clock_step, NULL },
	{ "clock_set", 1, 1, 0, cmd_clock_set, NULL },
	{ "endianness", 0, 0, 0, cmd_endianness, NULL },
	{ "module_load", 2, 2, 0, cmd_module_load, NULL },
};

void qtest_command(struct qtest *q, char *line)
{
	struct words w = { .n = 0 };

	for (char *word = strsep(&line, " "); word; word = strsep(&line, " ")) {
		if (*word && w.n < WORDS_MAX)
			w.v[w.n++] = word;
	}
	if (!w.n) {
		qtest_say(q, "FAIL empty line");
		return;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct command *c = &commands[i];

		if (strcmp(c->name, w.v[0]))
			continue;
		if (w.n - 1 < c->min || w.n - 1 > c->max)
			qtest_say(q, "FAIL %s takes %u to %u arguments", c->name, c->min, c->max);
		else
			c->fn(q, c, &w);
		return;
	}
	qtest_say(q, "FAIL Unknown command '%.60s'", w.v[0]);
}
