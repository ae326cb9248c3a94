/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * filter-impair: what may happen to a frame on a long way.
 *
 * Repeatable. Each direction of each queue has a generator of its own, seeded by seed=, direction and queue, and draws
 * the same count of numbers for every frame, whatever comes of them: what happens to the n-th frame depends on the seed
 * and on n alone. Times are not part of that: they are the host's.
 *
 * A frame that enters is judged at once (lost, corrupted, duplicated) and put into a delay line for as long as delay
 * and jitter say; the line keeps the order, so that frames change places only where reorder= lets one overtake. The
 * rate is kept by a virtual clock: each frame moves it on by the time that its bits take, and leaves when its turn has
 * come, up to burst= bytes earlier. What the line has no memory for is dropped (queue-full), as on a real way; the
 * giver never waits.
 *
 * It is a wire, with frames as they are on one: offloads do not go through it, so that each segment has its own fate
 * and a corrupted frame has a checksum that says so.
 */
#include "net/filter_impair.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/iov.h"
#include "base/log.h"
#include "net/delay_line.h"
#include "net/filter.h"

#define CERTAIN	  1000000 /* a probability, in millionths */
#define DELAY_MAX (3600 * NSEC_PER_SEC)

struct impair {
	struct filter base;
	struct {
		uint64_t delay, jitter; /* ns */
		uint32_t loss, duplicate, reorder, corrupt;
		uint64_t rate; /* bits a second; 0: any */
		uint64_t burst, limit, seed;
	} prop;
	uint8_t *flat; /* a frame whose bits are changed */
};

/* One direction of one queue. */
struct way {
	struct delay_line line;
	uint64_t random;
	uint64_t turn; /* ns: when the wire is free again */
	counter lost, duplicated, reordered, corrupted, overflown;
};

static struct impair *to_impair(struct filter *f)
{
	return container_of(f, struct impair, base);
}

static struct way *way_of(struct filter_port *p, enum filter_dir d)
{
	return (struct way *)p->own + d;
}

/* ---- chance ---- */

