/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The microwire EEPROM, driven by its pins in the orders that guests' drivers use: with leading zeros and the address
 * width tried out (8139too), with a clock before the start bit (eeprom_93cx6), with CS raised while SK is high (e1000).
 */
#include "unit.h"

#include <string.h>

#include "base/util.h"
#include "nic/eeprom93.h"

static struct eeprom93 e;

static int setup(void **state)
{
	(void)state;
	eeprom93_init(&e, 6);
	for (unsigned i = 0; i < 64; i++)
		e.word[i] = (uint16_t)(0x8129 ^ i * 0x1357);
	return 0;
}

/* ---- 8139too: read_eeprom() ---- */

static unsigned realtek_read(unsigned location, unsigned address_bits)
{
	unsigned command = location | 6u << address_bits, value = 0;

	eeprom93_pins(&e, false, false, false);
	eeprom93_pins(&e, true, false, false);
	for (int i = (int)(4 + address_bits); i >= 0; i--) {
		bool di = command >> i & 1;

		eeprom93_pins(&e, true, false, di);
		eeprom93_pins(&e, true, true, di);
	}
	eeprom93_pins(&e, true, false, false);
	for (int i = 16; i > 0; i--) {
		value = value << 1 | eeprom93_pins(&e, true, true, false);
		eeprom93_pins(&e, true, false, false);
	}
	eeprom93_pins(&e, false, false, false);
	return value;
}

static void read_as_8139too(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(realtek_read(i, 6), e.word[i]);
	/* Two address bits too many are two clocks of the answer. */
	assert_int_equal(realtek_read(0, 8), (uint16_t)(e.word[0] << 2 | e.word[1] >> 14));
}

/* ---- e1000: e1000_shift_out_ee_bits(), e1000_standby_eeprom() ---- */

static void intel_standby(void)
{
	eeprom93_pins(&e, false, false, false);
	eeprom93_pins(&e, false, true, false);
	eeprom93_pins(&e, true, true, false);
	eeprom93_pins(&e, true, false, false);
}

static void intel_out(unsigned value, unsigned count)
{
	while (count--) {
		bool di = value >> count & 1;

		eeprom93_pins(&e, true, false, di);
		eeprom93_pins(&e, true, true, di);
		eeprom93_pins(&e, true, false, di);
	}
	eeprom93_pins(&e, true, false, false);
}

static unsigned intel_in(unsigned count)
{
	unsigned value = 0;

	while (count--) {
		value = value << 1 | eeprom93_pins(&e, true, true, false);
		eeprom93_pins(&e, true, false, false);
	}
	return value;
}

static void read_as_e1000(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 64; i++) {
		intel_standby();
		intel_out(6, 3);
		intel_out(i, 6);
		assert_int_equal(intel_in(16), e.word[i]);
	}
}

static void write_as_e1000(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 64; i++) {
		intel_standby();
		intel_out(0x13, 5); /* EWEN */
		intel_out(0, 4);
		intel_standby();
		intel_out(5, 3);
		intel_out(i, 6);
		intel_out(i * 1021, 16);
		intel_standby();
		assert_true(eeprom93_do(&e)); /* ready */
		intel_standby();
		intel_out(0x10, 5); /* EWDS */
		intel_out(0, 4);
		assert_false(e.writable);
	}
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(e.word[i], (uint16_t)(i * 1021));
}

/* ---- drivers/misc/eeprom/eeprom_93cx6.c, for both sizes ---- */

static unsigned width;

static void cx6_startup(void)
{
	eeprom93_pins(&e, true, false, false);
	eeprom93_pins(&e, true, true, false);
	eeprom93_pins(&e, true, false, false);
}

static void cx6_cleanup(void)
{
	eeprom93_pins(&e, false, false, false);
	eeprom93_pins(&e, false, true, false);
	eeprom93_pins(&e, false, false, false);
}

static unsigned cx6_read(unsigned word)
{
	unsigned value;

	cx6_startup();
	intel_out(6u << width | word, 3 + width);
	value = intel_in(16);
	cx6_cleanup();
	return value;
}

static bool cx6_instruction(unsigned opcode, unsigned address)
{
	bool ready;

	cx6_startup();
	intel_out((4u | opcode) << width | address, 3 + width);
	cx6_cleanup();
	cx6_startup();
	ready = eeprom93_do(&e);
	cx6_cleanup();
	return ready;
}

