/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * e1000: life, properties, models, and the net client. The rest is in e1000_*.c; see e1000.h.
 *
 * Models are classes: PCI ids, and which PHY is inside. A model that does more than that would have a file of its own.
 */
#include "nic/e1000.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>

#include "base/log.h"
#include "nic/nic.h"

#define INTEL	   0x8086
#define BAR_MEMORY 0
#define BAR_IO	   1

#define PHY_88E1011 0x0c20
#define PHY_88E1000 0x0c30

void e1000_complain(struct e1000 *e, const char *what)
{
	counter_add(&e->guest_errors, 1);
	if (e->complained)
		return;
	e->complained = true;
	log_limited(LOG_WARN, "%s: the guest's driver: %s", device_label(&e->pci.dev), what);
}

/* ---- the net client ---- */

static void client_wake(struct net_client *c, unsigned what)
{
	if (what & NET_WAKE_ROOM)
		e1000_tx_room(client_to_e1000(c));
}

static void client_start(struct net_client *c)
{
	struct e1000 *e = client_to_e1000(c);

	e->quiet = false;
	e1000_rx_refresh(e);
	loop_post(e->loop, &e->tx_post);
}

static void client_quiesce(struct net_client *c)
{
	struct e1000 *e = client_to_e1000(c);

	e->quiet = true;
	e->rx.lent = false;
}

static void client_link_changed(struct net_client *c, bool up)
{
	e1000_set_cable(client_to_e1000(c), up);
}

static json_t *client_describe(struct net_client *c)
{
	const struct e1000 *e = client_to_e1000(c);

	return json_pack("{s:I, s:I}", "guest-errors", (json_int_t)counter_get(&e->guest_errors), "looped",
			 (json_int_t)counter_get(&e->looped));
}

static void client_info(struct net_client *c, char *buf, size_t size)
{
	const struct e1000 *e = client_to_e1000(c);

	snprintf(buf, size, "model=%s,macaddr=" MAC_FMT, e->pci.dev.obj.class->type->name, MAC_ARGS(e->prop.mac.addr));
}

static const struct net_client_ops client_ops = {
	.type = "nic",
	.lend = e1000_rx_lend,
	.take = e1000_rx_take,
	.commit = e1000_rx_commit,
	.wake = client_wake,
	.start = client_start,
	.quiesce = client_quiesce,
	.link_changed = client_link_changed,
	.describe = client_describe,
	.info = client_info,
};

/* ---- life ---- */

static int add_bars(struct e1000 *e, struct error *err)
{
	struct pci_device *p = &e->pci;

	e1000_regs_init(e);
	p->config[PCI_INTERRUPT_PIN] = 1;
	p->config[PCI_MIN_GNT] = 0xff;
	pci_bar_init(p, BAR_MEMORY, E1000_BAR_SIZE, 0);
	pci_bar_add(p, BAR_MEMORY, &e->mmio, 0);
	pci_bar_init(p, BAR_IO, E1000_IO_SIZE, PCI_BASE_ADDRESS_SPACE_IO);
	pci_bar_add(p, BAR_IO, &e->io, 0);
	return pci_add_pm(p) < 0 ? fail(err, ENOSPC, "no room for the power management capability") : 0;
}

static void unmake(struct e1000 *e)
{
	e1000_rx_destroy(e);
	e1000_tx_destroy(e);
	if (e->mac_taken)
		mac_release(&e->prop.mac);
	e->mac_taken = false;
}

static int make(struct e1000 *e, struct error *err)
{
	int r = mac_assign(&e->prop.mac, device_label(&e->pci.dev), err);

	if (r < 0)
		return r;
	e->mac_taken = true;
	e->loop = nic_loop(e->prop.netdev, 0, pci_place(&e->pci));
	e->client = (struct net_client){
		.ops = &client_ops,
		.kind = NET_KIND_NIC,
		.loop = e->loop,
		.gives = NET_OFF_CSUM | NET_OFF_TSO4 | NET_OFF_TSO6 | NET_OFF_ECN,
		.wants = NET_OFF_CSUM | NET_OFF_TSO4 | NET_OFF_TSO6 | NET_OFF_ECN,
		.max_frame = NET_FRAME_MAX,
	};
	nic_name_client(&e->client, device_label(&e->pci.dev), e->pci.dev.obj.class->type->name);
	e->stopped = true;
	if (e1000_rx_init(e) < 0 || e1000_tx_init(e) < 0)
		return fail(err, ENOMEM, "no memory for the NIC's buffers");
	e1000_intr_init(e);
	e1000_phy_init(e);
	e1000_eeprom_init(e);
	return add_bars(e, err);
}

static int join(struct e1000 *e, struct error *err)
{
	int r = nic_join(&e->client, e->prop.netdev, device_label(&e->pci.dev), err);

	if (r == 0)
		net_start(&e->client);
	return r;
}

static int e1000_realize(struct pci_device *p, struct error *err)
{
	struct e1000 *e = to_e1000(p);
	int r = make(e, err);

	if (r == 0)
		r = join(e, err);
	if (r < 0)
		unmake(e);
	return r;
}