/* splitmix64: a counter, mixed; any two seeds give streams that have nothing in common. */
static uint64_t draw(struct way *w)
{
	uint64_t z = w->random += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static bool happens(struct way *w, uint32_t millionths)
{
	return (uint64_t)((unsigned __int128)draw(w) * CERTAIN >> 64) < millionths;
}

/* A number below n, n > 0. */
static uint64_t draw_below(struct way *w, uint64_t n)
{
	return (uint64_t)((unsigned __int128)draw(w) * n >> 64);
}

/* What is to happen to one frame. */
struct lot {
	bool lost, duplicate, reorder, corrupt;
	uint64_t bit; /* of the frame, the one that is changed */
	uint64_t delay;
};

static struct lot draw_lot(const struct impair *im, struct way *w, size_t len)
{
	struct lot lot;

	lot.lost = happens(w, im->prop.loss);
	lot.duplicate = happens(w, im->prop.duplicate);
	lot.reorder = happens(w, im->prop.reorder);
	lot.corrupt = happens(w, im->prop.corrupt);
	lot.bit = draw_below(w, 8 * len);
	lot.delay = im->prop.delay - im->prop.jitter + draw_below(w, 2 * im->prop.jitter + 1);
	return lot;
}

/* ---- frames ---- */

/* When a frame of so many bytes that is ready at `ready` has its turn on the wire. */
static uint64_t take_turn(const struct impair *im, struct way *w, size_t len, uint64_t ready)
{
	uint64_t early, when;

	if (!im->prop.rate)
		return ready;
	early = (uint64_t)((unsigned __int128)im->prop.burst * 8 * NSEC_PER_SEC / im->prop.rate);
	when = MAX(ready, w->turn - MIN(w->turn, early));
	w->turn = MAX(w->turn, when) + (uint64_t)((unsigned __int128)len * 8 * NSEC_PER_SEC / im->prop.rate);
	return when;
}

static void put(const struct impair *im, struct way *w, const struct batch *one, uint64_t ready)
{
	uint64_t turn = w->turn, when = take_turn(im, w, one->frame[0].len, ready);

	if (delay_line_put(&w->line, one, &one->frame[0], when))
		return;
	w->turn = turn;
	counter_add(&w->overflown, 1);
	net_drop_rx(w->line.in, NET_DROP_QUEUE_FULL);
}

/* It goes on before all that wait. False: there is no room now. */
static bool overtake(struct way *w, struct batch *one)
{
	if (!net_send(w->line.out, one))
		return false;
	net_count_tx_in(w->line.out, 1);
	net_count_rx_out(w->line.in, 1, one->frame[0].len);
	counter_add(&w->reordered, 1);
	return true;
}

/* The frame moves to im->flat, of which whole[1] tells, and one bit of it changes there. */
static void corrupt(struct impair *im, struct way *w, struct batch *one, struct iovec whole[2], uint64_t bit)
{
	struct frame *f = &one->frame[0];
	size_t len = iov_read_at(frame_iov(one, f), f->cnt, 0, im->flat, MIN(f->len, (uint32_t)NET_FRAME_MAX));

	im->flat[bit / 8] ^= (uint8_t)(1 << bit % 8);
	whole[1] = (struct iovec){ im->flat, len };
	one->iov = whole;
	f->iov = f->cnt = 1;
	f->meta.data_valid = false; /* whoever said so has not seen this */
	counter_add(&w->corrupted, 1);
}

static void impair_frame(struct impair *im, struct way *w, const struct batch *b, const struct frame *f, uint64_t now)
{
	struct lot lot = draw_lot(im, w, f->len);
	struct iovec whole[2];
	struct batch one;

	if (lot.lost) {
		counter_add(&w->lost, 1);
		net_drop_rx(w->line.in, NET_DROP_IMPAIRED);
		return;
	}
	one.iov = b->iov;
	one.n = 1;
	one.frame[0] = *f;
	if (lot.corrupt)
		corrupt(im, w, &one, whole, lot.bit);
	if (lot.duplicate) {
		counter_add(&w->duplicated, 1);
		counter_add(&w->line.in->rx.made, 1);
		put(im, w, &one, now + lot.delay);
	}
	if (!lot.reorder || !overtake(w, &one))
		put(im, w, &one, now + lot.delay);
}

static unsigned impair_send(struct filter_port *p, enum filter_dir d, struct batch *b)
{
	struct way *w = way_of(p, d);
	uint64_t now = delay_line_now(&w->line);

	for (unsigned i = 0; i < b->n; i++)
		impair_frame(to_impair(p->filter), w, b, &b->frame[i], now);
	delay_line_run(&w->line);
	return b->n;
}

static void impair_room(struct filter_port *p, enum filter_dir d)
{
	delay_line_run(&way_of(p, d)->line);
}

static void impair_start(struct filter_port *p)
{
	impair_room(p, FILTER_RX);
	impair_room(p, FILTER_TX);
}

static void impair_quiesce(struct filter_port *p)
{
	delay_line_stop(&way_of(p, FILTER_RX)->line);
	delay_line_stop(&way_of(p, FILTER_TX)->line);
}

static void impair_leave(struct filter_port *p)
{
	delay_line_empty(&way_of(p, FILTER_RX)->line, NET_DROP_STOPPED);
	delay_line_empty(&way_of(p, FILTER_TX)->line, NET_DROP_STOPPED);
}

/* ---- life ---- */

static void impair_port_close(struct filter_port *p)
{
	delay_line_free(&way_of(p, FILTER_RX)->line);
	delay_line_free(&way_of(p, FILTER_TX)->line);
	free(p->own);
}

static int impair_port_open(struct filter_port *p, struct error *err)
{
	const struct impair *im = to_impair(p->filter);
	int ret = 0;

	p->own = calloc(2, sizeof(struct way));
	if (!p->own)
		return fail(err, ENOMEM, "no memory");
	for (enum filter_dir d = FILTER_RX; !ret && d <= FILTER_TX; d++) {
		struct way *w = way_of(p, d);

		w->random = im->prop.seed + 2 * p->queue + d;
		w->random = draw(w); /* far apart */
		ret = delay_line_init(&w->line, im->prop.limit, filter_in(p, d), filter_out(p, d), err);
	}
	if (ret)
		impair_port_close(p);
	return ret;
}

static int check(const struct impair *im, struct error *err)
{
	if (im->prop.jitter > im->prop.delay)
		return fail(err, EINVAL, "jitter= is more than delay=; a frame cannot leave before it came");
	if (im->prop.reorder && !im->prop.delay && !im->prop.rate)
		return fail(err, EINVAL,
			    "reorder= needs delay= or rate=: where nothing waits, nothing can be overtaken");
	return 0;
}

static int impair_open(struct filter *f, struct error *err)
{
	struct impair *im = to_impair(f);
	int ret = check(im, err);

	if (ret)
		return ret;
	im->flat = malloc(NET_FRAME_MAX);
	if (!im->flat)
		return fail(err, ENOMEM, "no memory");
	f->passes = 0;
	if (im->prop.seed)
		return 0;
	if (getrandom(&im->prop.seed, sizeof(im->prop.seed), 0) < 0 || !im->prop.seed)
		im->prop.seed = clock_now(CLOCK_HOST_NS) | 1;
	log_info("%s: seed=%" PRIu64 " repeats this run", f->base.id, im->prop.seed);
	return 0;
}

static void impair_close(struct filter *f)
{
	free(to_impair(f)->flat);
	to_impair(f)->flat = NULL;
}

static json_t *describe_way(const struct way *w)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "lost", (json_int_t)counter_get(&w->lost), "duplicated",
			 (json_int_t)counter_get(&w->duplicated), "reordered", (json_int_t)counter_get(&w->reordered),
			 "corrupted", (json_int_t)counter_get(&w->corrupted), "overflown",
			 (json_int_t)counter_get(&w->overflown), "waiting", (json_int_t)frameq_count(w->line.queue));
}

