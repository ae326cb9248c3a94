/* SPDX-License-Identifier: BSD-2-Clause */
/* The header of L2TPv3 frames, byte for byte as RFC 3931 has it (4.1.1.1, 4.1.2.1), and what is refused. */
#include "backend/l2tpv3_format.h"
#include "unit.h"

static const struct l2tpv3_format plain = { .tx_session = 0x01020304, .rx_session = 0x01020304 };

static void expect_head(const struct l2tpv3_format *f, const char *bytes, unsigned len, int counter_at)
{
	struct dgram_head h;

	l2tpv3_head(f, &h);
	assert_int_equal(h.len, len);
	assert_int_equal(h.counter_at, counter_at);
	assert_memory_equal(h.bytes, bytes, len);
}

static void heads(void **state)
{
	struct l2tpv3_format f = plain;

	(void)state;
	expect_head(&f, "\1\2\3\4", 4, -1);
	f.udp = true;
	expect_head(&f, "\0\3\0\0\1\2\3\4", 8, -1);
	f.cookie_len = 4;
	f.tx_cookie = 0xa1a2a3a4;
	expect_head(&f, "\0\3\0\0\1\2\3\4\xa1\xa2\xa3\xa4", 12, -1);
	f.cookie_len = 8;
	f.tx_cookie = 0xa1a2a3a4a5a6a7a8;
	expect_head(&f, "\0\3\0\0\1\2\3\4\xa1\xa2\xa3\xa4\xa5\xa6\xa7\xa8", 16, -1);
	f.sublayer = true;
	expect_head(&f, "\0\3\0\0\1\2\3\4\xa1\xa2\xa3\xa4\xa5\xa6\xa7\xa8\0\0\0\0", 20, -1);
	f.counts = true;
	expect_head(&f, "\0\3\0\0\1\2\3\4\xa1\xa2\xa3\xa4\xa5\xa6\xa7\xa8\0\0\0\0", 20, 16);
	f.offset = 3;
	expect_head(&f, "\0\3\0\0\1\2\3\4\xa1\xa2\xa3\xa4\xa5\xa6\xa7\xa8\0\0\0\0\0\0\0", 23, 16);
	f.udp = false;
	f.cookie_len = 0;
	expect_head(&f, "\1\2\3\4\0\0\0\0\0\0\0", 11, 4);
	f.offset = L2TPV3_OFFSET_MAX;
	f.udp = true;
	f.cookie_len = 8;
	{
		struct dgram_head h;

		l2tpv3_head(&f, &h);
		assert_int_equal(h.len, 20 + 256);
	}
}

static void expect(const struct l2tpv3_format *f, const char *bytes, size_t len, enum net_drop why, size_t skip)
{
	uint8_t *p = malloc(len + !len); /* of that size, for the sanitizer */
	size_t at = 0;

	memcpy(p, bytes, len);
	assert_int_equal(l2tpv3_judge(f, p, len, &at), why);
	if (!why)
		assert_int_equal(at, skip);
	free(p);
}

static void sessions_and_cookies(void **state)
{
	struct l2tpv3_format f = plain;

	(void)state;
	expect(&f, "\1\2\3\4frame", 9, NET_OK, 4);
	expect(&f, "\1\2\3\4", 4, NET_OK, 4);
	expect(&f, "\1\2\3\5frame", 9, NET_DROP_SESSION, 0);
	expect(&f, "\0\0\0\0frame", 9, NET_DROP_SESSION, 0); /* control (4.1.1.2) */
	f.cookie_len = 4;
	f.rx_cookie = 0x80818283;
	expect(&f, "\1\2\3\4\x80\x81\x82\x83", 8, NET_OK, 8);
	expect(&f, "\1\2\3\4\x80\x81\x82\x84", 8, NET_DROP_COOKIE, 0);
	f.cookie_len = 8;
	f.rx_cookie = 0x8081828384858687;
	expect(&f, "\1\2\3\4\x80\x81\x82\x83\x84\x85\x86\x87", 12, NET_OK, 12);
	expect(&f, "\1\2\3\4\x81\x81\x82\x83\x84\x85\x86\x87", 12, NET_DROP_COOKIE, 0);
	expect(&f, "\1\2\3\4\x80\x81\x82\x83\x84\x85\x86\x88", 12, NET_DROP_COOKIE, 0);
	f.sublayer = true;
	f.offset = 2;
	expect(&f, "\1\2\3\4\x80\x81\x82\x83\x84\x85\x86\x87nnnnoo", 18, NET_OK, 18);
	for (size_t len = 0; len < 18; len++)
		expect(&f, "\1\2\3\4\x80\x81\x82\x83\x84\x85\x86\x87nnnnoo", len, NET_DROP_TOO_SHORT, 0);
}

static void over_udp(void **state)
{
	struct l2tpv3_format f = plain;

	(void)state;
	f.udp = true;
	expect(&f, "\0\3\0\0\1\2\3\4f", 9, NET_OK, 8);
	expect(&f, "\x01\xf3\xff\xff\1\2\3\4f", 9, NET_OK, 8);	     /* reserved bits are not looked at */
	expect(&f, "\x80\3\0\0\1\2\3\4f", 9, NET_DROP_MALFORMED, 0); /* a control message */
	expect(&f, "\0\2\0\0\1\2\3\4f", 9, NET_DROP_MALFORMED, 0);   /* L2TPv2 */
	expect(&f, "\0\3\0\0\1\2\3\3f", 9, NET_DROP_SESSION, 0);
	for (size_t len = 0; len < 8; len++)
		expect(&f, "\0\3\0\0\1\2\3\4", len, NET_DROP_TOO_SHORT, 0);
}

/* raw(7): what is received begins with its IPv4 header, which may have options. */
static void over_ip4(void **state)
{
	static const char ip[] = "\x45-ip.ip.ip.ip.ip.ip.\1\2\3\4frame";
	static const char options[] = "\x46-ip.ip.ip.ip.ip.ip.opts\1\2\3\4frame";
	struct l2tpv3_format f = plain;

	(void)state;
	f.ip4 = true;
	expect(&f, ip, 28, NET_OK, 24);
	expect(&f, options, 32, NET_OK, 28);
	expect(&f, "\x44-ip.ip.ip.ip.ip.ip.\1\2\3\4frame", 28, NET_DROP_MALFORMED, 0);
	expect(&f, "\x4f-ip.ip.ip.ip.ip.ip.\1\2\3\4frame", 28, NET_DROP_MALFORMED, 0);
	for (size_t len = 0; len < 20; len++)
		expect(&f, ip, len, NET_DROP_MALFORMED, 0);
	for (size_t len = 20; len < 24; len++)
		expect(&f, ip, len, NET_DROP_TOO_SHORT, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(heads),
		cmocka_unit_test(sessions_and_cookies),
		cmocka_unit_test(over_udp),
		cmocka_unit_test(over_ip4),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
