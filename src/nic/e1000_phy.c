/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * e1000: the PHY (chapters 8 and 11, MDIC; IEEE 802.3 clauses 22, 28 and 40) and the link.
 *
 * The PHY is the one inside the chip, at address 1 of MDIC's bus: a Marvell 88E1011 in the 82540 and 82545, an 88E1000
 * beside the 82544. Its partner at the other end of the wire can do all speeds and duplex modes, and no PAUSE.
 *
 * The link is up when the cable is in (the wire's other end is there), the PHY is neither powered down nor isolated,
 * and, where it negotiates, it has done so, which takes E1000_NEGOTIATION_NS of the VM's time. `link` is the loop's to
 * change, in work(); a vCPU that changes what it depends on calls into the loop. The MAC sees the link if CTRL.SLU is
 * set (13.4.1); each change raises LSC.
 *
 * A loop that comes late to the timer must not show: Linux's driver looks some milliseconds after a reset, and one that
 * then has frames in the ring and no link takes that for a hang and resets the card. So who looks while the PHY
 * negotiates waits for the loop, which first does what was posted to it, and knows what time it is.
 */
#include "nic/e1000.h"

#define PHY_ADDRESS 1

enum {
	PHY_CONTROL = 0,
	PHY_STATUS = 1,
	PHY_ID1 = 2,
	PHY_ID2 = 3,
	PHY_ADVERTISE = 4,
	PHY_PARTNER = 5,
	PHY_EXPANSION = 6,
	PHY_NEXT_PAGE = 7,
	PHY_1000_CONTROL = 9,
	PHY_1000_STATUS = 10,
	PHY_EXT_STATUS = 15,
	PHY_SPEC_CONTROL = 16,
	PHY_SPEC_STATUS = 17,
	PHY_INT_ENABLE = 18,
	PHY_INT_STATUS = 19,
	PHY_EXT_SPEC_CONTROL = 20,
	PHY_RX_ERRORS = 21,
	PHY_LED_CONTROL = 24,
	PHY_PAGE_SELECT = 29,
	PHY_PAGE_DATA = 30,
};

#define CONTROL_RESET	  BIT32(15)
#define CONTROL_LOOPBACK  BIT32(14)
#define CONTROL_SPEED_LOW BIT32(13)
#define CONTROL_NEGOTIATE BIT32(12)
#define CONTROL_POWER_OFF BIT32(11)
#define CONTROL_ISOLATE	  BIT32(10)
#define CONTROL_RESTART	  BIT32(9)
#define CONTROL_DUPLEX	  BIT32(8)
#define CONTROL_SPEED_HI  BIT32(6)

#define STATUS_FIXED	  0x7949u /* all of 10 and 100, extended status, preamble suppression, negotiation */
#define STATUS_LINK	  BIT32(2)
#define STATUS_NEGOTIATED BIT32(5)

/* Register 10: the partner's 1000BASE-T, both receivers fine. */
#define GIGABIT_STATUS 0x3c00u

static const struct {
	uint16_t reset, writable;
} defaults[32] = {
	[PHY_CONTROL] = { 0x1140, 0x7fc0 },	     [PHY_ID1] = { 0x0141, 0 },
	[PHY_ADVERTISE] = { 0x0de1, 0xbfff },	     [PHY_NEXT_PAGE] = { 0x2001, 0xbfff },
	[PHY_1000_CONTROL] = { 0x0e00, 0xff00 },     [PHY_EXT_STATUS] = { 0x3000, 0 },
	[PHY_SPEC_CONTROL] = { 0x0068, 0xffff },     [PHY_INT_ENABLE] = { 0, 0xffff },
	[PHY_EXT_SPEC_CONTROL] = { 0x0d60, 0xffff }, [PHY_LED_CONTROL] = { 0x4100, 0xffff },
	[PHY_PAGE_SELECT] = { 0, 0x001f },	     [PHY_PAGE_DATA] = { 0, 0xffff },
};

static uint16_t get(const struct e1000 *e, unsigned r)
{
	return atomic_load(&e->phy[r]);
}

/* ---- what the two ends agree on ---- */

struct mode {
	uint8_t speed; /* 0: 10, 1: 100, 2: 1000 Mbit/s */
	bool full, none;
};

static struct mode mode_of(const struct e1000 *e)
{
	uint16_t control = get(e, PHY_CONTROL), can = get(e, PHY_ADVERTISE), gigabit = get(e, PHY_1000_CONTROL);

	if (!(control & CONTROL_NEGOTIATE)) {
		uint8_t speed = (uint8_t)((control & CONTROL_SPEED_LOW ? 1 : 0) + (control & CONTROL_SPEED_HI ? 2 : 0));

		return (struct mode){ MIN(speed, 2), control & CONTROL_DUPLEX, false };
	}
	if (gigabit & 0x0300)
		return (struct mode){ 2, gigabit & 0x0200, false };
	if (can & 0x0180)
		return (struct mode){ 1, can & 0x0100, false };
	return (struct mode){ 0, can & 0x0040, !(can & 0x0060) };
}

static bool is_up(const struct e1000 *e)
{
	return atomic_load(&e->link) == E1000_LINK_UP;
}

uint32_t e1000_status(const struct e1000 *e)
{
	uint32_t ctrl = e1000_get(e, E1000_CTRL), v;
	struct mode m = mode_of(e);
	unsigned speed = ctrl & CTRL_FRCSPD ? MIN(CTRL_SPEED(ctrl), 2u) : m.speed;
	bool full = ctrl & CTRL_FRCDPX ? ctrl & CTRL_FD : m.full;

	v = STATUS_SPEED(speed) | STATUS_ASDV(m.speed) | (full ? STATUS_FD : 0);
	return is_up(e) && (ctrl & CTRL_SLU) ? v | STATUS_LU : v;
}

bool e1000_phy_loops(const struct e1000 *e)
{
	return get(e, PHY_CONTROL) & CONTROL_LOOPBACK;
}

/* ---- the link; loop ---- */

static void set_link(struct e1000 *e, enum e1000_link to)
{
	bool was = is_up(e);

	atomic_store(&e->link, to);
	if (was && to != E1000_LINK_UP)
		atomic_store(&e->link_lost, true);
	if (was != (to == E1000_LINK_UP))
		e1000_cause(e, ICR_LSC);
}

/* Bring the link to where it belongs; `anew`: negotiation begins (again). */
static void work(struct e1000 *e, bool anew)
{
	uint16_t control = get(e, PHY_CONTROL);

	timer_cancel(&e->negotiation);
	if (!atomic_load(&e->cable) || (control & (CONTROL_POWER_OFF | CONTROL_ISOLATE)) || mode_of(e).none)
		set_link(e, E1000_LINK_DOWN);
	else if (is_up(e) && !anew)
		return;
	else if (!(control & CONTROL_NEGOTIATE))
		set_link(e, E1000_LINK_UP);
	else if (timer_arm(&e->negotiation, clock_now(CLOCK_VM_NS) + E1000_NEGOTIATION_NS) == 0)
		set_link(e, E1000_LINK_NEGOTIATING);
}

static void on_negotiated(struct timer *t)
{
	set_link(container_of(t, struct e1000, negotiation), E1000_LINK_UP);
}

static void negotiated_meanwhile(void *arg)
{
	struct e1000 *e = arg;

	if (!timer_armed(&e->negotiation) || e->negotiation.deadline > clock_now(CLOCK_VM_NS))
		return;
	timer_cancel(&e->negotiation);
	on_negotiated(&e->negotiation);
}

void e1000_phy_look(struct e1000 *e)
{
	if (unlikely(atomic_load(&e->link) == E1000_LINK_NEGOTIATING))
		loop_call(e->loop, negotiated_meanwhile, e);
}

static void work_anew(void *arg)
{
	work(arg, true);
}

static void work_on(void *arg)
{
	work(arg, false);
}

static void on_link_post(struct post *p)
{
	work(container_of(p, struct e1000, link_post), false);
}

void e1000_set_cable(struct e1000 *e, bool in)
{
	atomic_store(&e->cable, in);
	loop_post(e->loop, &e->link_post);
}

/* ---- registers ---- */

static uint16_t read_status(struct e1000 *e)
{
	bool up = is_up(e);
	uint16_t v = STATUS_FIXED;

	/* A link that was lost is shown as down once (22.2.4.2.13). */
	if (up && !atomic_exchange(&e->link_lost, false))
		v |= STATUS_LINK;
	else if (!up)
		atomic_store(&e->link_lost, false);
	if (up && (get(e, PHY_CONTROL) & CONTROL_NEGOTIATE))
		v |= STATUS_NEGOTIATED;
	return v;
}

static uint16_t read_spec_status(const struct e1000 *e)
{
	struct mode m = mode_of(e);

	if (!is_up(e))
		return (uint16_t)(get(e, PHY_CONTROL) & CONTROL_NEGOTIATE ? 0 : m.speed << 14 | m.full << 13);
	return (uint16_t)(m.speed << 14 | m.full << 13 | 0x0c00); /* resolved, link */
}

static uint16_t phy_read(struct e1000 *e, unsigned r)
{
	bool agreed;

	e1000_phy_look(e);
	agreed = is_up(e) && (get(e, PHY_CONTROL) & CONTROL_NEGOTIATE);
	switch (r) {
	case PHY_STATUS:
		return read_status(e);
	case PHY_ID2:
		return e1000_class(e)->phy_id2;
	case PHY_PARTNER:
		return agreed ? 0x41e1 : 0;
	case PHY_EXPANSION:
		return agreed ? 0x0005 : 0x0004;
	case PHY_1000_STATUS:
		return agreed ? GIGABIT_STATUS : 0;
	case PHY_SPEC_STATUS:
		return read_spec_status(e);
	case PHY_INT_STATUS:
	case PHY_RX_ERRORS:
		return 0;
	default:
		return get(e, r);
	}
}

static void put(struct e1000 *e, unsigned r, uint16_t v)
{
	atomic_store(&e->phy[r], (uint16_t)((get(e, r) & ~defaults[r].writable) | (v & defaults[r].writable)));
}

static void to_defaults(struct e1000 *e)
{
	for (unsigned r = 0; r < ARRAY_SIZE(defaults); r++)
		atomic_store(&e->phy[r], defaults[r].reset);
}

/* While frames loop nothing is received from the wire, and the other way round. */
static void loops_changed(void *arg)
{
	e1000_rx_refresh(arg);
}

/*
 * Reset and restart clear themselves. A reset by this register keeps what the others, and this one, say: that is how
 * the Marvell parts put a change into force.
 */
static void write_control(struct e1000 *e, uint16_t v)
{
	uint16_t old = get(e, PHY_CONTROL), now;
	bool anew;

	put(e, PHY_CONTROL, (uint16_t)(v & ~(CONTROL_RESET | CONTROL_RESTART)));
	now = get(e, PHY_CONTROL);
	anew = (v & CONTROL_RESET) || ((now ^ old) & CONTROL_NEGOTIATE) ||
	       ((v & CONTROL_RESTART) && (now & CONTROL_NEGOTIATE));
	if (anew || now != old)
		loop_call(e->loop, anew ? work_anew : work_on, e);
	if ((old ^ now) & CONTROL_LOOPBACK)
		loop_call(e->loop, loops_changed, e);
}

static void phy_write(struct e1000 *e, unsigned r, uint16_t v)
{
	if (r == PHY_CONTROL)
		write_control(e, v);
	else
		put(e, r, v);
}

/* Who is not there pulls nothing: an error. */
uint32_t e1000_mdic(struct e1000 *e, uint32_t v)
{
	unsigned op = v >> 26 & 3, address = v >> 21 & 31, r = v >> 16 & 31;

	v = (v & ~(MDIC_ERROR | BIT32(31))) | MDIC_READY;
	if (address != PHY_ADDRESS || (op != MDIC_OP_READ && op != MDIC_OP_WRITE))
		return v | MDIC_ERROR;
	if (op == MDIC_OP_WRITE)
		phy_write(e, r, (uint16_t)v);
	else
		v = (v & 0xffff0000) | phy_read(e, r);
	return v;
}

/* ---- state ---- */

bool e1000_phy_sane(const struct e1000 *e)
{
	unsigned link = atomic_load(&e->link);

	for (unsigned r = 0; r < ARRAY_SIZE(defaults); r++)
		if ((get(e, r) ^ defaults[r].reset) & ~defaults[r].writable)
			return false;
	return link <= E1000_LINK_UP && (link == E1000_LINK_NEGOTIATING || !e->times.left[E1000_TIMER_NEGOTIATION]);
}

/* The cable is the one that is here. Negotiation goes on where it was. */
void e1000_phy_go_on(struct e1000 *e)
{
	bool down = atomic_load(&e->link) == E1000_LINK_DOWN;

	if (down == atomic_load(&e->cable) || (!down && !is_up(e) && !timer_armed(&e->negotiation)))
		work(e, false);
}

/* ---- life ---- */

void e1000_phy_init(struct e1000 *e)
{
	timer_init(&e->negotiation, e->loop, CLOCK_VM_NS, on_negotiated);
	post_init(&e->link_post, on_link_post);
}

/* It has been negotiated long ago. */
void e1000_phy_power_on(struct e1000 *e, bool cable)
{
	timer_cancel(&e->negotiation);
	to_defaults(e);
	atomic_store(&e->cable, cable);
	atomic_store(&e->link_lost, false);
	atomic_store(&e->link, cable ? E1000_LINK_UP : E1000_LINK_DOWN);
}

void e1000_phy_cancel(struct e1000 *e)
{
	timer_cancel(&e->negotiation);
	loop_unpost(e->loop, &e->link_post);
}

void e1000_phy_reset(struct e1000 *e)
{
	to_defaults(e);
	loop_call(e->loop, work_anew, e);
	loop_call(e->loop, loops_changed, e);
}
