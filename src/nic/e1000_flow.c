/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * e1000: flow control (8.7.3, 8.7.4), as far as frames come in: a driver that sets CTRL.RFCE has its transmission stopped
 * by PAUSE frames for as long as they say, in the VM's time, and finds them counted. It sends none: what it has no buffers
 * for waits on the wire.
 *
 * Nobody at the other end of the wire has negotiated that; so a driver sets RFCE only if it is forced to.
 */
#include "base/wirefmt.h"
#include "nic/e1000.h"

#define OPCODE_PAUSE 1

static uint64_t address(const struct e1000 *e, unsigned low, unsigned high)
{
	return e1000_get(e, low) | (uint64_t)(e1000_get(e, high) & 0xffff) << 32;
}

static void pause_for(struct e1000 *e, unsigned quanta)
{
	e1000_stat(e, quanta ? E1000_XOFFRXC : E1000_XONRXC, 1);
	timer_cancel(&e->pause);
	if (quanta && timer_arm(&e->pause, clock_now(CLOCK_VM_NS) + (uint64_t)quanta * E1000_QUANTUM_NS) == 0) {
		atomic_store(&e->paused, true);
	} else {
		atomic_store(&e->paused, false);
		loop_post(e->loop, &e->tx_post);
	}
}

enum e1000_control e1000_flow(struct e1000 *e, const uint8_t head[18])
{
	uint64_t to = mac_key(head);
	bool station = to == address(e, E1000_RA, E1000_RA + 4);
	uint32_t rctl = e1000_get(e, E1000_RCTL);

	if (get16(head + 12) != e1000_get(e, E1000_FCT) || (!station && to != address(e, E1000_FCAL, E1000_FCAH)))
		return CONTROL_NONE;
	if (get16(head + 14) != OPCODE_PAUSE) {
		e1000_stat(e, E1000_FCRUC, 1);
		return rctl & RCTL_PMCF ? CONTROL_PASS : CONTROL_SEEN;
	}
	pause_for(e, get16(head + 16));
	return station && !(rctl & RCTL_DPF) ? CONTROL_SEEN : CONTROL_TAKEN;
}

static void on_pause(struct timer *t)
{
	struct e1000 *e = container_of(t, struct e1000, pause);

	atomic_store(&e->paused, false);
	e1000_tx_run(e);
}

void e1000_flow_init(struct e1000 *e)
{
	timer_init(&e->pause, e->loop, CLOCK_VM_NS, on_pause);
}

void e1000_flow_reset(struct e1000 *e)
{
	timer_cancel(&e->pause);
	atomic_store(&e->paused, false);
}
