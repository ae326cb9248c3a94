/* SPDX-License-Identifier: BSD-2-Clause */
/* filter-dump: capture files of what goes through a wire. The file is dump_file.c's, its format pcap.c's. */
#include "net/filter_dump.h"

#include <errno.h>
#include <jansson.h>
#include <pcap/pcap.h>
#include <stdlib.h>
#include <time.h>

#include "base/iov.h"
#include "base/library.h"
#include "net/dump_file.h"
#include "net/filter.h"
#include "net/pcap.h"

enum {
	FORMAT_PCAP,
	FORMAT_PCAPNG
};

struct dump {
	struct filter base;
	struct {
		char *file, *expr;
		uint32_t maxlen, count;
		uint64_t size;
		unsigned format;
	} prop;
	struct dump_file file;
	bool filtered; /* program is there */
	struct bpf_program program;
	uint8_t *flat; /* one frame in one piece, for the program */
	counter seen;  /* frames that went by, and those of them that the expression took */
	counter wanted;
	uint64_t now;	/* when the frames in hand entered */
	uint8_t *block; /* of pcapng: the record under way */
	struct pcap_stamp stamp;
	struct frame_meta meta;
};

/* libpcap, which only expressions need: it brings ten libraries along. */
static struct pcap_functions {
	__typeof__(pcap_open_dead) *open_dead;
	__typeof__(pcap_close) *close;
	__typeof__(pcap_compile) *compile;
	__typeof__(pcap_geterr) *geterr;
	__typeof__(pcap_freecode) *freecode;
	__typeof__(pcap_offline_filter) *offline_filter;
} libpcap;

#define FN(name) LIBRARY_FN(struct pcap_functions, name, pcap_##name)

static const struct library_fn pcap_fn[] = {
	FN(open_dead), FN(close), FN(compile), FN(geterr), FN(freecode), FN(offline_filter),
};

static const struct library pcap_library = {
	.sonames = (const char *const[]){ "libpcap.so.1", "libpcap.so.0.8", NULL },
	.package = "libpcap0.8",
	.fn = pcap_fn,
	.n = ARRAY_SIZE(pcap_fn),
};

static struct dump *to_dump(struct filter *f)
{
	return container_of(f, struct dump, base);
}

