/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The state of rtl8139, saved from one board and loaded on another that has a copy of its memory: all registers read the
 * same, frames under way go from there, the timer and the EEPROM's clocks go on. And bytes that no device wrote.
 */
#include "../unit/unit.h"

#include <errno.h>

#include "../fake_net.h"
#include "base/iov.h"
#include "base/log.h"
#include "rtl_guest.h"
#include "state_spots.h"

static struct rtl_guest guest[2], *const g = &guest[0], *const h = &guest[1];
static struct fake *wire[2];
static struct state_bytes bytes, again;
static uint8_t frame[1600], got[8192];

static void open_board(unsigned i)
{
	static const char *const name[] = { "wire0", "wire1" };
	char text[100];
	struct error err;

	guest[i].loop = loop_new("test", &err);
	assert_non_null(guest[i].loop);
	wire[i] = fake_new(name[i], NET_KIND_BACKEND, &fake_sender_ops, guest[i].loop);
	fake_room(wire[i], FAKE_ALL);
	snprintf(text, sizeof(text), "romfile=,mac=52:54:00:aa:bb:0%u,netdev=%s", i, name[i]);
	rg_open(&guest[i], text);
	net_drained(&wire[i]->c);
	settle(guest[i].loop);
}

static int setup(void **state)
{
	(void)state;
	open_board(0);
	open_board(1);
	bytes = again = (struct state_bytes){ 0 };
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		settle(guest[i].loop);
		assert_true(fake_balanced(guest[i].nic));
		net_disconnect(guest[i].nic);
		fake_free(wire[i]);
		rg_close(&guest[i]);
	}
	free(bytes.p);
	free(again.p);
	return 0;
}

/* The VM moves: memory, the driver's own memory, the device. */
static void move(void)
{
	struct error err = { "" };

	net_quiesce(g->nic);
	bytes.len = 0;
	assert_int_equal(device_save(&g->pci->dev, &bytes), 0);
	memcpy(rg_at(h, 0), rg_at(g, 0), RG_RAM0);
	memcpy(rg_at(h, RG_RAM1), rg_at(g, RG_RAM1), RG_RAM1_END - RG_RAM1);
	h->cplus = g->cplus;
	h->ring_len = g->ring_len;
	h->cur_rx = g->cur_rx;
	h->cur_tx = g->cur_tx;
	h->cur_desc = g->cur_desc;
	net_quiesce(h->nic);
	if (device_load(&h->pci->dev, bytes.p, bytes.len, &err))
		print_error("%s\n", err.msg);
	assert_string_equal(err.msg, "");
	again.len = 0;
	assert_int_equal(device_save(&h->pci->dev, &again), 0);
	assert_int_equal(again.len, bytes.len);
	for (unsigned off = 0; off < RTL_REGS; off++)
		assert_int_equal(rg_read(g, off, 1), rg_read(h, off, 1));
	for (unsigned off = 0; off < PCI_CONFIG_SIZE; off++)
		assert_int_equal(pci_config_read(&g->bus, g->pci->devfn, off, 1),
				 pci_config_read(&h->bus, h->pci->devfn, off, 1));
	assert_int_equal(atomic_load(&g->level), atomic_load(&h->level));
	net_start(h->nic);
	settle(h->loop);
}

static int into(unsigned i, size_t len, unsigned seed)
{
	static const struct frame_meta plain;
	struct net_window w;
	int why;

	if (net_lend(&wire[i]->c, len, &w))
		return -EAGAIN;
	make_plain(frame, len, seed);
	memset(frame, 0xff, 6);
	iov_write_at(w.iov, w.cnt, 0, frame, len);
	why = net_take(&wire[i]->c, len, &plain);
	net_commit(&wire[i]->c);
	settle(guest[i].loop);
	return why;
}

