/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * e1000: flow control (8.7.3, 8.7.4), as far as a driver sees frames of it come in: where it has set CTRL.RFCE, as
 * Linux's has, PAUSE frames are counted and end here. They stop nothing: whoever can send a frame to the guest could
 * keep it from sending. None are sent: what the guest has no buffers for waits on the wire.
 */
#include "base/wirefmt.h"
#include "nic/e1000.h"

#define OPCODE_PAUSE 1

static uint64_t address(const struct e1000 *e, unsigned low, unsigned high)
{
	return e1000_get(e, low) | (uint64_t)(e1000_get(e, high) & 0xffff) << 32;
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
	e1000_stat(e, get16(head + 16) ? E1000_XOFFRXC : E1000_XONRXC, 1);
	return station && !(rctl & RCTL_DPF) ? CONTROL_SEEN : CONTROL_TAKEN;
}
