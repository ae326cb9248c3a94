/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The contract of net clients, held against a tap with every kind of filter in its wire. A kind without a row fails the
 * test.
 */
#include "../unit/unit.h"

#include "char/chardev.h"
#include "ctl/types.h"
#include "object/creatable.h"
#include "suite.h"

static void tap_up(struct bench *b)
{
	(void)b;
	assert_true(run_ip("addr add 10.0.2.2/24 dev vtap0"));
	assert_true(run_ip("link set vtap0 up"));
}

static void add_chardev(const char *text)
{
	struct error err = { "" };
	struct opt_list l;
	int ret = opt_list_parse(text, "backend", &l, &err);

	if (ret == 0)
		ret = chardev_add(&l, &err);
	if (ret)
		print_error("%s: %s\n", text, err.msg);
	assert_int_equal(ret, 0);
	opt_list_free(&l);
}

static void one_device(struct bench *b)
{
	chardev_set_main_loop(b->loop);
	add_chardev("file,id=a,path=/dev/null");
}

/* What goes out by one comes in by the other. */
static void two_devices(struct bench *b)
{
	chardev_set_main_loop(b->loop);
	add_chardev("socket,id=a,path=loop,server=on,wait=off");
	add_chardev("socket,id=b,path=loop");
}

/* How a filter stands in its wire makes no difference to the ends. */
#define FILTER(name, options, ...)                                                                                  \
	{                                                                                                           \
		.type = name, .netdev = "tap,id=net0,ifname=vtap0,script=no,downscript=no",                         \
		.object = name ",id=f0,netdev=net0," options, .after = tap_up, .largest_ping = 1472, .waiting = 64, \
		__VA_ARGS__                                                                                         \
	}

static const struct row rows[] = {
	FILTER("filter-buffer", "interval=500"),
	FILTER("filter-dump", "file=/dev/null,format=pcapng,expr=not arp"),
	FILTER("filter-impair", "delay=500us,jitter=500us,limit=2M,seed=1"),
	FILTER("filter-mirror", "outdev=a", .prepare = one_device),
	FILTER("filter-redirector", "queue=rx,outdev=a,indev=b", .prepare = two_devices),
	FILTER("filter-redirector", "queue=tx,outdev=a,indev=b,vnet_hdr_support=on", .prepare = two_devices),
};

static int failed;
static const char *only; /* this kind */

static void run_filter(const struct class *c, void *arg)
{
	bool found = false;

	(void)arg;
	if (only && strcmp(only, c->type->name))
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		if (strcmp(rows[i].type, c->type->name))
			continue;
		found = true;
		failed |= suite_run(&rows[i]) != 0;
	}
	if (!found)
		printf("%s: a filter without a row in this test\n", c->type->name);
	failed |= !found;
}

int main(int argc, char **argv)
{
	struct error err;

	only = argc > 1 ? argv[1] : NULL;
	if (!bench_isolate())
		return 77;
	chardev_types_init(chardev_types);
	if (types_init(all_types, &err))
		return 1;
	class_each("netfilter", false, run_filter, NULL);
	return failed;
}
