/* SPDX-License-Identifier: BSD-2-Clause */
/* MC146818: register names are the data sheet's. */
#include "machine/rtc.h"

#include <time.h>

enum {
	SECONDS,
	SECONDS_ALARM,
	MINUTES,
	MINUTES_ALARM,
	HOURS,
	HOURS_ALARM,
	WEEKDAY,
	DAY,
	MONTH,
	YEAR,
	A,
	B,
	C,
	D
};
#define CENTURY 0x32

#define A_UIP	  0x80
#define A_DIVIDER 0x70
#define A_RATE	  0x0f
#define A_RUNNING 0x20 /* divider: 32768 Hz */
#define B_SET	  0x80
#define B_PIE	  0x40
#define B_AIE	  0x20
#define B_UIE	  0x10
#define B_BINARY  0x04
#define B_24H	  0x02
#define C_IRQF	  0x80
#define C_PF	  0x40
#define C_AF	  0x20
#define C_UF	  0x10
#define D_VALID	  0x80

#define UPDATE_NS   (244 * NSEC_PER_USEC)
#define CLOCK_HZ    32768ULL
#define DAY_SECONDS 86400LL

/* ---- number formats ---- */

static uint8_t encode(const struct rtc *r, unsigned v)
{
	return (uint8_t)(r->cmos[B] & B_BINARY ? v : (v / 10 << 4) | v % 10);
}

static unsigned decode(const struct rtc *r, uint8_t v)
{
	return r->cmos[B] & B_BINARY ? v : (v >> 4) * 10U + (v & 15);
}

static uint8_t encode_hour(const struct rtc *r, unsigned h)
{
	if (r->cmos[B] & B_24H)
		return encode(r, h);
	return encode(r, h % 12 ? h % 12 : 12) | (h >= 12 ? 0x80 : 0);
}

static unsigned decode_hour(const struct rtc *r, uint8_t v)
{
	if (r->cmos[B] & B_24H)
		return decode(r, v);
	return decode(r, v & 0x7f) % 12 + (v & 0x80 ? 12 : 0);
}

/* ---- time ---- */

static uint64_t elapsed_ns(const struct rtc *r)
{
	uint64_t now = clock_now(CLOCK_VM_NS);

	return now > r->base_ns ? now - r->base_ns : 0;
}

static int64_t guest_time(const struct rtc *r)
{
	return r->base + (int64_t)(elapsed_ns(r) / NSEC_PER_SEC);
}

static bool stopped(const struct rtc *r)
{
	return r->cmos[B] & B_SET || (r->cmos[A] & A_DIVIDER) >= 0x60;
}

/* Put the time of now into the registers. */
static void fill_time(struct rtc *r)
{
	time_t t = (time_t)guest_time(r);
	struct tm tm;

	if (!gmtime_r(&t, &tm))
		return;
	r->cmos[SECONDS] = encode(r, (unsigned)tm.tm_sec);
	r->cmos[MINUTES] = encode(r, (unsigned)tm.tm_min);
	r->cmos[HOURS] = encode_hour(r, (unsigned)tm.tm_hour);
	r->cmos[WEEKDAY] = encode(r, (unsigned)tm.tm_wday + 1);
	r->cmos[DAY] = encode(r, (unsigned)tm.tm_mday);
	r->cmos[MONTH] = encode(r, (unsigned)tm.tm_mon + 1);
	r->cmos[YEAR] = encode(r, (unsigned)tm.tm_year % 100);
	r->cmos[CENTURY] = encode(r, (unsigned)(tm.tm_year + 1900) / 100);
}

/* Take the registers as the time of now. timegm() makes sense of anything. */
static void take_time(struct rtc *r)
{
	int64_t before = guest_time(r);
	struct tm tm = {
		.tm_sec = (int)decode(r, r->cmos[SECONDS]),
		.tm_min = (int)decode(r, r->cmos[MINUTES]),
		.tm_hour = (int)decode_hour(r, r->cmos[HOURS]),
		.tm_mday = (int)decode(r, r->cmos[DAY]),
		.tm_mon = (int)decode(r, r->cmos[MONTH]) - 1,
		.tm_year = (int)(decode(r, r->cmos[CENTURY]) * 100 + decode(r, r->cmos[YEAR])) - 1900,
	};
	int64_t t = timegm(&tm);

	r->offset += t - before;
	r->base = t;
	r->base_ns = clock_now(CLOCK_VM_NS);
	r->last_tick = 0;
}

static void sync_locked(struct rtc *r)
{
	r->base = (int64_t)time(NULL) + r->offset;
	r->base_ns = clock_now(CLOCK_VM_NS);
	r->last_tick = 0;
}

/* ---- interrupts ---- */