static bool cx6_write(unsigned opcode, unsigned address, unsigned value)
{
	bool ready;

	cx6_startup();
	intel_out((4u | opcode) << width | address, 3 + width);
	intel_out(value, 16);
	cx6_cleanup();
	cx6_startup();
	ready = eeprom93_do(&e);
	cx6_cleanup();
	return ready;
}

#define EWEN (3u << (width - 2))
#define ERAL (2u << (width - 2))
#define WRAL (1u << (width - 2))
#define EWDS 0

static void all_instructions(void **state)
{
	(void)state;
	for (width = 6; width <= 8; width += 2) {
		unsigned n = 1u << width;

		eeprom93_init(&e, width);
		assert_int_equal(eeprom93_words(&e), n);
		assert_int_equal(cx6_read(n - 1), 0xffff);
		cx6_write(1, 3, 0x1234); /* not enabled after power on */
		assert_int_equal(cx6_read(3), 0xffff);

		cx6_instruction(0, EWEN);
		assert_true(cx6_write(1, 3, 0x1234));
		assert_true(cx6_write(1, n - 1, 0x8001));
		assert_int_equal(cx6_read(3), 0x1234);
		assert_int_equal(cx6_read(n - 1), 0x8001);
		assert_int_equal(cx6_read(2), 0xffff);
		assert_true(cx6_instruction(3, 3)); /* ERASE */
		assert_int_equal(cx6_read(3), 0xffff);
		assert_int_equal(cx6_read(n - 1), 0x8001);

		assert_true(cx6_write(0, WRAL, 0x5aa5));
		for (unsigned i = 0; i < n; i++)
			assert_int_equal(cx6_read(i), 0x5aa5);
		cx6_instruction(0, EWDS);
		cx6_instruction(0, ERAL);
		cx6_instruction(3, 1);
		cx6_write(0, WRAL, 0);
		cx6_write(1, 1, 0);
		assert_int_equal(cx6_read(1), 0x5aa5);
		cx6_instruction(0, EWEN);
		assert_true(cx6_instruction(0, ERAL));
		for (unsigned i = 0; i < n; i++)
			assert_int_equal(cx6_read(i), 0xffff);
	}
}

static void sequential_read(void **state)
{
	(void)state;
	cx6_cleanup();
	cx6_startup();
	intel_out(6u << 6 | 60, 9);
	assert_false(eeprom93_do(&e)); /* the dummy bit, once */
	for (unsigned i = 0; i < 130; i++)
		assert_int_equal(intel_in(16), e.word[(60 + i) % 64]);
}

/* A driver finds the width of an address by looking when the dummy bit comes. */
static void dummy_bit_tells_the_width(void **state)
{
	(void)state;
	for (width = 6; width <= 8; width += 2) {
		unsigned n = 0;

		eeprom93_init(&e, width);
		cx6_startup();
		intel_out(6, 3);
		assert_true(eeprom93_do(&e));
		while (n < 16 && eeprom93_do(&e)) {
			intel_out(0, 1);
			n++;
		}
		assert_int_equal(n, width);
	}
}

static void cut_short(void **state)
{
	uint16_t before[64];

	(void)state;
	width = 6;
	cx6_instruction(0, EWEN);
	memcpy(before, e.word, sizeof(before));
	for (unsigned bits = 0; bits <= 40; bits++) {
		if (bits == 25)
			continue; /* the right number */
		cx6_startup();
		for (unsigned i = 0; i < bits; i++)
			intel_out((5u << 6 | 9) >> (i < 9 ? 8 - i : 31), 1);
		cx6_cleanup();
	}
	assert_memory_equal(e.word, before, sizeof(before));
	eeprom93_power_on(&e);
	assert_memory_equal(e.word, before, sizeof(before));
	assert_false(e.writable);
}

/* Any levels in any order: indices stay within, and the state is one that could be loaded. */
static void random_pins(void **state)
{
	(void)state;
	srandom(93);
	for (unsigned i = 0; i < 1000000; i++) {
		long r = random();

		eeprom93_pins(&e, (r >> 3) % 64, r & 1, r & 2);
		assert_true(eeprom93_sane(&e));
	}
	e.address = 64;
	assert_false(eeprom93_sane(&e));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(read_as_8139too, setup),
		cmocka_unit_test_setup(read_as_e1000, setup),
		cmocka_unit_test_setup(write_as_e1000, setup),
		cmocka_unit_test_setup(all_instructions, setup),
		cmocka_unit_test_setup(sequential_read, setup),
		cmocka_unit_test_setup(dummy_bit_tells_the_width, setup),
		cmocka_unit_test_setup(cut_short, setup),
		cmocka_unit_test_setup(random_pins, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
