/* SPDX-License-Identifier: BSD-2-Clause */
/* The MC146818 and the ACPI power management block, by their registers and a stepped VM clock. */
#include "unit.h"

#include <time.h>

#include "machine/acpi_pm.h"
#include "machine/rtc.h"

static struct error err;
static struct loop *loop;
static struct rtc rtc;
static struct acpi_pm pm;
static bool line[16];
static unsigned rises, poweroffs;
static uint64_t now;

static void set_line(void *opaque, unsigned gsi, bool level)
{
	(void)opaque;
	assert_true(line[gsi] != level);
	line[gsi] = level;
	rises += level;
}

static const struct irq_chip chip = { .set_line = set_line };

static void on_poweroff(void *opaque)
{
	(void)opaque;
	poweroffs++;
}

static int set_up(void **state)
{
	(void)state;
	loop = loop_new("test", &err);
	memset(line, 0, sizeof(line));
	rises = poweroffs = 0;
	rtc_init(&rtc, loop, &chip, 8, 3 * GIB, 2 * GIB);
	acpi_pm_init(&pm, loop, &chip, 9, 16);
	acpi_pm_on_poweroff(&pm, on_poweroff, NULL);
	acpi_pm_reset(&pm);
	return loop ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	rtc_destroy(&rtc);
	acpi_pm_destroy(&pm);
	loop_free(loop);
	return 0;
}

static void step(uint64_t ns)
{
	now += ns;
	vm_clock_step(now);
	while (loop_turn(loop))
		;
}

static uint64_t reg_in(const struct region *r, uint64_t off, unsigned size)
{
	uint64_t v;

	mutex_lock(r->lock);
	v = r->ops->read(r->opaque, off, size);
	mutex_unlock(r->lock);
	return v;
}

static void reg_out(const struct region *r, uint64_t off, uint64_t v, unsigned size)
{
	mutex_lock(r->lock);
	r->ops->write(r->opaque, off, v, size);
	mutex_unlock(r->lock);
	while (loop_turn(loop))
		;
}

static uint8_t cmos(uint8_t i)
{
	reg_out(&rtc.region, 0, i, 1);
	return (uint8_t)reg_in(&rtc.region, 1, 1);
}

static void set_cmos(uint8_t i, uint8_t v)
{
	reg_out(&rtc.region, 0, i, 1);
	reg_out(&rtc.region, 1, v, 1);
}

/* 2029-12-31 23:59:58, a Monday; BCD, 24 hours. */
static void set_date(void)
{
	set_cmos(11, 0x82);
	set_cmos(0, 0x58);
	set_cmos(2, 0x59);
	set_cmos(4, 0x23);
	set_cmos(7, 0x31);
	set_cmos(8, 0x12);
	set_cmos(9, 0x29);
	set_cmos(0x32, 0x20);
	set_cmos(11, 0x02);
}

/* ---- the clock ---- */

static void time_is_the_hosts(void **state)
{
	time_t t = time(NULL);
	struct tm tm;

	(void)state;
	gmtime_r(&t, &tm);
	set_cmos(11, 0x06); /* binary */
	assert_in_range(cmos(9), tm.tm_year % 100, tm.tm_year % 100 + 1);
	assert_int_equal(cmos(0x32), 20);
	assert_int_equal(cmos(13), 0x80);
}

static void years_end(void **state)
{
	(void)state;
	set_date();
	assert_int_equal(cmos(0), 0x58);
	assert_int_equal(cmos(6), 2);
	step(3 * NSEC_PER_SEC);
	assert_int_equal(cmos(0), 0x01);
	assert_int_equal(cmos(2), 0x00);
	assert_int_equal(cmos(4), 0x00);
	assert_int_equal(cmos(7), 0x01);
	assert_int_equal(cmos(8), 0x01);
	assert_int_equal(cmos(9), 0x30);
	assert_int_equal(cmos(6), 3);
}

static void twelve_hours_and_binary(void **state)
{
	(void)state;
	set_date();
	set_cmos(11, 0x00);
	assert_int_equal(cmos(4), 0x91); /* 11 p.m. */
	set_cmos(11, 0x04);
	assert_int_equal(cmos(4), 0x8b);
	step(3 * NSEC_PER_SEC);
	assert_int_equal(cmos(4), 12); /* midnight */
	set_cmos(11, 0x06);
	assert_int_equal(cmos(4), 0);
}

static void set_holds_the_time(void **state)
{
	(void)state;
	set_date();
	set_cmos(11, 0x82);
	step(10 * NSEC_PER_SEC);
	assert_int_equal(cmos(0), 0x58);
	set_cmos(11, 0x02);
	assert_int_equal(cmos(0), 0x58);
	step(NSEC_PER_SEC);
	assert_int_equal(cmos(0), 0x59);
}

static void update_in_progress_before_each_second(void **state)
{
	(void)state;
	set_date();
	assert_int_equal(cmos(10) & 0x80, 0);
	step(NSEC_PER_SEC - 100 * NSEC_PER_USEC);
	assert_int_equal(cmos(10) & 0x80, 0x80);
	step(100 * NSEC_PER_USEC);
	assert_int_equal(cmos(10) & 0x80, 0);
}

/* ---- its interrupts ---- */

static void periodic_at_1024_hz(void **state)
{
	(void)state;
	set_cmos(10, 0x26);
	cmos(12);
	set_cmos(11, 0x42);
	for (unsigned i = 0; i < 2048; i++) {
		step(NSEC_PER_SEC / 2048);
		if (line[8]) {
			assert_int_equal(cmos(12) & 0xc0, 0xc0);
			assert_false(line[8]);
		}
	}
	assert_in_range(rises, 1023, 1025);
	set_cmos(11, 0x02);
	step(NSEC_PER_SEC);
	assert_false(line[8]);
}

