/* SPDX-License-Identifier: BSD-2-Clause */
/* The frame check sequence: known values, and all ways to it against the bits of the standard. */
#include "unit.h"

#include <string.h>

#include "net/fcs.h"

static uint32_t by_bits(const uint8_t *p, size_t n)
{
	uint32_t fcs = UINT32_MAX;

	for (size_t i = 0; i < 8 * n; i++)
		fcs = fcs >> 1 ^ ((fcs ^ p[i / 8] >> i % 8) & 1 ? 0xedb88320 : 0);
	return ~fcs;
}

static void known(void **state)
{
	(void)state;
	assert_int_equal(fcs_end(fcs_add(FCS_INIT, "", 0)), 0);
	assert_int_equal(fcs_end(fcs_add(FCS_INIT, "123456789", 9)), 0xcbf43926);
}

/* Every length, at every alignment, whole and in two parts. */
static void lengths(void **state)
{
	static uint8_t p[1600];

	(void)state;
	for (size_t i = 0; i < sizeof(p); i++)
		p[i] = (uint8_t)(i * 2654435761u >> 13);
	for (size_t n = 0; n < 1500; n += n < 300 ? 1 : 37) {
		size_t at = n % 17, half = n / 3;
		uint32_t want = by_bits(p + at, n);

		assert_int_equal(fcs_end(fcs_add(FCS_INIT, p + at, n)), want);
		assert_int_equal(fcs_end(fcs_add(fcs_add(FCS_INIT, p + at, half), p + at + half, n - half)), want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(known), cmocka_unit_test(lengths) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
