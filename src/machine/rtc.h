/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The MC146818 real-time clock and 128 bytes of CMOS memory, ports 0x70 and 0x71.
 *
 * Time is the host's (UTC) at the last rtc_sync() plus what the VM clock has run since; the guest may set it, which is
 * an offset that lasts until the end. Alarm, periodic and update-ended interrupts are due by the VM clock. One timer on
 * the main loop stands at the earliest of them; vCPUs that change a register ask the main loop to set it again.
 */
#ifndef MACHINE_RTC_H
#define MACHINE_RTC_H

#include "loop/loop.h"
#include "machine/isa_irq.h"
#include "mem/space.h"

struct rtc {
	struct region region;
	struct loop *loop;
	struct timer timer;
	struct post rearm;
	struct mutex lock; /* guards the fields below */
	struct isa_irq irq;
	uint8_t index;
	uint8_t cmos[128];    /* registers A..D are 10..13; time fields only while SET holds them */
	int64_t base;	      /* guest's time in seconds since 1970 ... */
	uint64_t base_ns;     /* ... at this VM clock */
	int64_t offset;	      /* what the guest added to the host's time */
	uint64_t last_tick;   /* VM clock second (since base_ns) of the last update and ... */
	uint64_t last_period; /* ... number of the last period that were turned into flags */
};

void rtc_init(struct rtc *r, struct loop *main_loop, const struct irq_chip *irq, unsigned gsi, uint64_t low_ram,
	      uint64_t high_ram);
void rtc_sync(struct rtc *r);  /* take the host's time again: at start and after a pause */
void rtc_reset(struct rtc *r); /* time and memory stay */
void rtc_destroy(struct rtc *r);

#endif