/* Frames wait for room, others are half received: the other board sends those, and receives behind these. */
static void under_way(void **state)
{
	(void)state;
	for (unsigned cplus = 0; cplus < 2; cplus++) {
		unsigned n = cplus ? 20 : 4, went = cplus ? 7 : 1;

		fake_room(wire[0], FAKE_ALL);
		net_start(g->nic);
		if (cplus)
			rg_up_cplus(g);
		else
			rg_up_c(g, 1, true);
		settle(g->loop);
		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(into(0, 300 + i, i), NET_OK);
		assert_int_equal(rg_receive(g, got, sizeof(got)), 300);
		fake_forget(wire[0]);
		fake_forget(wire[1]);
		fake_room(wire[0], went);
		for (unsigned i = 0; i < n; i++) {
			make_plain(frame, 100, i);
			assert_true(rg_send(g, frame, 100, 0, 0));
		}
		rg_poll(g);
		settle(g->loop);
		assert_int_equal(wire[0]->n_got, went);
		move();
		assert_int_equal(wire[1]->n_got, n - went);
		for (unsigned i = 0; i < n - went; i++)
			assert_true(is_plain(wire[1]->got[i].bytes, 100, went + i));
		assert_int_equal(into(1, 400, 9), NET_OK);
		for (unsigned i = 1; i < 3; i++)
			assert_int_equal(rg_receive(h, got, sizeof(got)), 300 + i);
		assert_int_equal(rg_receive(h, got, sizeof(got)), 400);
		make_plain(frame, 200, 3);
		assert_true(rg_send(h, frame, 200, 0, 0));
		rg_poll(h);
		settle(h->loop);
		assert_int_equal(wire[1]->n_got, n - went + 1);
	}
}

static void clocks_and_locks(void **state)
{
	uint64_t now = clock_now(CLOCK_VM_NS);
	unsigned v = 0;

	(void)state;
	rg_up_cplus(g);
	rg_write(g, R_TIMERINT, 4, 33000);
	rg_write(g, R_TCTR, 4, 0);
	rg_write(g, R_CONFIG5, 1, 0x70);
	rg_write(g, R_9346CR, 1, 0xc0);
	rg_write(g, R_CONFIG3, 1, 0x20);
	rg_write(g, R_9346CR, 1, 0x80);
	rg_write(g, R_9346CR, 1, 0x88);
	for (int i = 8; i >= 0; i--) { /* READ 0, and the first bit of it */
		unsigned di = (6u << 6) >> i & 1 ? 2 : 0;

		rg_write(g, R_9346CR, 1, 0x88 | di);
		rg_write(g, R_9346CR, 1, 0x8c | di);
	}
	rg_write(g, R_9346CR, 1, 0x88);
	rg_write(g, R_9346CR, 1, 0x8c);
	move();
	v = rg_read(h, R_9346CR, 1) & 1;
	for (int i = 1; i < 16; i++) {
		rg_write(h, R_9346CR, 1, 0x88);
		rg_write(h, R_9346CR, 1, 0x8c);
		v = v << 1 | (rg_read(h, R_9346CR, 1) & 1);
	}
	assert_int_equal(v, 0x8129);
	assert_int_equal(rg_read(h, R_CONFIG3, 1) & 0x20, 0x20);
	assert_int_equal(rg_read(h, R_IDR0 + 5, 1), 0); /* the address moved too */
	vm_clock_step(now + NSEC_PER_MSEC);
	settle(h->loop);
	assert_int_equal(rg_read(h, R_ISR, 2), INT_TIMEOUT);
	assert_true(atomic_load(&h->level));
}

/* A device that sleeps, or has no bus mastering, is so there too, and wakes there. */
static void asleep(void **state)
{
	(void)state;
	rg_up_cplus(g);
	make_plain(frame, 100, 1);
	pci_config_write(&g->bus, g->pci->devfn, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_IO);
	assert_true(rg_send(g, frame, 100, 0, 0));
	rg_poll(g);
	settle(g->loop);
	move();
	assert_int_equal(wire[1]->n_got, 0);
	pci_config_write(&h->bus, h->pci->devfn, PCI_COMMAND, 2, 7);
	settle(h->loop);
	assert_int_equal(wire[1]->n_got, 1);
}

static void still_well(void)
{
	net_start(h->nic);
	pci_config_write(&h->bus, h->pci->devfn, PCI_BASE_ADDRESS_0, 4, RG_BAR_IO);
	pci_config_write(&h->bus, h->pci->devfn, PCI_BASE_ADDRESS_1, 4, RG_BAR_MEM);
	pci_config_write(&h->bus, h->pci->devfn, PCI_COMMAND, 2, 7);
	rg_up_cplus(h);
	fake_forget(wire[1]);
	fake_room(wire[1], FAKE_ALL);
	make_plain(frame, 100, 1);
	assert_true(rg_send(h, frame, 100, 0, 0));
	rg_poll(h);
	settle(h->loop);
	assert_int_equal(wire[1]->n_got, 1);
	assert_int_equal(into(1, 100, 1), NET_OK);
	assert_int_equal(rg_receive(h, got, sizeof(got)), 100);
	net_quiesce(h->nic);
}

