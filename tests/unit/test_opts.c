/* SPDX-License-Identifier: BSD-2-Clause */
/* Options: splitting, JSON, each kind of value with its limits, defaults, what is unknown, and every error's text. */
#include "unit.h"

#include "base/opts.h"

static struct error err;

/* ---- single values ---- */

static void bools(void **state)
{
	static const struct {
		const char *text;
		int value; /* -1: refused */
	} cases[] = {
		{ "on", 1 }, { "off", 0 }, { "yes", 1 }, { "no", 0 }, { "true", 1 }, { "false", 0 },  { "y", 1 },
		{ "n", 0 },  { "ON", -1 }, { "", -1 },	 { "1", -1 }, { "on ", -1 }, { "maybe", -1 },
	};
	bool v;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		int ret = parse_bool(cases[i].text, &v, &err);

		assert_int_equal(ret, cases[i].value < 0 ? -EINVAL : 0);
		if (!ret)
			assert_int_equal(v, cases[i].value);
	}
	assert_string_equal(err.msg, "expected on or off");
}

static void unsigned_numbers(void **state)
{
	uint64_t v;

	(void)state;
	assert_int_equal(parse_uint("0", 0, 10, &v, &err), 0);
	assert_int_equal(v, 0);
	assert_int_equal(parse_uint("18446744073709551615", 0, UINT64_MAX, &v, &err), 0);
	assert_true(v == UINT64_MAX);
	assert_int_equal(parse_uint("0xFf", 0, 255, &v, &err), 0);
	assert_int_equal(v, 255);
	assert_int_equal(parse_uint("010", 0, 255, &v, &err), 0);
	assert_int_equal(v, 10);
	assert_int_equal(parse_uint("-0", 0, 255, &v, &err), 0);

	assert_int_equal(parse_uint("0", 1, 1024, &v, &err), -ERANGE);
	assert_string_equal(err.msg, "must be between 1 and 1024");
	assert_int_equal(parse_uint("1025", 1, 1024, &v, &err), -ERANGE);
	assert_int_equal(parse_uint("-1", 0, 1024, &v, &err), -ERANGE);
	assert_int_equal(parse_uint("18446744073709551616", 0, UINT64_MAX, &v, &err), -ERANGE);
	assert_int_equal(parse_uint("99999999999999999999999999", 0, UINT64_MAX, &v, &err), -ERANGE);

	static const char *const junk[] = { "",	   " 1",  "1 ",	 "1x", "0x",  "x",   "+1", "1e3",
					    "1.0", "nan", "--1", "-",  "0b1", "1,2", "\n", "0xg" };

	for (unsigned i = 0; i < ARRAY_SIZE(junk); i++) {
		assert_int_equal(parse_uint(junk[i], 1, 9, &v, &err), -EINVAL);
		assert_string_equal(err.msg, "expected a number between 1 and 9");
	}
}

static void sizes(void **state)
{
	static const struct {
		const char *text;
		char suffix;
		uint64_t value;
	} good[] = {
		{ "0", 0, 0 },
		{ "4096", 0, 4096 },
		{ "4096", 'M', 4096 * MIB },
		{ "512", 'b', 512 },
		{ "1b", 'M', 1 },
		{ "2k", 0, 2 * KIB },
		{ "2K", 0, 2 * KIB },
		{ "3M", 0, 3 * MIB },
		{ "3m", 0, 3 * MIB },
		{ "4G", 0, 4 * GIB },
		{ "1T", 0, 1024 * GIB },
		{ "1.5G", 0, GIB + GIB / 2 },
		{ "0.25k", 0, 256 },
		{ "1.5", 'M', MIB + MIB / 2 },
		{ "0x1000", 'M', 4096 },
		{ "15E", 0, 15ULL << 60 },
		{ "18446744073709551615", 0, UINT64_MAX },
		{ "0.99999999999999999999999999999999G", 0, GIB - 1 },
	};
	static const char *const bad[] = { "",	  "-1", "1.5b", "1.",  "G",   ".5G",   "1GG", "1GB",	"1 G", "nan",
					   "inf", "0x", "0x1G", "1e3", "1.5", "1..5G", "+1",  "1.5.5G", "1Z" };
	static const char *const over[] = { "16E", "18446744073709551616", "99999999999999G", "15.9999E1" };
	uint64_t v;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(parse_size(good[i].text, good[i].suffix, &v, &err), 0);
		assert_true(v == good[i].value);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(parse_size(bad[i], 0, &v, &err), -EINVAL);
	assert_string_equal(err.msg, "expected a size, such as 65536, 512M or 1.5G");
	for (unsigned i = 0; i + 1 < ARRAY_SIZE(over); i++)
		assert_int_equal(parse_size(over[i], 0, &v, &err), -ERANGE);
	assert_int_equal(parse_size(over[3], 0, &v, &err), -EINVAL);
}