static void update_ended_each_second(void **state)
{
	(void)state;
	set_date();
	cmos(12);
	set_cmos(11, 0x12);
	for (unsigned i = 0; i < 5; i++) {
		assert_false(line[8]);
		step(NSEC_PER_SEC);
		assert_true(line[8]);
		assert_int_equal(cmos(12) & 0x90, 0x90);
	}
}

static void alarm_once_at_its_time(void **state)
{
	(void)state;
	set_date();
	set_cmos(1, 0x05);
	set_cmos(3, 0x01);
	set_cmos(5, 0x00);
	cmos(12);
	set_cmos(11, 0x22);
	step(66 * NSEC_PER_SEC);
	assert_false(line[8]);
	step(NSEC_PER_SEC);
	assert_true(line[8]);
	assert_int_equal(cmos(12) & 0xa0, 0xa0);
	step(3600 * NSEC_PER_SEC);
	assert_false(line[8]);
	/* "Don't care" in hours: every hour. */
	set_cmos(5, 0xff);
	step(3600 * NSEC_PER_SEC);
	assert_true(line[8]);
}

/* The main loop looks for the next alarm at each write: one that never comes must not cost it more than others. */
static void an_alarm_that_never_comes_is_cheap(void **state)
{
	uint64_t start = clock_now(CLOCK_HOST_NS);

	(void)state;
	set_cmos(3, 0xff);
	set_cmos(5, 0xff);
	set_cmos(11, 0x22);
	for (unsigned i = 0; i < 2000; i++) {
		set_cmos(1, 0x99);
		step(0);
	}
	assert_true(clock_now(CLOCK_HOST_NS) - start < NSEC_PER_SEC / 2);
	step(2 * 86400 * NSEC_PER_SEC);
	assert_false(cmos(12) & 0x20);
}

static void a_guest_that_sets_nonsense_harms_nobody(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 128; i++)
		for (unsigned v = 0; v < 256; v += 15) {
			set_cmos((uint8_t)i, (uint8_t)v);
			cmos((uint8_t)i);
			step(NSEC_PER_SEC / 8);
		}
}

static void memory_size_and_reset(void **state)
{
	(void)state;
	assert_int_equal(cmos(0x34) | cmos(0x35) << 8, (3 * GIB - 16 * MIB) / (64 * KIB));
	assert_int_equal(cmos(0x5b) | cmos(0x5c) << 8, 2 * GIB / (64 * KIB));
	set_cmos(0x40, 0xa5);
	set_cmos(11, 0x72);
	rtc_reset(&rtc);
	assert_int_equal(cmos(11), 0x02);
	assert_int_equal(cmos(0x40), 0xa5);
	assert_false(line[8]);
}

/* ---- ACPI ---- */

static void power_button_raises_the_sci(void **state)
{
	(void)state;
	acpi_pm_power_button(&pm);
	assert_false(line[9]); /* not enabled yet */
	reg_out(&pm.region, 2, 0x0100, 2);
	assert_true(line[9]);
	assert_int_equal(reg_in(&pm.region, 0, 2) & 0x0100, 0x0100);
	reg_out(&pm.region, 0, 0x0001, 2);
	assert_true(line[9]);
	reg_out(&pm.region, 0, 0x0100, 2);
	assert_false(line[9]);
	/* Byte accesses to the status clear only what they name. */
	acpi_pm_power_button(&pm);
	reg_out(&pm.region, 0, 0xff, 1);
	assert_true(line[9]);
	reg_out(&pm.region, 1, 0x01, 1);
	assert_false(line[9]);
}

static void only_s5_powers_off(void **state)
{
	(void)state;
	assert_int_equal(reg_in(&pm.region, 4, 2) & 1, 1);
	reg_out(&pm.region, 4, 5 << 10, 2);
	assert_int_equal(poweroffs, 0);
	reg_out(&pm.region, 4, 1 << 13 | 3 << 10, 2);
	assert_int_equal(poweroffs, 0);
	reg_out(&pm.region, 4, 1 << 13 | 5 << 10, 2);
	assert_int_equal(poweroffs, 1);
}

static void timer_runs_at_3579545_hz(void **state)
{
	uint64_t before = reg_in(&pm.region, 8, 4);

	(void)state;
	step(NSEC_PER_SEC);
	assert_in_range((reg_in(&pm.region, 8, 4) - before) & 0xffffff, 3579544, 3579546);
	/* Its carry: every 2.34 s. */
	reg_out(&pm.region, 0, 1, 2);
	reg_out(&pm.region, 2, 1, 2);
	step(3 * NSEC_PER_SEC);
	assert_true(line[9]);
	reg_out(&pm.region, 0, 1, 2);
	assert_false(line[9]);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(time_is_the_hosts),
		T(years_end),
		T(twelve_hours_and_binary),
		T(set_holds_the_time),
		T(update_in_progress_before_each_second),
		T(periodic_at_1024_hz),
		T(update_ended_each_second),
		T(alarm_once_at_its_time),
		T(an_alarm_that_never_comes_is_cheap),
		T(a_guest_that_sets_nonsense_harms_nobody),
		T(memory_size_and_reset),
		T(power_button_raises_the_sci),
		T(only_s5_powers_off),
		T(timer_runs_at_3579545_hz),
	};

	vm_clock_manual();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