static struct dump *file_to_dump(struct dump_file *f)
{
	return container_of(f, struct dump, file);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

/* ---- formats ---- */

static size_t head_pcap(struct dump_file *f, uint8_t *to)
{
	return pcap_head(to, file_to_dump(f)->prop.maxlen);
}

static size_t no_tail(struct dump_file *f, uint8_t *to)
{
	(void)f, (void)to;
	return 0;
}

static size_t head_pcapng(struct dump_file *f, uint8_t *to)
{
	const struct dump *d = file_to_dump(f);
	const struct pcapng_about about = {
		.program = "vwire " VWIRE_VERSION,
		.interface = d->base.prop.netdev,
		.filter = d->prop.expr,
		.snaplen = d->prop.maxlen,
	};

	return pcapng_head(to, &about);
}

static size_t tail_pcapng(struct dump_file *f, uint8_t *to)
{
	struct dump *d = file_to_dump(f);

	return pcapng_statistics(to, now_ns(), counter_get(&d->wanted), counter_get(&f->missed));
}

static const struct dump_format formats[] = {
	[FORMAT_PCAP] = { .head_max = PCAP_HEAD, .head = head_pcap, .tail = no_tail, .whole = pcap_whole_records },
	[FORMAT_PCAPNG] = { .head_max = PCAPNG_HEAD_MAX,
			    .tail_max = PCAPNG_STATISTICS,
			    .head = head_pcapng,
			    .tail = tail_pcapng,
			    .whole = pcapng_whole_blocks },
};

/* ---- frames ---- */

/* Does the expression take it? A frame in one piece is judged where it lies. */
static bool is_wanted(struct dump *d, const struct iovec *iov, unsigned cnt, size_t len)
{
	struct pcap_pkthdr h = { .len = (bpf_u_int32)len, .caplen = (bpf_u_int32)len };
	const uint8_t *data = d->flat;

	if (!d->filtered)
		return true;
	if (cnt >= 1 && iov[0].iov_len >= len)
		data = iov[0].iov_base;
	else
		h.caplen = (bpf_u_int32)iov_read_at(iov, cnt, 0, d->flat, MIN(len, (size_t)NET_FRAME_MAX));
	return libpcap.offline_filter(&d->program, &h, data) != 0;
}

static void copy_frame(uint8_t *to, const struct iovec *iov, unsigned cnt, size_t n)
{
	size_t got = iov_read_at(iov, cnt, 0, to, n);

	memset(to + got, 0, n - got); /* never what was there before */
}

static void record_pcap(struct dump *d, const struct iovec *iov, unsigned cnt)
{
	uint8_t *p = dump_file_room(&d->file, PCAP_RECORD_HEAD + d->stamp.caplen);

	if (!p)
		return;
	pcap_record_head(p, &d->stamp);
	copy_frame(p + PCAP_RECORD_HEAD, iov, cnt, d->stamp.caplen);
	dump_file_add(&d->file, PCAP_RECORD_HEAD + d->stamp.caplen);
}

/* The record is finished when it is known what became of the frame. */
static void begin_pcapng(struct dump *d, const struct iovec *iov, unsigned cnt)
{
	d->block = dump_file_room(&d->file, PCAPNG_PACKET_HEAD + d->stamp.caplen + PCAPNG_OPTIONS_MAX);
	if (!d->block)
		return;
	pcapng_packet_head(d->block, &d->stamp);
	copy_frame(d->block + PCAPNG_PACKET_HEAD, iov, cnt, d->stamp.caplen);
}

static void dump_enter(struct filter_port *p, enum filter_dir dir)
{
	(void)dir;
	to_dump(p->filter)->now = now_ns();
}

static void dump_see(struct filter_port *p, enum filter_dir dir, const struct iovec *iov, unsigned cnt, size_t len,
		     const struct frame_meta *m)
{
	struct dump *d = to_dump(p->filter);

	(void)dir;
	d->block = NULL;
	counter_add(&d->seen, 1);
	if (!is_wanted(d, iov, cnt, len))
		return;
	counter_add(&d->wanted, 1);
	d->stamp = (struct pcap_stamp){ d->now, (uint32_t)MIN(len, (size_t)d->prop.maxlen), (uint32_t)len };
	d->meta = *m;
	if (d->prop.format == FORMAT_PCAP)
		record_pcap(d, iov, cnt);
	else
		begin_pcapng(d, iov, cnt);
}

/* What was still to be done with the frame. */
static unsigned offload_comment(const struct frame_meta *m, char *buf, size_t size)
{
	static const char *const gso[] = { "", "tcp4", "tcp6", "udp fragments", "udp" };

	if (m->gso)
		snprintf(buf, size, "to be cut: %s, %u bytes%s", gso[m->gso], m->gso_size,
			 m->needs_csum ? "; checksum partial" : "");
	else
		snprintf(buf, size, "checksum partial");
	return m->gso || m->needs_csum;
}

static unsigned drop_comment(const struct filter_fate *fate, char *buf, size_t size)
{
	const char *why = net_drop_name(fate->why);

	if (fate->dropped == fate->of)
		snprintf(buf, size, "dropped: %s", why);
	else
		snprintf(buf, size, "%u of %u frames, this among them, were dropped: %s", fate->dropped, fate->of, why);
	return fate->dropped > 0;
}

static void dump_fate(struct filter_port *p, enum filter_dir dir, const struct filter_fate *fate)
{
	struct dump *d = to_dump(p->filter);
	struct pcapng_options o = { .outbound = dir == FILTER_RX, .queue = p->queue };
	char offload[100], drop[100];

	if (!d->block)
		return;
	o.comment[o.n_comments] = offload;
	o.n_comments += offload_comment(&d->meta, offload, sizeof(offload));
	o.comment[o.n_comments] = drop;
	o.n_comments += drop_comment(fate, drop, sizeof(drop));
	dump_file_add(&d->file, pcapng_packet_end(d->block, &d->stamp, &o));
	d->block = NULL;
}

static void dump_quiesce(struct filter_port *p)
{
	dump_file_flush(&to_dump(p->filter)->file);
}

/* ---- life ---- */

static int compile(struct dump *d, struct error *err)
{
	int ret = library_load(&pcap_library, &libpcap, err);
	pcap_t *p;

	if (ret)
		return error_prefix(err, "expr=%.100s: ", d->prop.expr), ret;
	p = libpcap.open_dead(DLT_EN10MB, NET_FRAME_MAX);
	if (!p)
		return fail(err, ENOMEM, "no memory");
	if (libpcap.compile(p, &d->program, d->prop.expr, 1, PCAP_NETMASK_UNKNOWN) < 0)
		ret = fail(err, EINVAL, "expr=%.100s: %s; see pcap-filter(7)", d->prop.expr, libpcap.geterr(p));
	libpcap.close(p);
	if (ret)
		return ret;
	d->filtered = true;
	d->flat = malloc(NET_FRAME_MAX);
	return d->flat ? 0 : fail(err, ENOMEM, "no memory");
}

static void forget_program(struct dump *d)
{
	if (d->filtered)
		libpcap.freecode(&d->program);
	d->filtered = false;
	free(d->flat);
	d->flat = NULL;
}

static int check(const struct dump *d, struct error *err)
{
	if (d->prop.count && !d->prop.size)
		return fail(err, EINVAL, "count=%u: says how many files of size= bytes; give size= too", d->prop.count);
	return 0;
}

static int dump_open(struct filter *f, struct error *err)
{
	struct dump *d = to_dump(f);
	int ret = check(d, err);

	if (!ret && d->prop.expr)
		ret = compile(d, err);
	if (ret)
		goto out;
	d->file.path = d->prop.file;
	d->file.format = &formats[d->prop.format];
	d->file.limit = d->prop.size;
	d->file.count = d->prop.count;
	d->file.loop = net_client_find(f->prop.netdev, 0)->loop;
	f->wants_fate = d->prop.format == FORMAT_PCAPNG;
	ret = dump_file_open(&d->file, err);
	if (ret)
		error_prefix(err, "file=%.200s: ", d->prop.file);
out:
	if (ret)
		forget_program(d);
	return ret;
}

static void dump_close(struct filter *f)
{
	struct dump *d = to_dump(f);

	dump_file_close(&d->file);
	forget_program(d);
}

static int dump_port_open(struct filter_port *p, struct error *err)
{
	if (filter_in(p, FILTER_TX)->loop != to_dump(p->filter)->file.loop)
		return fail(err, ENOTSUP, "netdev=%s: its queues run on several loops; one dump is for one",
			    p->filter->prop.netdev);
	return 0;
}

static json_t *dump_describe(struct filter_port *p)
{
	struct dump *d = to_dump(p->filter);

	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:b}", "file", d->prop.file, "seen",
			 (json_int_t)counter_get(&d->seen), "wanted", (json_int_t)counter_get(&d->wanted), "written",
			 (json_int_t)counter_get(&d->file.records), "missed", (json_int_t)counter_get(&d->file.missed),
			 "stopped", d->file.fd < 0);
}