static void macs(void **state)
{
	static const char *const bad[] = { "",
					   "52:54:00:12:34",
					   "52:54:00:12:34:56:78",
					   "52:54:00:12:34:5",
					   "52:54:00:12:34:5g",
					   "525400123456",
					   "52:54-00:12:34:56",
					   "52:54:00:12:34:56 ",
					   "5:54:00:12:34:56",
					   "52:54:00:12:34:",
					   "::::::" };
	uint8_t mac[6], want[6] = { 0x52, 0x54, 0x00, 0x12, 0xab, 0xcd };

	(void)state;
	assert_int_equal(parse_mac("52:54:00:12:Ab:cD", mac, &err), 0);
	assert_memory_equal(mac, want, 6);
	assert_int_equal(parse_mac("52-54-00-12-ab-cd", mac, &err), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(parse_mac(bad[i], mac, &err), -EINVAL);
	assert_string_equal(err.msg, "expected a MAC address, such as 52:54:00:12:34:56");
	assert_memory_equal(mac, want, 6);
}

static void ids(void **state)
{
	char longest[130];

	(void)state;
	assert_true(id_wellformed("n0"));
	assert_true(id_wellformed("a-b.c_D9"));
	assert_false(id_wellformed(""));
	assert_false(id_wellformed("0n"));
	assert_false(id_wellformed("-n"));
	assert_false(id_wellformed("n 0"));
	assert_false(id_wellformed("n/0"));
	assert_false(id_wellformed("\xc3\xa4"));
	memset(longest, 'a', sizeof(longest));
	longest[127] = 0;
	assert_true(id_wellformed(longest));
	longest[127] = 'a';
	longest[128] = 0;
	assert_false(id_wellformed(longest));
}

static void nearest(void **state)
{
	static const char *const names[] = { "tap", "user", "hostfwd", "e1000", "virtio-net-pci", "restrict" };

	(void)state;
	assert_string_equal(nearest_name("hostfw", names, 6), "hostfwd");
	assert_string_equal(nearest_name("e1001", names, 6), "e1000");
	assert_string_equal(nearest_name("tpa", names, 6), "tap");
	assert_string_equal(nearest_name("Restrict", names, 6), "restrict");
	assert_string_equal(nearest_name("virtio-nte-pic", names, 6), "virtio-net-pci");
	assert_null(nearest_name("vde", names, 6));
	assert_null(nearest_name("", names, 6));
	assert_null(nearest_name("t", names, 6));
	assert_null(nearest_name("anything", names, 0));
	assert_null(nearest_name("a-word-that-is-much-too-long-to-be-a-typing-error-of-anybody", names, 6));
}

/* ---- lists ---- */

static void assert_pair(const struct opt_list *l, unsigned i, const char *key, const char *value, bool bare)
{
	assert_true(i < l->n);
	assert_string_equal(l->v[i].key, key);
	assert_string_equal(l->v[i].value, value);
	assert_int_equal(l->v[i].bare, bare);
}

static void text_is_split(void **state)
{
	struct opt_list l;

	(void)state;
	assert_int_equal(opt_list_parse("tap,id=n0,script=a,,b,vhost,empty=,eq=a=b,", "type", &l, &err), 0);
	assert_int_equal(l.n, 6);
	assert_pair(&l, 0, "type", "tap", true);
	assert_pair(&l, 1, "id", "n0", false);
	assert_pair(&l, 2, "script", "a,b", false);
	assert_pair(&l, 3, "vhost", "on", true);
	assert_pair(&l, 4, "empty", "", false);
	assert_pair(&l, 5, "eq", "a=b", false);
	assert_false(l.json);
	opt_list_free(&l);

	assert_int_equal(opt_list_parse("a,,b=c,,,,", "path", &l, &err), 0);
	assert_int_equal(l.n, 1);
	assert_pair(&l, 0, "path", "a,b=c,,", true);
	opt_list_free(&l);

	assert_int_equal(opt_list_parse("type=tap", "type", &l, &err), 0);
	assert_pair(&l, 0, "type", "tap", false);
	opt_list_free(&l);

	assert_int_equal(opt_list_parse("", "type", &l, &err), 0);
	assert_int_equal(l.n, 0);
	opt_list_free(&l);
}

static void text_without_a_name_is_refused(void **state)
{
	static const char *const bad[] = { "=x", "a=b,=c", "a=1,b,,c", "," };
	struct opt_list l;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(opt_list_parse(bad[i], NULL, &l, &err), -EINVAL);
		assert_non_null(strstr(err.msg, "name is missing"));
		assert_null(l.v);
	}
}