static void bytes_of_nonsense(void **state)
{
	struct error err;

	(void)state;
	rg_up_c(g, 0, false);
	move();
	net_quiesce(h->nic);
	for (size_t n = 0; n < bytes.len; n += 1 + n / 40) { /* cut short anywhere */
		assert_int_equal(device_load(&h->pci->dev, bytes.p, n, &err), -EPROTO);
		assert_non_null(strstr(err.msg, "rtl8139"));
	}
	still_well();
	srandom(4);
	for (unsigned i = 0; i < 20000; i++) {
		size_t at = (size_t)random() % bytes.len;
		uint8_t was = bytes.p[at];
		int r;

		if (i % 2) /* most of it is config space */
			at = bytes.len - 1 - (size_t)random() % 1400, was = bytes.p[at];
		bytes.p[at] = (uint8_t)random();
		r = device_load(&h->pci->dev, bytes.p, bytes.len, &err);
		assert_true(r == 0 || r == -EPROTO || r == -EINVAL);
		bytes.p[at] = was;
		if (i % 50 == 0)
			still_well();
		settle(h->loop);
	}
	still_well();
}

static void refused(void **state)
{
	static const struct {
		const char *field;
		size_t behind; /* its name: width and count follow */
		uint8_t value;
	} rows[] = { { "tx.slot", 5, 4 }, { "tx.index", 5, 64 }, { "rx.index", 5, 64 }, { "eeprom.phase", 5, 6 } };
	struct error err;

	(void)state;
	rg_up_c(g, 0, false);
	move();
	net_quiesce(h->nic);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		uint8_t *p = memmem(bytes.p, bytes.len, rows[i].field, strlen(rows[i].field)), was;

		assert_non_null(p);
		p += strlen(rows[i].field) + rows[i].behind;
		was = *p;
		*p = rows[i].value;
		assert_int_equal(device_load(&h->pci->dev, bytes.p, bytes.len, &err), -EINVAL);
		assert_non_null(strstr(err.msg, strncmp(rows[i].field, "eeprom", 6) ? rows[i].field : "eeprom"));
		*p = was;
	}
	still_well();
}

static unsigned taken, turned_down;

static void try(const struct state_spot *s, void *arg)
{
	struct error err = { "" };
	int r = device_load(&h->pci->dev, bytes.p, bytes.len, &err);

	(void)arg;
	if (r != 0 && r != -EPROTO && r != -EINVAL)
		print_error("%s\n", s->field);
	assert_true(r == 0 || r == -EPROTO || r == -EINVAL);
	if (r < 0)
		assert_non_null(strstr(err.msg, "rtl8139: "));
	*(r ? &turned_down : &taken) += 1;
	net_start(h->nic);
	settle(h->loop);
	into(1, 100, 1);
	into(1, 1514, 1);
	/* It may be anywhere by now, or nowhere. */
	space_write(h->mem, RG_BAR_MEM + R_TPPOLL, 1, POLL_NORMAL);
	space_write(h->mem, RG_BAR_MEM + R_CAPR, 2, 20);
	vm_clock_step(clock_now(CLOCK_VM_NS) + 1000);
	settle(h->loop);
	net_quiesce(h->nic);
	assert_true(fake_balanced(h->nic));
	if ((taken + turned_down) % 200 == 0)
		still_well();
}

/* Every field at every boundary value, from a device in which much is under way. */
static void boundaries(void **state)
{
	(void)state;
	for (unsigned cplus = 0; cplus < 2; cplus++) {
		fake_room(wire[0], 0);
		net_start(g->nic);
		if (cplus)
			rg_up_cplus(g);
		else
			rg_up_c(g, 1, true);
		settle(g->loop);
		rg_write(g, R_TIMERINT, 4, 33000);
		for (unsigned i = 0; i < 3; i++) {
			assert_int_equal(into(0, 300 + i, i), NET_OK);
			assert_true(rg_send(g, frame, 100, 0, 0));
		}
		rg_poll(g);
		settle(g->loop);
		move();
		net_quiesce(h->nic);
		fake_room(wire[1], 2);
		state_at_boundaries(&bytes, try, NULL);
		fake_room(wire[1], FAKE_ALL);
		still_well();
	}
	assert_true(taken > 1000 && turned_down > 300);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	static const struct type *const types[] = { &type_object,	   &type_device,  &type_pci_device,
						    &type_pci_host_bridge, &type_rtl8139, NULL };
	const struct CMUnitTest tests[] = {
		TEST(under_way),	 TEST(clocks_and_locks), TEST(asleep),
		TEST(bytes_of_nonsense), TEST(refused),		 TEST(boundaries),
	};
	struct error err;

	log_init("test", LOG_ERR);
	vm_clock_manual();
	if (types_init(types, &err))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
