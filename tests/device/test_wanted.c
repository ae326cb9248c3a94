/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * NICs without offloads whose peer gives frames that need them all the same (net/client.h: wants), and what may happen
 * meanwhile: the driver changes its buffers while a frame lies in them, has too few of them, is reset, stops DMA; the
 * link falls, the wire stops, a filter comes and goes; metadata that a hostile peer made. Whatever it is: accounts
 * balance after each step, nothing is held in the end, and while nobody spoils buffers every frame that arrives is whole
 * and rightly summed. Steps are chance's, by seeds that never change.
 */
#include "../unit/unit.h"

#include "../fake_net.h"
#include "base/csum.h"
#include "base/iov.h"
#include "base/wirefmt.h"
#include "e1000_guest.h"
#include "net/filter.h"
#include "net/filter_impair.h"
#include "rtl_guest.h"

#define SEEDS 4
#define STEPS 2000

/* ---- the cards ---- */

static struct eg eg;
static struct rtl_guest rg;

struct card {
	const char *name;
	void (*open)(void);
	void (*close)(void);
	void (*up)(void);
	void (*dma)(bool on);
	int (*receive)(uint8_t *to, size_t room);
	uint8_t *(*memory)(size_t *len); /* the guest's */
};

static void e_open(void)
{
	eg_open(&eg, "e1000,id=card,mac=52:54:00:12:34:56");
}

static void e_close(void)
{
	eg_close(&eg);
}

static void e_up(void)
{
	eg_up(&eg, 16, EG_RCTL);
	eg_write(&eg, E1000_RXCSUM, RXCSUM_IPOFL | RXCSUM_TUOFL);
}

static void e_dma(bool on)
{
	eg_master(&eg, on);
}

static int e_receive(uint8_t *to, size_t room)
{
	return eg_receive(&eg, to, room);
}

static uint8_t *e_memory(size_t *len)
{
	*len = EG_RAM0;
	return eg_at(&eg, 0);
}

static void r_open_c(void)
{
	rg_open(&rg, "id=card,cplus=off");
}

static void r_open_cplus(void)
{
	rg_open(&rg, "id=card");
}

static void r_close(void)
{
	rg_close(&rg);
}

static void r_up_c(void)
{
	rg_up_c(&rg, 1, true);
	rg.cur_rx = 0;
}

static void r_up_cplus(void)
{
	rg_up_cplus(&rg);
	rg_write(&rg, R_CPCR, 2, CPCR_TX | CPCR_RX | CPCR_RXCSUM | 1 << 3);
	rg.cur_desc = 0;
}

static void r_dma(bool on)
{
	pci_config_write(&rg.bus, rg.pci->devfn, PCI_COMMAND, 2,
			 PCI_COMMAND_IO | PCI_COMMAND_MEMORY | (on ? PCI_COMMAND_MASTER : 0));
}

static int r_receive(uint8_t *to, size_t room)
{
	return rg_receive(&rg, to, room);
}

static uint8_t *r_memory(size_t *len)
{
	*len = RG_RAM0;
	return rg_at(&rg, 0);
}

static const struct card cards[] = {
	{ "e1000", e_open, e_close, e_up, e_dma, e_receive, e_memory },
	{ "rtl8139 C+", r_open_cplus, r_close, r_up_cplus, r_dma, r_receive, r_memory },
	{ "rtl8139 C", r_open_c, r_close, r_up_c, r_dma, r_receive, r_memory },
};

/* ---- the wire ---- */

static const struct card *card;
static struct net_client *nic;
static struct loop *loop;
static struct fake *wire;
static struct filter *filter;
static uint64_t now;
static uint32_t seq;
static uint32_t rnd;
static bool spoilt; /* a frame may be on its way that is not what was given */
static unsigned whole, cut;
static uint8_t frame[NET_FRAME_MAX], back[NET_FRAME_MAX];

static uint32_t chance(uint32_t below)
{
	rnd = rnd * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)(rnd >> 8) * below >> 24);
}

