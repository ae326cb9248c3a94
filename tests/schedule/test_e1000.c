/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * e1000 under the deterministic scheduler.
 *
 * Interrupts: the loop has causes (some of them delayed, the pin throttled), one vCPU raises causes of its own, another
 * is the driver: it waits for the pin, masks, reads the cause, takes what there is, and unmasks. An interrupt that is
 * lost is a deadlock here, and the report names who waits.
 *
 * The link: the PHY negotiates, and the loop comes to its timer at any time. Whenever the driver looks after that time,
 * the link is up.
 *
 * SCHED_SEEDS=N is how many interleavings; SCHED_SEED=N runs just that one.
 */
#ifndef VWIRE_SCHED
#define VWIRE_SCHED 1
#endif
#include <errno.h>

#include "interleave.h"
#include "loop/loop.h"

/* Now and then there is no memory for a timer: what it was for comes at once then, or it is lost. */
static bool short_of_memory;

static int arm(struct timer *t, uint64_t deadline)
{
	return short_of_memory && sched_random(2) ? -ENOMEM : timer_arm(t, deadline);
}

/* The code under test, with its scheduling points. */
#define timer_arm arm
#include "nic/e1000_intr.c"
#undef timer_arm
#include "nic/e1000_phy.c"
#include "pci/intx.c"

#include <stdio.h>
#include <stdlib.h>

#define SEEDS 100000
#define GSI   5
#define POSTS 4
#define RAISE 3

static struct pci_bus bus;
static struct irq_chip irq;
static int level;
static unsigned highs;

static struct e1000 *e;
static struct loop *net;
static struct post post;
static unsigned frames, seen, posted, done;

/* One "high" at a time: only a "low" may be said out of turn (pci/intx.c). */
static void set_line(void *opaque, unsigned gsi, bool to)
{
	(void)opaque;
	EXPECT(gsi == GSI);
	EXPECT(!to || highs++ == 0);
	SCHED_POINT();
	level = to;
	SCHED_POINT();
	highs -= to;
}

/* Nothing is received here. */
void e1000_rx_refresh(struct e1000 *card)
{
	(void)card;
}

/* ---- threads ---- */

static void net_loop(void *arg)
{
	loop_run(arg);
}

static bool loop_is_up(void *arg)
{
	return !loop_here(arg);
}

/* On the loop: a frame, or a report. */
static void frame(struct post *p)
{
	(void)p;
	frames++;
	SCHED_POINT();
	if (sched_random(2))
		e1000_rx_cause(e);
	else
		e1000_tx_cause(e, sched_random(2));
	posted++;
}

static bool frame_is_in(void *arg)
{
	return posted == *(unsigned *)arg;
}

static void wire(void *arg)
{
	(void)arg;
	sched_wait_for(loop_is_up, net, "the loop runs");
	for (unsigned i = 1; i <= POSTS; i++) {
		loop_post(net, &post);
		sched_wait_for(frame_is_in, &i, "the frame is in the ring");
	}
	done++;
}

static void raiser(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < RAISE; i++) {
		frames++;
		SCHED_POINT();
		e1000_cause(e, ICR_LSC);
	}
	done++;
}

static bool line_is_high(void *arg)
{
	(void)arg;
	return level;
}

static bool all_done(void *arg)
{
	(void)arg;
	return done == 2;
}

static void driver(void *arg)
{
	sched_wait_for(loop_is_up, net, "the loop runs");
	e1000_ims_change(e, ICR_ALL, 0);
	while (seen < POSTS + RAISE) {
		sched_wait_for(line_is_high, NULL, "the interrupt line is high");
		if (sched_random(2))
			e1000_ims_change(e, 0, ICR_ALL);
		e1000_icr_read(e);
		SCHED_POINT();
		seen = frames;
		e1000_ims_change(e, ICR_ALL, 0);
	}
	sched_wait_for(all_done, NULL, "the others are through");
	loop_stop(net);
	sched_join(*(unsigned *)arg);
	e1000_icr_read(e);
	EXPECT(!level && !atomic_load(&e->pin));
}

/* ---- the link ---- */

#define LOOKS 12

static bool is_there(void *arg)
{
	(void)arg;
	return is_up(e);
}

static uint32_t phy(unsigned op, unsigned r, uint32_t v)
{
	return e1000_mdic(e, op << 26 | 1u << 21 | r << 16 | v) & 0xffff;
}

static void negotiator(void *arg)
{
	uint64_t end;

	sched_wait_for(loop_is_up, net, "the loop runs");
	phy(MDIC_OP_WRITE, PHY_CONTROL, CONTROL_NEGOTIATE | CONTROL_RESTART);
	end = clock_now(CLOCK_VM_NS) + E1000_NEGOTIATION_NS;
	for (unsigned i = 0; i < LOOKS; i++) {
		bool over = clock_now(CLOCK_VM_NS) >= end;

		phy(MDIC_OP_READ, PHY_STATUS, 0); /* that it was down */
		EXPECT(!over || (phy(MDIC_OP_READ, PHY_STATUS, 0) & STATUS_LINK));
		SCHED_POINT();
	}
	sched_wait_for(is_there, NULL, "the link");
	EXPECT(clock_now(CLOCK_VM_NS) >= end - E1000_NEGOTIATION_NS);
	loop_stop(net);
	sched_join(*(unsigned *)arg);
	EXPECT(e1000_icr_read(e) & ICR_LSC);
}

/* ---- all seeds ---- */

static void begin(void)
{
	memset(&bus, 0, sizeof(bus));
	memset(e, 0, sizeof(*e));
	level = 0;
	frames = seen = posted = done = highs = 0;
	irq = (struct irq_chip){ .set_line = set_line };
	bus.host.irq = &irq;
	e->pci.bus = &bus;
	e->pci.intx_gsi = GSI;
	e->loop = net = loop_new("net0", NULL);
	EXPECT(net);
	vm_clock_run(true);
	e1000_intr_init(e);
	e1000_phy_init(e);
	e1000_phy_power_on(e, true);
	post_init(&post, frame);
	short_of_memory = sched_random(4) == 0;
}

static void finish(void)
{
	loop_free(net);
}

static void interrupts(void)
{
	static unsigned thread;

	e1000_put(e, E1000_ITR, sched_random(2) ? 200 : 0);
	e1000_put(e, E1000_RDTR, sched_random(2) ? 8 : 0);
	e1000_put(e, E1000_RADV, sched_random(2) ? 16 : 0);
	e1000_put(e, E1000_TIDV, sched_random(2) ? 8 : 0);
	thread = sched_spawn("net0", net_loop, net);
	sched_spawn("wire", wire, NULL);
	sched_spawn("vcpu1", raiser, NULL);
	sched_spawn("vcpu0", driver, &thread);
}

static void link_comes(void)
{
	static unsigned thread;

	thread = sched_spawn("net0", net_loop, net);
	sched_spawn("vcpu0", negotiator, &thread);
}

static const struct sched_scenario scenarios[] = {
	{ .name = "interrupts", .begin = begin, .start = interrupts, .end = finish },
	{ .name = "link", .begin = begin, .start = link_comes, .end = finish },
};

int main(void)
{
	e = malloc(sizeof(*e));
	if (!e)
		return 1;
	sched_seeds(scenarios, ARRAY_SIZE(scenarios), SEEDS);
	free(e);
	return 0;
}
