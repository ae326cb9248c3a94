/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rtl8139: life, properties, the net client, and the way from registers to the loop. See rtl8139.h.
 *
 * A register that sets the device up is changed on a vCPU; rtl_adopt() then has the loop renew its copy of all of them
 * and waits for that, so what the write asked for is in force when it returns, and nothing that was under way before
 * touches guest memory afterwards. What follows from it (frames to be sent, room to be told of) is posted.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "nic/nic.h"
#include "nic/rtl8139.h"

#define REVISION_C     0x10
#define REVISION_CPLUS 0x20

/* ---- registers to the loop ---- */

static void configure(struct rtl8139 *r)
{
	uint8_t cr = r->reg[R_CR];
	uint16_t cpcr = r->prop.cplus ? rtl_reg16(r, R_CPCR) : 0;
	uint32_t rcr = rtl_reg32(r, R_RCR), tsad[RTL_SLOTS];
	unsigned rblen = rcr >> RCR_RBLEN_SHIFT & 3;
	struct rtl_config *c = &r->cfg;

	for (unsigned i = 0; i < RTL_SLOTS; i++)
		tsad[i] = atomic_load(&r->tsad[i]);
	*c = (struct rtl_config){
		.te = cr & CR_TE,
		.re = cr & CR_RE,
		.cp_tx = cpcr & CPCR_TX,
		.cp_rx = cpcr & CPCR_RX,
		.strip = cpcr & CPCR_RXVLAN,
		.check = cpcr & CPCR_RXCSUM,
		.loopback = (rtl_reg32(r, R_TCR) & TCR_LBK) == TCR_LBK,
		.wrap = rcr & RCR_WRAP && rblen != 3,
		.rcr = rcr,
		.rbstart = rtl_reg32(r, R_RBSTART),
		.ring_size = 8192u << rblen,
		.tx_ring = { (tsad[0] & ~0xffu) | (uint64_t)tsad[1] << 32,
			     (tsad[2] & ~0xffu) | (uint64_t)tsad[3] << 32 },
		.rx_ring = rtl_reg32(r, R_RDSAR) | (uint64_t)rtl_reg32(r, R_RDSAR + 4) << 32,
		.mac = mac_key(r->reg + R_IDR0),
		.rx_max = cpcr & CPCR_RX ? RTL_RX_MAX : RTL_RX_MAX_C,
	};
	memcpy(c->mar, r->reg + R_MAR0, sizeof(c->mar));
}

static void restart_rx(struct rtl8139 *r)
{
	struct rtl_rx *rx = &r->rx;

	rx->wp = 0;
	rx->index = 0;
	rx->dry = rx->told_bad = false;
	atomic_store(&r->cbr, 0);
	atomic_store(&r->capr, (uint16_t)-16);
}

static void restart_all(struct rtl8139 *r)
{
	r->tx.slot = 0;
	r->tx.polled = 0;
	r->rx.rok = false;
	for (unsigned i = 0; i < RTL_SLOTS; i++) {
		atomic_store(&r->tsd[i], TSD_OWN);
		atomic_store(&r->tsad[i], 0);
	}
}

struct adoption {
	struct rtl8139 *r;
	unsigned restart;
};

static void adopt(void *arg)
{
	const struct adoption *a = arg;
	struct rtl8139 *r = a->r;
	bool loopback = r->cfg.loopback, cp_tx = r->cfg.cp_tx;
	unsigned restart = a->restart;

	if (restart & RTL_RESTART_ALL) {
		restart |= RTL_RESTART_RX | RTL_RESTART_TX | RTL_RESTART_HIGH;
		restart_all(r);
	}
	configure(r);
	if (restart & RTL_RESTART_RX)
		restart_rx(r);
	if (restart & RTL_RESTART_TX)
		r->tx.index[0] = 0;
	if (restart & RTL_RESTART_HIGH)
		r->tx.index[1] = 0;
	if (restart & ~(unsigned)RTL_RESTART_RX || !r->cfg.te || loopback != r->cfg.loopback || cp_tx != r->cfg.cp_tx)
		rtl_tx_drop_waiting(r, NET_DROP_RESET);
	r->rx.wp &= r->cfg.ring_size - 1;
	rtl_rx_forget(r);
	loop_post(r->loop, &r->tx_post);
	loop_post(r->loop, &r->rx_post);
}

void rtl_adopt(struct rtl8139 *r, unsigned restart)
{
	struct adoption a = { r, restart };

	loop_call(r->loop, adopt, &a);
}

/* ---- kicks; loop ---- */

static void tx_posted(struct post *p)
{
	rtl_tx_run(container_of(p, struct rtl8139, tx_post));
}

/* TPPoll, by its doorbell. */
static void polled(struct watch *w, uint32_t events)
{
	struct rtl8139 *r = container_of(w, struct rtl8139, poll_watch);

	(void)events;
	atomic_fetch_or(&r->poll, POLL_NORMAL);
	rtl_tx_run(r);
}