static void step(uint64_t ns)
{
	now += ns;
	vm_clock_step(now);
	settle(loop);
}

/* The driver changes what of a frame lies in its memory. */
static void spoil(const struct net_window *w)
{
	size_t len;
	uint8_t *memory = card->memory(&len);

	for (unsigned i = 0; i < 64; i++) {
		const struct iovec *v = &w->iov[chance(w->cnt)];
		uint8_t *p = v->iov_base;

		if (p >= memory && p < memory + len && v->iov_len)
			p[chance((uint32_t)MIN(v->iov_len, (size_t)200))] = (uint8_t)chance(256);
	}
	spoilt = true;
}

static size_t any_frame(struct frame_meta *m)
{
	size_t len = make_tcp(frame, seq, 1 + chance(chance(2) ? 1400 : 60000), m);

	memset(frame, 0xff, 6);
	seq += (uint32_t)(len - 54);
	if (len > 1514 || chance(2)) {
		m->gso = NET_GSO_TCP4;
		m->gso_size = (uint16_t)(chance(4) ? 1448 : 1 + chance(1448));
	}
	return len;
}

/* As a peer may say it: what net_vnet_decode() lets through. */
static size_t frame_of_lies(struct frame_meta *m)
{
	struct virtio_net_hdr h = { .flags = (uint8_t)chance(4),
				    .gso_type = (uint8_t)(chance(2) ? 0 : chance(6)),
				    .hdr_len = (uint16_t)chance(65536),
				    .gso_size = (uint16_t)chance(3000),
				    .csum_start = (uint16_t)chance(chance(2) ? 100 : 65536),
				    .csum_offset = (uint16_t)chance(chance(2) ? 30 : 65536) };
	size_t len = make_tcp(frame, seq, 1 + chance(3000), m) - chance(60);

	if (net_vnet_decode(&h, len, m))
		*m = (struct frame_meta){ 0 };
	spoilt = true;
	return len;
}

/* ---- the driver ---- */

static void look_at(size_t len)
{
	uint8_t tail[4] = { 0, 6 };
	unsigned ip_len = get16(back + 16);

	if (spoilt)
		return;
	assert_true(len >= 54 && ip_len >= 41 && ip_len + 14 <= MAX(len, (size_t)60));
	assert_int_equal(csum_fold(csum_add(0, back + 14, 20)), 0xffff);
	put16(tail + 2, ip_len - 20);
	assert_int_equal(csum_fold(csum_add(csum_add(csum_add(0, back + 26, 8), tail, 4), back + 34, ip_len - 20)),
			 0xffff);
	for (unsigned i = 0; i + 40 < ip_len; i++)
		assert_int_equal(back[54 + i], (get32(back + 38) + i) % 251);
	whole++;
}

/* Returns how many frames there were. */
static unsigned receive(unsigned most)
{
	unsigned n;
	int len;

	for (n = 0; n < most && (len = card->receive(back, sizeof(back))) >= 0; n++) {
		look_at((size_t)len);
		settle(loop);
	}
	settle(loop);
	return n;
}

static bool give_one(void)
{
	struct frame_meta m;
	size_t len = chance(8) ? any_frame(&m) : frame_of_lies(&m);
	struct net_window w;
	struct iov_cur cur;

	if (net_lend(&wire->c, chance(2) ? 1518 : NET_FRAME_MAX, &w))
		return false;
	cur = iov_cur(w.iov, w.cnt);
	iov_put(&cur, frame, MIN(len, w.room));
	if (!chance(16))
		spoil(&w);
	if (len <= w.room)
		net_take(&wire->c, len, &m);
	else
		net_take_spilled(&wire->c, &w, len, frame + w.room, &m);
	return true;
}

static void give(void)
{
	for (unsigned n = 1 + chance(6); n && give_one(); n--)
		;
	net_commit(&wire->c);
	settle(loop);
}

/* ---- what happens ---- */

static void come_up(void)
{
	card->up();
	settle(loop);
}