static void huge_texts(void **state)
{
	char *text = malloc(MIB + 1);
	struct opt_list l;

	(void)state;
	memset(text, 'x', MIB);
	text[MIB] = 0;
	assert_int_equal(opt_list_parse(text, "type", &l, &err), 0);
	assert_int_equal(strlen(l.v[0].value), MIB);
	opt_list_free(&l);
	memset(text, ',', MIB);
	assert_int_equal(opt_list_parse(text, "type", &l, &err), 0);
	opt_list_free(&l);
	for (unsigned i = 0; i < MIB; i += 2)
		text[i] = 'x';
	assert_int_equal(opt_list_parse(text, "type", &l, &err), -E2BIG);
	assert_null(l.v);
	free(text);
}

static void help_words(void **state)
{
	static const struct {
		const char *text;
		bool help;
	} cases[] = { { "help", true },		{ "tap,help", true },
		      { "tap,?", true },	{ "?", true },
		      { "tap,id=help", false }, { "type=help", false },
		      { "tap", false },		{ "{\"type\":\"help\"}", false } };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct opt_list l;

		assert_int_equal(opt_list_parse(cases[i].text, "type", &l, &err), 0);
		assert_int_equal(opt_list_wants_help(&l), cases[i].help);
		opt_list_free(&l);
	}
}

static void taking(void **state)
{
	struct opt_list l;

	(void)state;
	assert_int_equal(opt_list_parse("id=a,x=1,id=b", NULL, &l, &err), 0);
	assert_string_equal(opt_list_take(&l, "id"), "b");
	assert_null(opt_list_take(&l, "y"));
	assert_true(l.v[0].taken && !l.v[1].taken && l.v[2].taken);
	opt_list_free(&l);
}

/* What is taken from a copy is there still; what was taken before is not in it. */
static void a_copy_is_for_a_trial(void **state)
{
	struct opt_list l, copy;
	struct error err;

	(void)state;
	assert_int_equal(opt_list_parse("tap,id=n0,vhost,script=no", "type", &l, &err), 0);
	assert_string_equal(opt_list_take(&l, "id"), "n0");
	assert_int_equal(opt_list_copy(&l, &copy, &err), 0);
	assert_int_equal(copy.n, 3);
	assert_pair(&copy, 0, "type", "tap", true);
	assert_pair(&copy, 1, "vhost", "on", true);
	assert_pair(&copy, 2, "script", "no", false);
	assert_string_equal(opt_list_take(&copy, "script"), "no");
	assert_false(l.v[3].taken);
	opt_list_free(&copy);
	opt_list_free(&l);
}

static void json_is_flattened(void **state)
{
	struct opt_list l;

	(void)state;
	assert_int_equal(opt_list_parse("{\"type\":\"stream\", \"server\":true, \"port\":12, \"r\":1.5, \"off\":false,"
					"\"addr\":{\"type\":\"inet\",\"deep\":{\"x\":\"a,b\"}},"
					"\"dns\":[\"a\",{\"str\":\"b\"},3], \"none\":[]}",
					"type", &l, &err),
			 0);
	assert_true(l.json);
	assert_int_equal(l.n, 10);
	assert_pair(&l, 0, "type", "stream", false);
	assert_pair(&l, 1, "server", "on", false);
	assert_pair(&l, 2, "port", "12", false);
	assert_pair(&l, 3, "r", "1.5", false);
	assert_pair(&l, 4, "off", "off", false);
	assert_pair(&l, 5, "addr.type", "inet", false);
	assert_pair(&l, 6, "addr.deep.x", "a,b", false);
	assert_pair(&l, 7, "dns", "a", false);
	assert_pair(&l, 8, "dns", "b", false);
	assert_pair(&l, 9, "dns", "3", false);
	opt_list_free(&l);
}