/* ---- the net client ---- */

static void client_wake(struct net_client *c, unsigned what)
{
	if (what & NET_WAKE_ROOM)
		rtl_tx_room(client_rtl8139(c));
}

static void go_on(struct rtl8139 *r)
{
	loop_post(r->loop, &r->tx_post);
	loop_post(r->loop, &r->rx_post);
}

static void client_start(struct net_client *c)
{
	client_rtl8139(c)->quiet = false;
	go_on(client_rtl8139(c));
}

static void client_quiesce(struct net_client *c)
{
	client_rtl8139(c)->quiet = true;
	rtl_rx_forget(client_rtl8139(c));
}

static void client_link_changed(struct net_client *c, bool up)
{
	rtl_link_set(client_rtl8139(c), up);
}

static json_t *client_describe(struct net_client *c)
{
	struct rtl8139 *r = client_rtl8139(c);

	return json_pack("{s:I, s:b, s:I}", "guest-errors", (json_int_t)counter_get(&r->guest_errors), "cplus",
			 r->cfg.cp_tx || r->cfg.cp_rx, "missed", (json_int_t)atomic_load(&r->missed));
}

static void client_info(struct net_client *c, char *buf, size_t size)
{
	struct rtl8139 *r = client_rtl8139(c);

	snprintf(buf, size, "model=rtl8139,macaddr=" MAC_FMT, MAC_ARGS(r->prop.mac.addr));
}

static const struct net_client_ops client_ops = {
	.type = "nic",
	.lend = rtl_rx_lend,
	.take = rtl_rx_take,
	.commit = rtl_rx_commit,
	.wake = client_wake,
	.start = client_start,
	.quiesce = client_quiesce,
	.link_changed = client_link_changed,
	.describe = client_describe,
	.info = client_info,
};

/* ---- what pci/ asks for; control mutex ---- */

static void stop(void *arg)
{
	struct rtl8139 *r = arg;

	r->stopped = true;
	rtl_rx_forget(r);
}

static void go(void *arg)
{
	struct rtl8139 *r = arg;

	r->stopped = false;
	go_on(r);
}

static void rtl_quiesce(struct pci_device *p)
{
	loop_call(to_rtl8139(p)->loop, stop, to_rtl8139(p));
}

static void rtl_resume(struct pci_device *p)
{
	loop_call(to_rtl8139(p)->loop, go, to_rtl8139(p));
}

static void rtl_reset(struct pci_device *p)
{
	rtl_power_on(to_rtl8139(p));
}

/* ---- life ---- */

static void init_regions(struct rtl8139 *r)
{
	static const char *const name[] = { "rtl8139.io", "rtl8139.mem" };

	r->bell = (struct doorbell){
		.offset = R_TPPOLL, .width = 1, .match = true, .value = POLL_NORMAL, .fd = r->poll_fd
	};
	for (unsigned i = 0; i < 2; i++) {
		r->region[i] = (struct region){
			.name = name[i],
			.size = RTL_REGS,
			.ops = &rtl_region_ops,
			.opaque = r,
			.policy = REGION_DEVICE,
			.lock = &r->pci.dev.lock,
			.bells = &r->bell,
			.n_bells = r->prop.cplus ? 1 : 0,
		};
		pci_bar_init(&r->pci, i, RTL_REGS, i ? 0 : PCI_BASE_ADDRESS_SPACE_IO);
		pci_bar_add(&r->pci, i, &r->region[i], 0);
	}
}

static void init_config(struct rtl8139 *r)
{
	struct pci_device *p = &r->pci;

	p->config[PCI_REVISION_ID] = r->prop.cplus ? REVISION_CPLUS : REVISION_C;
	p->config[PCI_INTERRUPT_PIN] = 1;
	p->config[PCI_MIN_GNT] = 0x20;
	p->config[PCI_MAX_LAT] = 0x40;
}

static void watch_polls(void *arg)
{
	struct rtl8139 *r = arg;

	watch_add(r->loop, &r->poll_watch, EPOLLIN | EPOLLET);
}

static void init_loop_side(struct rtl8139 *r)
{
	post_init(&r->tx_post, tx_posted);
	post_init(&r->rx_post, rtl_rx_post);
	post_init(&r->timer_post, rtl_timer_post);
	timer_init(&r->timer, r->loop, CLOCK_VM_NS, rtl_timer_fired);
	watch_init(&r->poll_watch, "rtl8139 poll", r->poll_fd, polled);
	r->tx.batch.iov = r->tx.iov;
	atomic_store(&r->timer_base, clock_now(CLOCK_VM_NS));
}

static void leave_loop(void *arg)
{
	struct rtl8139 *r = arg;

	watch_del(&r->poll_watch);
	timer_cancel(&r->timer);
	timer_cancel(&r->rx.retry);
	loop_unpost(r->loop, &r->tx_post);
	loop_unpost(r->loop, &r->rx_post);
	loop_unpost(r->loop, &r->timer_post);
}