static void nothing_held(struct net_client *c, void *arg)
{
	(void)arg;
	assert_int_equal(counter_get(&c->tx.held), 0);
	assert_int_equal(counter_get(&c->rx.held), 0);
}

/* The driver takes all that there is: nothing may be left on the way. */
static void drain(void)
{
	unsigned quiet = 0;

	while (quiet < 3) {
		step(100 * NSEC_PER_MSEC);
		quiet = receive(1000) ? 0 : quiet + 1;
	}
	net_client_each(nothing_held, NULL);
	spoilt = false;
}

static void change_filter(void)
{
	struct opt_list l;
	struct error err = { "" };
	struct creatable *c;

	if (filter) {
		creatable_del(&filter->base);
		filter = NULL;
	} else {
		assert_int_equal(opt_list_parse("filter-impair,id=f,netdev=wire,seed=1", "qom-type", &l, &err), 0);
		c = creatable_add(&l, &err);
		opt_list_free(&l);
		assert_non_null(c);
		filter = to_filter(&c->obj);
	}
	settle(loop);
	if (chance(2))
		net_drained(&wire->c);
}

static void balance_of(struct net_client *c, void *arg)
{
	(void)arg;
	if (!fake_balanced(c))
		print_error("%s does not balance\n", c->name);
	assert_true(fake_balanced(c));
}

static void do_something(void)
{
	switch (chance(24)) {
	case 0:
		net_set_link(&wire->c, false);
		if (chance(2))
			give();
		net_set_link(&wire->c, true);
		break;
	case 1:
		net_quiesce(nic);
		give();
		net_start(nic);
		break;
	case 2:
		card->dma(false);
		give();
		come_up();
		card->dma(true);
		come_up();
		break;
	case 3:
		come_up();
		break;
	case 4:
		change_filter();
		break;
	case 5:
		step(chance(60 * NSEC_PER_MSEC));
		break;
	case 6:
		net_drained(&wire->c);
		break;
	case 7:
		drain();
		break;
	default:
		if (chance(2))
			give();
		else
			receive(chance(80));
	}
	settle(loop);
	cut += counter_get(&wire->c.tx.made) > 0;
	net_client_each(balance_of, NULL);
}

static void session(uint32_t seed)
{
	struct error err = { "" };

	rnd = seed;
	seq = 0;
	card->open();
	now = clock_now(CLOCK_VM_NS);
	loop = card == cards ? eg.loop : rg.loop;
	nic = card == cards ? eg.nic : rg.nic;
	wire = fake_new("wire", NET_KIND_BACKEND, &fake_sender_ops, loop);
	if (net_connect(nic, &wire->c, &err))
		print_error("%s\n", err.msg);
	assert_ptr_equal(nic->peer, &wire->c);
	net_start(&wire->c);
	net_drained(&wire->c);
	assert_int_equal(wire->c.gives, nic->wants);
	come_up();
	for (unsigned i = 0; i < STEPS; i++)
		do_something();
	if (filter)
		change_filter();
	drain();
	net_client_each(balance_of, NULL);
	fake_free(wire);
	card->close();
}

static void wanted(void **state)
{
	card = *state;
	whole = cut = 0;
	for (uint32_t seed = 1; seed <= SEEDS; seed++)
		session(seed);
	assert_true(whole > 1000 && cut);
}

static void types_open(void)
{
	static const struct type *const types[] = { &type_object,
						    &type_device,
						    &type_pci_device,
						    &type_pci_host_bridge,
						    &type_e1000_base,
						    &type_e1000,
						    &type_e1000_82544gc,
						    &type_e1000_82545em,
						    &type_rtl8139,
						    &type_user_creatable,
						    &type_netfilter,
						    &type_filter_impair,
						    NULL };
	struct error err;

	if (types_init(types, &err))
		exit(1);
	vm_clock_manual();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate(wanted, (void *)&cards[0]),
		cmocka_unit_test_prestate(wanted, (void *)&cards[1]),
		cmocka_unit_test_prestate(wanted, (void *)&cards[2]),
	};

	types_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