static void bad_json(void **state)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
		{ "{", "line 1, column 1" },
		{ "{\"a\":1,}", "line 1, column 8" },
		{ "{\"a\":1} x", "end of file expected" },
		{ "{\"a\":1,\n \"b\" 2}", "line 2, column 6" },
		{ "{\"a\":1,\"a\":2}", "duplicate" },
		{ "{\"a\":null}", "'a' is null" },
		{ "{\"a\":[[1]]}", "'a' must be a list of plain values" },
		{ "{\"a\":[{\"x\":1}]}", "'a' must be a list of plain values" },
		{ "{\"a\":[{\"str\":\"x\",\"y\":1}]}", "'a' must be a list of plain values" },
		{ "{\"a\":[{\"str\":1}]}", "'a' must be a list of plain values" },
		{ "{\"a.b\":1,\"a\":{\"b\":2}}", "'a.b' is given twice" },
		{ "{\"\":1}", "without a name" },
		{ "{\"a\":99999999999999999999}", "too big" },
		{ "{\"a\":\"x\\u0000y\"}", "\\u0000" },
		{ "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":1}}}}}}}}}", "nested deeper" },
		{ "{\"a\":\"\xff\"}", "unable to decode byte 0xff" },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct opt_list l;

		assert_true(opt_list_parse(cases[i].text, "type", &l, &err) < 0);
		assert_non_null(strstr(err.msg, cases[i].says));
		assert_null(l.v);
	}
}

static void deep_json_does_not_eat_the_stack(void **state)
{
	char *text = malloc(MIB + 1);
	struct opt_list l;

	(void)state;
	for (unsigned i = 0; i + 5 <= MIB; i += 5)
		memcpy(text + i, "{\"a\":", 5);
	text[MIB] = 0;
	assert_int_equal(opt_list_parse(text, NULL, &l, &err), -EINVAL);
	free(text);
}

/* ---- tables ---- */

struct target {
	bool restrict_, on;
	uint8_t mode, small;
	uint16_t queues;
	int32_t ttl;
	int8_t tiny;
	uint64_t buf, wide;
	unsigned size;
	char *name, *dir;
	struct strlist dns;
	unsigned dump;
	struct mac_opt mac;
	int custom;
};

static int parse_custom(const struct opt *o, const char *value, void *field, struct error *e)
{
	assert_string_equal(o->name, "custom");
	if (strcmp(value, "good"))
		return fail(e, EINVAL, "expected good");
	*(int *)field = 42;
	return 0;
}

static const char *const dumps[] = { "none", "raw", "pcap", NULL };

static const struct opt table[] = {
	OPT_F(struct target, restrict_, "restrict", OPT_BOOL, .def = "off", .help = "isolate the guest"),
	OPT_F(struct target, on, "on", OPT_BOOL, .def = "on"),
	OPT_F(struct target, mode, "mode", OPT_ONOFFAUTO, .def = "auto"),
	OPT_F(struct target, small, "small", OPT_UINT),
	OPT_F(struct target, queues, "queues", OPT_UINT, .min = 1, .max = 1024, .def = "1", .help = "queue pairs"),
	OPT_F(struct target, size, "rx_queue_size", OPT_UINT, .min = 64, .max = 1024, .power_of_2 = true),
	OPT_F(struct target, ttl, "ttl", OPT_INT, .min = (uint64_t)-5, .max = 255),
	OPT_F(struct target, tiny, "tiny", OPT_INT),
	OPT_F(struct target, wide, "wide", OPT_UINT),
	OPT_F(struct target, buf, "sndbuf", OPT_SIZE, .min = 4096, .max = GIB, .def = "1M"),
	OPT_F(struct target, name, "name", OPT_STR, .def = "vwire", .help = "host name"),
	OPT_F(struct target, dir, "tftp", OPT_STR, .arg = "dir"),
	OPT_F(struct target, dns, "dnssearch", OPT_STRLIST),
	OPT_F(struct target, dump, "dump", OPT_ENUM, .choices = dumps),
	OPT_F(struct target, mac, "mac", OPT_MAC),
	OPT_F(struct target, custom, "custom", OPT_CUSTOM, .parse = parse_custom),
	OPT_END,
};