/* 0: none. The rate selector's first two values are special (data sheet, table 5). */
static uint64_t period_ticks(const struct rtc *r)
{
	unsigned rate = r->cmos[A] & A_RATE;

	if (!rate || stopped(r))
		return 0;
	return rate <= 2 ? BIT(rate + 6) : BIT(rate - 1);
}

static uint64_t ticks_now(void)
{
	return (uint64_t)((unsigned __int128)clock_now(CLOCK_VM_NS) * CLOCK_HZ / NSEC_PER_SEC);
}

static bool field_matches(uint8_t alarm, unsigned value, unsigned now)
{
	return (alarm & 0xc0) == 0xc0 || value == now; /* 11xxxxxx: any */
}

/* `s`: second of the day */
static bool minute_matches(const struct rtc *r, unsigned s)
{
	return field_matches(r->cmos[MINUTES_ALARM], decode(r, r->cmos[MINUTES_ALARM]), s / 60 % 60) &&
	       field_matches(r->cmos[HOURS_ALARM], decode_hour(r, r->cmos[HOURS_ALARM]), s / 3600);
}

static bool alarm_at(const struct rtc *r, int64_t t)
{
	unsigned s = (unsigned)(t % DAY_SECONDS + DAY_SECONDS) % DAY_SECONDS;

	return minute_matches(r, s) && field_matches(r->cmos[SECONDS_ALARM], decode(r, r->cmos[SECONDS_ALARM]), s % 60);
}

/* Seconds from now to the next alarm, at most a day; 0: never. Steps to the alarm's second or to the next minute. */
static unsigned seconds_to_alarm(const struct rtc *r)
{
	unsigned second = decode(r, r->cmos[SECONDS_ALARM]), n = 1;
	int64_t t = guest_time(r);

	while (n <= DAY_SECONDS) {
		unsigned s = (unsigned)((t + n) % DAY_SECONDS + DAY_SECONDS) % DAY_SECONDS;

		if (alarm_at(r, t + n))
			return n;
		n += minute_matches(r, s) && second > s % 60 && second < 60 ? second - s % 60 : 60 - s % 60;
	}
	return 0;
}

static void update_irq(struct rtc *r)
{
	if (r->cmos[C] & r->cmos[B] & (C_PF | C_AF | C_UF))
		r->cmos[C] |= C_IRQF;
	else
		r->cmos[C] &= (uint8_t)~C_IRQF;
	isa_irq_set(&r->irq, r->cmos[C] & C_IRQF);
}

/* Set the flags of all that has come due since the last time. */
static void catch_up(struct rtc *r)
{
	uint64_t second = elapsed_ns(r) / NSEC_PER_SEC, period = period_ticks(r);

	if (!stopped(r) && second > r->last_tick) {
		r->cmos[C] |= C_UF;
		/* Looking at the last minutes is enough for a guest that polls: its timer would have come. */
		for (uint64_t n = MAX(r->last_tick, second > 300 ? second - 300 : 0) + 1; n <= second; n++)
			if (alarm_at(r, r->base + (int64_t)n))
				r->cmos[C] |= C_AF;
	}
	r->last_tick = MAX(second, r->last_tick);
	if (period) {
		uint64_t n = ticks_now() / period;

		if (n != r->last_period)
			r->cmos[C] |= C_PF;
		r->last_period = n;
	}
	update_irq(r);
}

/* When the timer must run next; UINT64_MAX: never. Nothing that raises no interrupt needs it. */
static uint64_t next_due(struct rtc *r)
{
	uint64_t due = UINT64_MAX, period = period_ticks(r);
	unsigned seconds = 0;

	if (stopped(r))
		return due;
	if (r->cmos[B] & B_UIE)
		seconds = 1;
	else if (r->cmos[B] & B_AIE)
		seconds = seconds_to_alarm(r);
	if (seconds)
		due = r->base_ns + (elapsed_ns(r) / NSEC_PER_SEC + seconds) * NSEC_PER_SEC;
	if (r->cmos[B] & B_PIE && period) {
		uint64_t tick = (ticks_now() / period + 1) * period;

		due = MIN(due, (uint64_t)(((unsigned __int128)tick * NSEC_PER_SEC + CLOCK_HZ - 1) / CLOCK_HZ));
	}
	return due;
}

static void rearm(struct rtc *r)
{
	uint64_t due;

	mutex_lock(&r->lock);
	catch_up(r);
	due = next_due(r);
	mutex_unlock(&r->lock);
	if (due == UINT64_MAX)
		timer_cancel(&r->timer);
	else
		timer_arm(&r->timer, due);
}

static void on_timer(struct timer *t)
{
	rearm(container_of(t, struct rtc, timer));
}

static void on_rearm(struct post *p)
{
	rearm(container_of(p, struct rtc, rearm));
}

/* ---- registers ---- */

static bool is_time(uint8_t i)
{
	return i == SECONDS || i == MINUTES || (i >= HOURS && i <= YEAR && i != HOURS_ALARM) || i == CENTURY;
}