static void dump_class_init(struct class *c)
{
	struct filter_class *fc = container_of(c, struct filter_class, base.class);

	fc->open = dump_open;
	fc->close = dump_close;
	fc->port_open = dump_port_open;
	fc->quiesce = dump_quiesce;
	fc->enter = dump_enter;
	fc->see = dump_see;
	fc->fate = dump_fate;
	fc->describe = dump_describe;
}

static const char *const format_names[] = { "pcap", "pcapng", NULL };

#define PROP(field, name, kind, ...) OPT_F(struct dump, prop.field, name, kind, __VA_ARGS__)

static const struct opt props[] = {
	PROP(file, "file", OPT_STR, .required = true, .arg = "path", .help = "where the frames are written to"),
	PROP(maxlen, "maxlen", OPT_UINT, .def = "65536", .help = "bytes of each frame that are kept at most"),
	PROP(format, "format", OPT_ENUM, .choices = format_names, .def = "pcap",
	     .help = "pcapng has nanoseconds, directions, and comments on frames that were dropped"),
	PROP(size, "size", OPT_SIZE, .min = DUMP_LIMIT_MIN, .max = BIT(50), .arg = "bytes",
	     .help = "go on in FILE.1, FILE.2, ... when a file would become longer than this"),
	PROP(count, "count", OPT_UINT, .min = 2, .max = 1000000, .arg = "files",
	     .help = "with size: write over the first file after so many"),
	PROP(expr, "expr", OPT_STR, .arg = "expression", .help = "keep only frames that it takes; see pcap-filter(7)"),
	OPT_END,
};

const struct type type_filter_dump = {
	.name = "filter-dump",
	.parent = "netfilter",
	.desc = "writes frames to a capture file, for tcpdump and Wireshark",
	.instance_size = sizeof(struct dump),
	.class_init = dump_class_init,
	.props = props,
};