static json_t *impair_describe(struct filter_port *p)
{
	return json_pack("{s:I, s:o, s:o}", "seed", (json_int_t)to_impair(p->filter)->prop.seed, "rx",
			 describe_way(way_of(p, FILTER_RX)), "tx", describe_way(way_of(p, FILTER_TX)));
}

static void impair_class_init(struct class *c)
{
	struct filter_class *fc = container_of(c, struct filter_class, base.class);

	fc->open = impair_open;
	fc->close = impair_close;
	fc->port_open = impair_port_open;
	fc->port_close = impair_port_close;
	fc->start = impair_start;
	fc->quiesce = impair_quiesce;
	fc->send = impair_send;
	fc->room = impair_room;
	fc->leave = impair_leave;
	fc->describe = impair_describe;
}

/* ---- options ---- */

static int parse_time(const struct opt *o, const char *value, void *field, struct error *err)
{
	static const struct unit units[] = {
		{ "", 1000 }, { "us", 1000 }, { "ms", NSEC_PER_MSEC }, { "s", NSEC_PER_SEC }, { NULL, 0 },
	};

	(void)o;
	if (parse_units(value, units, DELAY_MAX, field))
		return fail(err, EINVAL, "expected a time up to an hour: 500 or 500us, 20ms, 1.5s");
	return 0;
}

static int parse_chance(const struct opt *o, const char *value, void *field, struct error *err)
{
	static const struct unit units[] = { { "", CERTAIN / 100 }, { "%", CERTAIN / 100 }, { NULL, 0 } };
	uint64_t v;

	(void)o;
	if (parse_units(value, units, CERTAIN, &v))
		return fail(err, EINVAL, "expected a part of all frames in percent, 0 to 100, as 0.1 or 0.1%%");
	*(uint32_t *)field = (uint32_t)v;
	return 0;
}

static int parse_rate(const struct opt *o, const char *value, void *field, struct error *err)
{
	static const struct unit units[] = {
		{ "", 1 }, { "k", 1000 }, { "M", 1000000 }, { "G", 1000000000 }, { NULL, 0 },
	};
	uint64_t v;

	(void)o;
	if (parse_units(value, units, 1000000000000, &v) || v < 1000)
		return fail(err, EINVAL, "expected bits in a second, 1k to 1000G, as 56k, 10M or 2.5G");
	*(uint64_t *)field = v;
	return 0;
}

#define PROP(field, name, kind, ...) OPT_F(struct impair, prop.field, name, kind, __VA_ARGS__)

static const struct opt props[] = {
	PROP(delay, "delay", OPT_CUSTOM, .parse = parse_time, .arg = "time",
	     .help = "each frame waits so long: 500us, 20ms, 1s"),
	PROP(jitter, "jitter", OPT_CUSTOM, .parse = parse_time, .arg = "time",
	     .help = "and up to so much more or less; the order stays"),
	PROP(loss, "loss", OPT_CUSTOM, .parse = parse_chance, .arg = "percent", .help = "frames that are lost"),
	PROP(duplicate, "duplicate", OPT_CUSTOM, .parse = parse_chance, .arg = "percent",
	     .help = "frames that come twice"),
	PROP(reorder, "reorder", OPT_CUSTOM, .parse = parse_chance, .arg = "percent",
	     .help = "frames that overtake those that wait"),
	PROP(corrupt, "corrupt", OPT_CUSTOM, .parse = parse_chance, .arg = "percent",
	     .help = "frames of which one bit is changed"),
	PROP(rate, "rate", OPT_CUSTOM, .parse = parse_rate, .arg = "bits",
	     .help = "bits in a second, of frames without preamble and checksum: 56k, 10M, 2.5G"),
	PROP(burst, "burst", OPT_SIZE, .def = "1514", .max = GIB, .arg = "bytes",
	     .help = "with rate: bytes that may go at once after a pause"),
	PROP(limit, "limit", OPT_SIZE, .def = "1M", .min = DELAY_LINE_MIN, .max = DELAY_LINE_MAX, .arg = "bytes",
	     .help = "memory for frames of one direction that wait; what does not fit is dropped"),
	PROP(seed, "seed", OPT_UINT, .def = "0", .arg = "number",
	     .help = "of chance: the same one gives each frame the same fate; 0: a new one, which is said"),
	OPT_END,
};

const struct type type_filter_impair = {
	.name = "filter-impair",
	.parent = "netfilter",
	.desc = "delays, loses, duplicates, reorders and corrupts frames, and limits their rate",
	.instance_size = sizeof(struct impair),
	.class_init = impair_class_init,
	.props = props,
};