static uint8_t read_register(struct rtc *r, uint8_t i)
{
	uint8_t v;

	if (is_time(i) && !stopped(r))
		fill_time(r);
	switch (i) {
	case A:
		v = r->cmos[A] & (uint8_t)~A_UIP;
		if (!stopped(r) && elapsed_ns(r) % NSEC_PER_SEC >= (uint64_t)(NSEC_PER_SEC - UPDATE_NS))
			v |= A_UIP;
		return v;
	case C:
		catch_up(r);
		v = r->cmos[C];
		r->cmos[C] = 0;
		update_irq(r);
		return v;
	case D:
		return D_VALID;
	default:
		return r->cmos[i];
	}
}

static void write_control(struct rtc *r, uint8_t i, uint8_t v)
{
	bool was = stopped(r);

	catch_up(r);
	if (!was)
		fill_time(r); /* before the format may change */
	if (i == B && v & B_SET)
		v &= (uint8_t)~B_UIE; /* SET clears UIE */
	r->cmos[i] = i == A ? v & (uint8_t)~A_UIP : v;
	if (was && !stopped(r))
		take_time(r);
	if (period_ticks(r))
		r->last_period = ticks_now() / period_ticks(r);
	update_irq(r);
}

static void write_register(struct rtc *r, uint8_t i, uint8_t v)
{
	if (i == A || i == B) {
		write_control(r, i, v);
	} else if (i == C || i == D) {
		return;
	} else if (is_time(i) && !stopped(r)) {
		fill_time(r);
		r->cmos[i] = v;
		take_time(r);
	} else {
		r->cmos[i] = v;
	}
	if (i <= D)
		loop_post(r->loop, &r->rearm);
}

static uint64_t rtc_read(void *opaque, uint64_t off, unsigned size)
{
	struct rtc *r = opaque;

	(void)size;
	return off ? read_register(r, r->index) : 0xff; /* the index is for writing */
}

static void rtc_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
	struct rtc *r = opaque;

	(void)size;
	if (off)
		write_register(r, r->index, (uint8_t)value);
	else
		r->index = value & 0x7f; /* bit 7 masks the NMI, which nobody raises */
}

static const struct region_ops rtc_ops = { .read = rtc_read, .write = rtc_write, .min = 1, .max = 1 };

/* ---- life ---- */

static void put16(struct rtc *r, unsigned at, uint64_t v)
{
	v = MIN(v, 0xffffU);
	r->cmos[at] = (uint8_t)v;
	r->cmos[at + 1] = (uint8_t)(v >> 8);
}

/* Memory sizes, where a PC's firmware leaves them. */
static void fill_memory_size(struct rtc *r, uint64_t low, uint64_t high)
{
	put16(r, 0x15, 640);
	put16(r, 0x17, (low - MIB) / KIB);
	put16(r, 0x30, (low - MIB) / KIB);
	put16(r, 0x34, low > 16 * MIB ? (low - 16 * MIB) / (64 * KIB) : 0);
	put16(r, 0x5b, high / (64 * KIB));
	r->cmos[0x5d] = (uint8_t)(high / (64 * KIB) >> 16);
}

void rtc_init(struct rtc *r, struct loop *main_loop, const struct irq_chip *irq, unsigned gsi, uint64_t low_ram,
	      uint64_t high_ram)
{
	*r = (struct rtc){ .loop = main_loop, .irq = { .chip = irq, .gsi = gsi } };
	mutex_init(&r->lock);
	timer_init(&r->timer, main_loop, CLOCK_VM_NS, on_timer);
	post_init(&r->rearm, on_rearm);
	r->region = (struct region){
		.name = "rtc",
		.size = 2,
		.ops = &rtc_ops,
		.opaque = r,
		.policy = REGION_DEVICE,
		.lock = &r->lock,
	};
	r->cmos[A] = A_RUNNING | 6;
	r->cmos[B] = B_24H;
	fill_memory_size(r, low_ram, high_ram);
	sync_locked(r);
}

void rtc_sync(struct rtc *r)
{
	mutex_lock(&r->lock);
	sync_locked(r);
	mutex_unlock(&r->lock);
	loop_post(r->loop, &r->rearm);
}

void rtc_reset(struct rtc *r)
{
	mutex_lock(&r->lock);
	r->cmos[B] &= (uint8_t) ~(B_PIE | B_AIE | B_UIE);
	r->cmos[C] = 0;
	r->index = 0;
	update_irq(r);
	mutex_unlock(&r->lock);
	loop_post(r->loop, &r->rearm);
}

void rtc_destroy(struct rtc *r)
{
	timer_cancel(&r->timer);
	loop_unpost(r->loop, &r->rearm);
	mutex_destroy(&r->lock);
}