/* Apply `text` to a fresh target; the caller frees the target. */
static int apply(const char *text, struct target *t)
{
	const struct opt *const tables[] = { table, NULL };
	struct opt_list l;
	int ret;

	memset(t, 0, sizeof(*t));
	assert_int_equal(opts_defaults(table, t, &err), 0);
	assert_int_equal(opt_list_parse(text, NULL, &l, &err), 0);
	ret = opts_apply(table, &l, t, true, &err);
	if (!ret)
		ret = opts_reject_rest(&l, tables, &err);
	opt_list_free(&l);
	return ret;
}

static void defaults_and_values(void **state)
{
	struct target t;

	(void)state;
	assert_int_equal(apply("", &t), 0);
	assert_true(!t.restrict_ && t.on && t.mode == OPT_AUTO && t.queues == 1 && t.buf == MIB && !t.dir &&
		    !t.mac.set);
	assert_string_equal(t.name, "vwire");
	opts_free(table, &t);
	assert_null(t.name);

	assert_int_equal(
		apply("restrict,noon,nomode,small=255,queues=0x400,rx_queue_size=256,ttl=-5,tiny=-128,"
		      "wide=18446744073709551615,sndbuf=64k,name=a,name=b,dnssearch=x,dnssearch=y,,z,dump=pcap,"
		      "mac=52:54:00:12:34:56,custom=good",
		      &t),
		0);
	assert_true(t.restrict_ && !t.on && t.mode == OPT_OFF && t.small == 255 && t.queues == 1024 && t.size == 256);
	assert_true(t.ttl == -5 && t.tiny == -128 && t.wide == UINT64_MAX && t.buf == 64 * KIB && t.dump == 2);
	assert_string_equal(t.name, "b");
	assert_int_equal(t.dns.n, 2);
	assert_string_equal(t.dns.v[0], "x");
	assert_string_equal(t.dns.v[1], "y,z");
	assert_true(t.mac.set && t.mac.addr[5] == 0x56 && t.custom == 42);
	opts_free(table, &t);
}

static void errors_name_option_value_and_remedy(void **state)
{
	static const struct {
		const char *text, *msg;
	} cases[] = {
		{ "restrict=maybe", "restrict=maybe: expected on or off" },
		{ "queues=0", "queues=0: must be between 1 and 1024" },
		{ "queues=65537", "queues=65537: must be between 1 and 1024" },
		{ "queues=", "queues=: expected a number between 1 and 1024" },
		{ "queues=two", "queues=two: expected a number between 1 and 1024" },
		{ "queues", "queues: needs a value, as in queues=<value>" },
		{ "tftp", "tftp: needs a value, as in tftp=<dir>" },
		{ "small=256", "small=256: must be between 0 and 255" },
		{ "rx_queue_size=300", "rx_queue_size=300: must be a power of 2 between 64 and 1024" },
		{ "ttl=-6", "ttl=-6: must be between -5 and 255" },
		{ "ttl=9999999999999999999999", "ttl=9999999999999999999999: must be between -5 and 255" },
		{ "ttl=--5", "ttl=--5: expected a number between -5 and 255" },
		{ "ttl=x", "ttl=x: expected a number between -5 and 255" },
		{ "tiny=128", "tiny=128: must be between -128 and 127" },
		{ "sndbuf=2G", "sndbuf=2G: must be between 4K and 1G" },
		{ "sndbuf=NaN", "sndbuf=NaN: expected a size, such as 65536, 512M or 1.5G" },
		{ "mode=perhaps", "mode=perhaps: expected on, off or auto" },
		{ "dump=pcapng", "dump=pcapng: expected none, raw or pcap" },
		{ "mac=1", "mac=1: expected a MAC address, such as 52:54:00:12:34:56" },
		{ "custom=bad", "custom=bad: expected good" },
		{ "dnsseach=x", "unknown option 'dnsseach'; did you mean 'dnssearch'?" },
		{ "zzz=x", "unknown option 'zzz'; the word help in its place lists what there is" },
		{ "noname", "unknown option 'noname'; did you mean 'name'?" },
		/* Each value is checked, also one that a later one replaces. */
		{ "queues=0,queues=1", "queues=0: must be between 1 and 1024" },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct target t;

		assert_true(apply(cases[i].text, &t) < 0);
		assert_string_equal(err.msg, cases[i].msg);
		opts_free(table, &t);
	}
}