static void cancel_all(void *arg)
{
	struct e1000 *e = arg;

	e->stopped = true;
	e1000_tx_reset(e, NET_DROP_RESET);
	e1000_rx_drop_held(e, NET_DROP_RESET);
	e1000_rx_refresh(e);
	e1000_intr_cancel(e);
	e1000_phy_cancel(e);
	loop_unpost(e->loop, &e->rx_post);
	loop_unpost(e->loop, &e->tx_post);
}

static void e1000_unrealize(struct pci_device *p)
{
	struct e1000 *e = to_e1000(p);

	loop_call(e->loop, cancel_all, e);
	net_client_remove(&e->client);
	/* Starting and stopping a wire may have posted something again. */
	loop_call(e->loop, cancel_all, e);
	unmake(e);
}

static void power_on(void *arg)
{
	struct e1000 *e = arg;

	e1000_phy_power_on(e, net_link_up(&e->client));
}

static void e1000_reset(struct pci_device *p)
{
	struct e1000 *e = to_e1000(p);

	eeprom93_power_on(&e->eeprom);
	e->io_address = 0;
	e1000_power_on(e);
	loop_call(e->loop, power_on, e);
}

static void stop(void *arg)
{
	struct e1000 *e = arg;

	e->stopped = true;
	e1000_rx_refresh(e);
}

static void go_on(void *arg)
{
	struct e1000 *e = arg;

	e->stopped = !atomic_load(&e->pci.dma.on);
	e1000_rx_refresh(e);
	e1000_tx_refresh(e);
}

static void e1000_quiesce(struct pci_device *p)
{
	loop_call(to_e1000(p)->loop, stop, to_e1000(p));
}

static void e1000_resume(struct pci_device *p)
{
	loop_call(to_e1000(p)->loop, go_on, to_e1000(p));
}

/* ---- the types ---- */

static void base_class_init(struct class *class)
{
	struct pci_class *c = container_of(class, struct pci_class, dev.class);

	c->dev.category = "network";
	c->vendor = INTEL;
	c->subsystem_vendor = INTEL;
	c->class_code = 0x020000; /* Ethernet */
	c->romfile = "efi-e1000.rom";
	c->state = &e1000_state;
	c->realize = e1000_realize;
	c->unrealize = e1000_unrealize;
	c->reset = e1000_reset;
	c->quiesce = e1000_quiesce;
	c->resume = e1000_resume;
}

static void model(struct class *class, uint16_t device, uint16_t subsystem, uint8_t revision, uint16_t phy_id2)
{
	struct e1000_class *c = container_of(class, struct e1000_class, pci.dev.class);

	c->pci.device = device;
	c->pci.subsystem = subsystem;
	c->pci.revision = revision;
	c->phy_id2 = phy_id2;
}

static void class_init_82540em(struct class *class)
{
	model(class, 0x100e, 0x001e, 2, PHY_88E1011);
}

static void class_init_82544gc(struct class *class)
{
	model(class, 0x1008, 0x1107, 2, PHY_88E1000);
}

static void class_init_82545em(struct class *class)
{
	model(class, 0x100f, 0x1001, 1, PHY_88E1011);
}

#define PROP(field, name, kind, ...) OPT_F(struct e1000, prop.field, name, kind, __VA_ARGS__)

static const struct opt props[] = {
	PROP(netdev, "netdev", OPT_STR, .arg = "id", .help = "the network backend that it is connected to"),
	PROP(mac, "mac", OPT_MAC, .help = "its address; without it one from 52:54:00:12:34:56 on"),
	PROP(bootindex, "bootindex", OPT_INT, .min = (uint64_t)-1, .max = INT32_MAX, .def = "-1",
	     .help = "place in firmware's boot order; there is no firmware, so it changes nothing"),
	PROP(init_vet, "init-vet", OPT_BOOL, .def = "on",
	     .help = "the VLAN EtherType register is 0x8100 after a reset"),
	PROP(tso_props, "migrate_tso_props", OPT_BOOL, .def = "on", .help = "accepted; nothing depends on it"),
	OPT_END,
};

const struct type type_e1000_base = {
	.name = "e1000-base",
	.parent = "pci-device",
	.desc = "Intel gigabit network card",
	.instance_size = sizeof(struct e1000),
	.class_size = sizeof(struct e1000_class),
	.abstract = true,
	.class_init = base_class_init,
	.props = props,
};

const struct type type_e1000 = {
	.name = "e1000",
	.parent = "e1000-base",
	.desc = "Intel gigabit network card (82540EM)",
	.alias = "e1000-82540em",
	.class_init = class_init_82540em,
};

const struct type type_e1000_82544gc = {
	.name = "e1000-82544gc",
	.parent = "e1000-base",
	.desc = "Intel gigabit network card (82544GC)",
	.class_init = class_init_82544gc,
};

const struct type type_e1000_82545em = {
	.name = "e1000-82545em",
	.parent = "e1000-base",
	.desc = "Intel gigabit network card (82545EM)",
	.class_init = class_init_82545em,
};