static void unmake(struct rtl8139 *r)
{
	if (r->poll_fd >= 0)
		close(r->poll_fd);
	r->poll_fd = -1;
	offload_free(r->tx.lower);
	r->tx.lower = NULL;
	rtl_rx_destroy(r);
	if (r->mac_taken)
		mac_release(&r->prop.mac);
	r->mac_taken = false;
}

static int make(struct rtl8139 *r, struct error *err)
{
	int ret = mac_assign(&r->prop.mac, device_label(&r->pci.dev), err);

	if (ret < 0)
		return ret;
	r->mac_taken = true;
	r->poll_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->poll_fd < 0)
		return fail(err, errno, "cannot make an eventfd: %s", errno_str(errno));
	r->tx.lower = offload_new();
	if (!r->tx.lower || rtl_rx_init(r) < 0)
		return fail(err, ENOMEM, "no memory for frames");
	init_loop_side(r);
	init_regions(r);
	init_config(r);
	if (pci_add_pm(&r->pci) < 0)
		return fail(err, ENOSPC, "no room for the power management capability");
	rtl_eeprom_init(r, r->prop.mac.addr);
	return 0;
}

static int connect_client(struct rtl8139 *r, struct error *err)
{
	struct net_client *c = &r->client;
	const char *label = device_label(&r->pci.dev);
	int ret;

	*c = (struct net_client){
		.ops = &client_ops,
		.kind = NET_KIND_NIC,
		.loop = r->loop,
		.gives = NET_OFF_CSUM | NET_OFF_TSO4 | NET_OFF_ECN,
		.wants = NET_OFF_CSUM | NET_OFF_TSO4 | NET_OFF_TSO6 | NET_OFF_ECN,
		.max_frame = r->prop.cplus ? RTL_RX_MAX : RTL_RX_MAX_C,
	};
	if (!r->prop.cplus)
		c->gives = 0;
	nic_name_client(c, label, r->pci.dev.obj.class->type->name);
	ret = nic_join(c, r->prop.netdev, label, err);
	if (ret < 0)
		return ret;
	atomic_store(&r->link, net_link_up(c));
	loop_call(r->loop, watch_polls, r);
	net_start(c);
	return 0;
}

static int rtl_realize(struct pci_device *p, struct error *err)
{
	struct rtl8139 *r = to_rtl8139(p);
	int ret;

	r->loop = nic_loop(r->prop.netdev, 0, pci_place(p));
	r->poll_fd = -1;
	ret = make(r, err);
	if (ret == 0)
		ret = connect_client(r, err);
	if (ret < 0)
		unmake(r);
	return ret;
}

static void rtl_unrealize(struct pci_device *p)
{
	struct rtl8139 *r = to_rtl8139(p);

	loop_call(r->loop, leave_loop, r);
	net_client_remove(&r->client);
	loop_call(r->loop, leave_loop, r); /* what its quiesce may have posted */
	unmake(r);
}

/* ---- the type ---- */

static void rtl_class_init(struct class *class)
{
	struct pci_class *c = container_of(class, struct pci_class, dev.class);

	c->dev.category = "network";
	c->vendor = c->subsystem_vendor = 0x10ec;
	c->device = c->subsystem = 0x8139;
	c->revision = REVISION_CPLUS;
	c->class_code = 0x020000; /* Ethernet */
	c->romfile = "efi-rtl8139.rom";
	c->state = &rtl_state;
	c->realize = rtl_realize;
	c->unrealize = rtl_unrealize;
	c->reset = rtl_reset;
	c->quiesce = rtl_quiesce;
	c->resume = rtl_resume;
}

static const struct opt props[] = {
	OPT_F(struct rtl8139, prop.netdev, "netdev", OPT_STR, .arg = "id",
	      .help = "the network backend that it is connected to"),
	OPT_F(struct rtl8139, prop.mac, "mac", OPT_MAC,
	      .help = "its address; without it one from 52:54:00:12:34:56 on"),
	OPT_F(struct rtl8139, prop.bootindex, "bootindex", OPT_INT, .min = (uint64_t)-1, .max = INT32_MAX, .def = "-1",
	      .help = "place in firmware's boot order; there is no firmware, so it changes nothing"),
	OPT_F(struct rtl8139, prop.cplus, "cplus", OPT_BOOL, .def = "on",
	      .help = "RTL8139C+, which Linux drives by 8139cp; off: RTL8139C, by 8139too"),
	OPT_END,
};

const struct type type_rtl8139 = {
	.name = "rtl8139",
	.parent = "pci-device",
	.desc = "Realtek RTL8139C+ or RTL8139C network card",
	.instance_size = sizeof(struct rtl8139),
	.class_init = rtl_class_init,
	.props = props,
};