static void long_values_are_shown_in_part(void **state)
{
	char text[400] = "restrict=";
	struct target t;

	(void)state;
	memset(text + 9, 'v', 300);
	text[309] = 0;
	assert_true(apply(text, &t) < 0);
	assert_non_null(strstr(err.msg, "vvv...: expected on or off"));
	assert_true(strlen(err.msg) < 120);
	opts_free(table, &t);
}

static void required_options(void **state)
{
	static const struct opt need[] = {
		OPT_F(struct target, name, "ifname", OPT_STR, .required = true, .help = "the interface"),
		OPT_END,
	};
	struct target t = { 0 };
	struct opt_list l;

	(void)state;
	assert_int_equal(opt_list_parse("a=b", NULL, &l, &err), 0);
	assert_int_equal(opts_apply(need, &l, &t, false, &err), 0);
	assert_int_equal(opts_apply(need, &l, &t, true, &err), -EINVAL);
	assert_string_equal(err.msg, "ifname=<value> is missing (the interface)");
	opt_list_free(&l);
	assert_int_equal(opt_list_parse("ifname=x", NULL, &l, &err), 0);
	assert_string_equal(opt_list_take(&l, "ifname"), "x");
	assert_int_equal(opts_apply(need, &l, &t, true, &err), 0);
	opt_list_free(&l);
}

static void values_are_printed(void **state)
{
	static const char *const cases[][2] = {
		{ "restrict", "on" },	 { "mode", "auto" },
		{ "queues", "4" },	 { "ttl", "-3" },
		{ "sndbuf", "1048576" }, { "name", "vwire" },
		{ "tftp", "" },		 { "dnssearch", "a,b" },
		{ "dump", "raw" },	 { "mac", "02:00:00:00:00:01" },
	};
	struct target t;
	char buf[64];

	(void)state;
	assert_int_equal(apply("restrict,queues=4,ttl=-3,dnssearch=a,dnssearch=b,dump=raw,mac=02:00:00:00:00:01", &t),
			 0);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(opt_get(opt_find(table, cases[i][0]), &t, buf, sizeof(buf)), 0);
		assert_string_equal(buf, cases[i][1]);
	}
	assert_int_equal(opt_get(opt_find(table, "custom"), &t, buf, sizeof(buf)), -ENOTSUP);
	assert_int_equal(opt_get(opt_find(table, "name"), &t, buf, 3), 0);
	assert_string_equal(buf, "vw");
	assert_null(opt_find(table, "nonsense"));
	opts_free(table, &t);
}

static void help_explains_the_table(void **state)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	(void)state;
	opts_help(f, table);
	fclose(f);
	assert_non_null(strstr(text, "  restrict=<on|off>      - isolate the guest (default: off)\n"));
	assert_non_null(strstr(text, "  queues=<1..1024>       - queue pairs (default: 1)\n"));
	assert_non_null(strstr(text, "  dump=<none|raw|pcap>"));
	assert_non_null(strstr(text, "  tftp=<dir>"));
	assert_non_null(strstr(text, "  ttl=<-5..255>"));
	assert_non_null(strstr(text, "  small=<uint8>"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bools),
		cmocka_unit_test(unsigned_numbers),
		cmocka_unit_test(sizes),
		cmocka_unit_test(macs),
		cmocka_unit_test(ids),
		cmocka_unit_test(nearest),
		cmocka_unit_test(text_is_split),
		cmocka_unit_test(text_without_a_name_is_refused),
		cmocka_unit_test(huge_texts),
		cmocka_unit_test(help_words),
		cmocka_unit_test(taking),
		cmocka_unit_test(a_copy_is_for_a_trial),
		cmocka_unit_test(json_is_flattened),
		cmocka_unit_test(bad_json),
		cmocka_unit_test(deep_json_does_not_eat_the_stack),
		cmocka_unit_test(defaults_and_values),
		cmocka_unit_test(errors_name_option_value_and_remedy),
		cmocka_unit_test(long_values_are_shown_in_part),
		cmocka_unit_test(required_options),
		cmocka_unit_test(values_are_printed),
		cmocka_unit_test(help_explains_the_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
