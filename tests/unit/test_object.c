/* SPDX-License-Identifier: BSD-2-Clause */
/* Types, classes, instances, properties and the tree; devices, buses and -device. */
#include "unit.h"

#include "object/device.h"

static struct error err;
static char trace[512];

static void note(const char *what)
{
	snprintf(trace + strlen(trace), sizeof(trace) - strlen(trace), "%s ", what);
}

/* ---- a small family: proxy (on a PCI bus) contains a back, on its own bus ---- */

struct base_dev {
	struct device dev;
	uint32_t speed;
	char *label;
};

struct back {
	struct device dev;
	uint16_t queues;
	char *host;
};

struct proxy {
	struct base_dev base;
	struct bus bus;
	struct back *back; /* a child */
	uint32_t vectors;
	bool fail;
};

static int realize_result;

static struct proxy *to_proxy(struct object *o)
{
	return container_of(o, struct proxy, base.dev.obj);
}

static void base_init(struct object *o)
{
	(void)o;
	note("base+");
}

static void base_finalize(struct object *o)
{
	(void)o;
	note("base-");
}

static int base_realize(struct device *d, struct error *e)
{
	(void)d;
	note("realize");
	return realize_result ? fail(e, -realize_result, "does not want to") : 0;
}

static void base_unrealize(struct device *d)
{
	(void)d;
	note("unrealize");
}

static void base_reset(struct device *d)
{
	(void)d;
	note("reset");
}

static void base_class_init(struct class *c)
{
	struct device_class *dc = container_of(c, struct device_class, class);

	dc->bus_type = "PCI";
	dc->category = "network";
	dc->realize = base_realize;
	dc->unrealize = base_unrealize;
	dc->reset = base_reset;
}

static const struct opt base_props[] = {
	OPT_F(struct base_dev, speed, "speed", OPT_UINT, .def = "1000", .help = "link speed"),
	OPT_F(struct base_dev, label, "label", OPT_STR),
	OPT_END,
};

static const struct type base_type = {
	.name = "base-device",
	.parent = "device",
	.instance_size = sizeof(struct base_dev),
	.abstract = true,
	.class_init = base_class_init,
	.instance_init = base_init,
	.finalize = base_finalize,
	.props = base_props,
};

static void proxy_init(struct object *o)
{
	note("proxy+");
	to_proxy(o)->back = container_of(object_new("back", NULL), struct back, dev.obj);
	object_adopt(o, &to_proxy(o)->back->dev.obj, "back");
}

static void proxy_finalize(struct object *o)
{
	(void)o;
	note("proxy-");
}

static struct object *proxy_delegate(struct object *o)
{
	return &to_proxy(o)->back->dev.obj;
}

static int proxy_realize(struct device *d, struct error *e)
{
	struct proxy *p = to_proxy(&d->obj);
	int ret = base_realize(d, e);

	if (ret)
		return ret;
	bus_init(&p->bus, "back-bus", "back.0", &d->obj);
	ret = device_realize(&p->back->dev, &p->bus, e);
	if (ret)
		bus_deinit(&p->bus);
	p->bus.full = true;
	return ret;
}

static void proxy_unrealize(struct device *d)
{
	bus_deinit(&to_proxy(&d->obj)->bus);
	base_unrealize(d);
}

static void proxy_class_init(struct class *c)
{
	struct device_class *dc = container_of(c, struct device_class, class);

	assert_ptr_equal(dc->realize, base_realize);
	c->delegate = proxy_delegate;
	dc->realize = proxy_realize;
	dc->unrealize = proxy_unrealize;
}

static const struct opt proxy_props[] = {
	OPT_F(struct proxy, vectors, "vectors", OPT_UINT, .max = 64, .def = "3"),
	OPT_F(struct proxy, base.speed, "speed", OPT_UINT, .def = "10000", .help = "link speed"),
	OPT_END,
};

static const struct type proxy_type = {
	.name = "proxy-net",
	.parent = "base-device",
	.alias = "pnet",
	.desc = "Proxy NIC",
	.instance_size = sizeof(struct proxy),
	.class_init = proxy_class_init,
	.instance_init = proxy_init,
	.finalize = proxy_finalize,
	.props = proxy_props,
};

static void back_finalize(struct object *o)
{
	(void)o;
	note("back-");
}

static void back_class_init(struct class *c)
{
	struct device_class *dc = container_of(c, struct device_class, class);

	dc->bus_type = "back-bus";
	dc->internal = true;
}

static const struct opt back_props[] = {
	OPT_F(struct back, queues, "queues", OPT_UINT, .min = 1, .max = 8, .def = "1"),
	OPT_F(struct back, host, "host", OPT_STR),
	OPT_F(struct back, host, "label", OPT_STR),
	OPT_END,
};

static const struct type back_type = {
	.name = "back",
	.parent = "device",
	.instance_size = sizeof(struct back),
	.class_init = back_class_init,
	.finalize = back_finalize,
	.props = back_props,
};

static void nobus_class_init(struct class *c)
{
	container_of(c, struct device_class, class)->category = "misc";
}

static const struct type nobus_type = {
	.name = "nobus",
	.parent = "device",
	.instance_size = sizeof(struct device),
	.class_init = nobus_class_init,
};

static const struct type board_type = {
	.name = "board",
	.parent = "object",
	.instance_size = sizeof(struct object),
};

static const struct type *const types[] = { &proxy_type, &back_type,   &base_type,  &type_device,
					    &nobus_type, &type_object, &board_type, NULL };

static struct object *board;
static struct bus pci;

static int set_up(void **state)
{
	(void)state;
	realize_result = 0;
	assert_int_equal(types_init(types, &err), 0);
	board = object_new("board", &err);
	bus_init(&pci, "PCI", "pci.0", board);
	trace[0] = 0;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	bus_deinit(&pci);
	object_free(board);
	return 0;
}

/* ---- types ---- */

static void classes_inherit(void **state)
{
	const struct class *c = class_find("proxy-net");

	(void)state;
	assert_ptr_equal(c, class_find("pnet"));
	assert_null(class_find("nonsense"));
	assert_true(class_is_a(c, "base-device") && class_is_a(c, "device") && class_is_a(c, "object"));
	assert_false(class_is_a(c, "back"));
	assert_string_equal(container_of(c, struct device_class, class)->category, "network");
	assert_ptr_equal(c->parent, class_find("base-device"));
}

static void collect(const struct class *c, void *arg)
{
	strcat(strcat(arg, c->type->name), " ");
}

static void classes_are_listed_sorted(void **state)
{
	char names[200] = "";

	(void)state;
	class_each("device", false, collect, names);
	assert_string_equal(names, "back nobus proxy-net ");
	names[0] = 0;
	class_each("base-device", true, collect, names);
	assert_string_equal(names, "base-device proxy-net ");
}

static void bad_tables_are_refused(void **state)
{
	static const struct type orphan = { .name = "orphan", .parent = "nobody" };
	static const struct type a = { .name = "a", .parent = "b" }, b = { .name = "b", .parent = "a" };
	static const struct type twin = { .name = "pnet", .parent = "object" };
	static const struct type small = { .name = "small", .parent = "device", .instance_size = 8 };
	static const struct type *const tables[][5] = {
		{ &type_object, &orphan, NULL },
		{ &a, &b, NULL },
		{ &type_object, &type_device, &twin, &twin, NULL },
		{ &type_object, &type_device, &small, NULL },
	};
	static const char *const says[] = { "parent nobody is not known", "its own ancestor", "is taken", "smaller" };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(tables); i++) {
		assert_true(types_init(tables[i], &err) < 0);
		assert_non_null(strstr(err.msg, says[i]));
		assert_null(class_find("object"));
	}
	assert_int_equal(types_init(types, &err), 0);
}

/* ---- instances ---- */

static void instances_are_made_and_unmade_in_order(void **state)
{
	struct object *o = object_new("pnet", &err);

	(void)state;
	assert_non_null(o);
	object_free(o);
	assert_string_equal(trace, "base+ proxy+ back- proxy- base- ");
	object_free(NULL);
}

static void abstract_and_unknown_types_are_refused(void **state)
{
	(void)state;
	assert_null(object_new("base-device", &err));
	assert_non_null(strstr(err.msg, "base-device"));
	assert_null(object_new("nothing", &err));
	assert_string_equal(err.msg, "nothing: no such type");
}

static void children_go_with_their_parent(void **state)
{
	struct object *a = object_new("board", &err), *b = object_new("nobus", &err), *c = object_new("nobus", &err);
	char path[64];

	(void)state;
	object_adopt(a, b, "b");
	object_adopt(b, c, "c");
	object_path(c, path, sizeof(path));
	assert_string_equal(path, "/board/b/c");
	object_path(c, path, 9);
	assert_string_equal(path, "/board/b");
	object_path(c, path, 0);
	object_adopt(a, c, "moved");
	object_path(c, path, sizeof(path));
	assert_string_equal(path, "/board/moved");
	object_free(b);
	assert_ptr_equal(a->children.next, &c->node);
	object_free(a);
}

static void properties_are_looked_up_from_leaf_to_delegate(void **state)
{
	struct object *o = object_new("proxy-net", &err);
	struct proxy *p = to_proxy(o);
	char buf[32];

	(void)state;
	assert_int_equal(p->base.speed, 10000);
	assert_int_equal(p->vectors, 3);
	assert_int_equal(p->back->queues, 1);
	assert_int_equal(object_set(o, "vectors", "7", &err), 0);
	assert_int_equal(object_set(o, "queues", "8", &err), 0);
	assert_int_equal(object_set(o, "label", "mine", &err), 0);
	assert_true(p->vectors == 7 && p->back->queues == 8);
	assert_string_equal(p->base.label, "mine");
	assert_null(p->back->host);
	assert_int_equal(object_get(o, "queues", buf, sizeof(buf)), 0);
	assert_string_equal(buf, "8");
	assert_int_equal(object_get(o, "nonsense", buf, sizeof(buf)), -ENOENT);
	assert_int_equal(object_set(o, "queues", "9", &err), -ERANGE);
	assert_string_equal(err.msg, "queues=9: must be between 1 and 8");
	assert_int_equal(object_set(o, "vecters", "1", &err), -EINVAL);
	assert_string_equal(err.msg, "unknown option 'vecters'; did you mean 'vectors'?");
	object_free(o);
}

static void help_shows_each_property_once(void **state)
{
	char *text = NULL, *at;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	(void)state;
	class_help(f, class_find("proxy-net"));
	fclose(f);
	assert_non_null(strstr(text, "  queues=<1..8>"));
	at = strstr(text, "  speed=<uint32>");
	assert_non_null(at);
	assert_non_null(strstr(at, "(default: 10000)"));
	assert_null(strstr(at + 8, "speed="));
	assert_true(strstr(text, "  host=") < strstr(text, "  queues="));
	free(text);
}

/* ---- devices ---- */

static struct device *add(const char *text)
{
	struct opt_list l;
	struct device *d;

	assert_int_equal(opt_list_parse(text, "driver", &l, &err), 0);
	d = device_add(&l, &err);
	opt_list_free(&l);
	return d;
}

static void count_device(struct device *d, void *arg)
{
	(void)d;
	(*(unsigned *)arg)++;
}

static unsigned devices(void)
{
	unsigned n = 0;

	device_each(count_device, &n);
	return n;
}

static void devices_are_added_and_removed(void **state)
{
	struct device *d = add("pnet,id=net0,vectors=5,queues=2");
	char path[64];

	(void)state;
	assert_non_null(d);
	assert_string_equal(trace, "base+ proxy+ realize reset ");
	assert_int_equal(d->state, DEVICE_REALIZED);
	assert_ptr_equal(d->bus, &pci);
	assert_ptr_equal(device_find("net0"), d);
	assert_string_equal(device_label(d), "net0");
	assert_int_equal(to_proxy(&d->obj)->back->queues, 2);
	assert_int_equal(to_proxy(&d->obj)->back->dev.state, DEVICE_REALIZED);
	object_path(&to_proxy(&d->obj)->back->dev.obj, path, sizeof(path));
	assert_string_equal(path, "/board/net0/back");
	assert_int_equal(devices(), 2);
	trace[0] = 0;
	device_del(d);
	assert_string_equal(trace, "unrealize back- proxy- base- ");
	assert_null(device_find("net0"));
	assert_int_equal(devices(), 0);
	assert_true(list_empty(&pci.devices) && list_empty(&board->children));
}

static void devices_on_no_bus(void **state)
{
	struct device *d = add("nobus");

	(void)state;
	assert_non_null(d);
	assert_string_equal(device_label(d), "nobus");
	device_reset(d);
	device_unrealize(d);
	device_unrealize(d);
	device_del(d);
}

static void bad_devices_leave_nothing(void **state)
{
	static const struct {
		const char *text, *msg;
	} cases[] = {
		{ "proxy-nte", "-device proxy-nte: unknown device; did you mean 'proxy-net'?" },
		{ "pnot", "-device pnot: unknown device; did you mean 'pnet'?" },
		{ "back", "-device back: unknown device; `-device help` lists what there is" },
		{ "base-device", "-device base-device: unknown device; `-device help` lists what there is" },
		{ "board", "-device board: unknown device; `-device help` lists what there is" },
		{ "id=x", "-device: names no driver, as in -device virtio-net-pci,netdev=n0" },
		{ "pnet,id=0",
		  "-device pnet,id=0: id=0: an id is a letter, then letters, digits, '-', '.' or '_', at most 127 "
		  "in all" },
		{ "pnet,id=taken",
		  "-device pnet,id=taken: id=taken: is taken by another device (nobus); ids must differ" },
		{ "pnet,id=a,vectors=65", "-device pnet,id=a: vectors=65: must be between 0 and 64" },
		{ "pnet,nonsense=1",
		  "-device pnet: unknown option 'nonsense'; the word help in its place lists what there is" },
		{ "pnet,bus=pci.7", "-device pnet: bus=pci.7: no such bus; PCI buses: pci.0" },
		{ "pnet,bus=other", "-device pnet: bus=other: is a USB bus, the device needs a PCI bus" },
		{ "nobus,bus=pci.0", "-device nobus: bus=pci.0: this device goes on no bus; leave bus= out" },
	};
	struct device *taken = add("nobus,id=taken");
	struct bus other;

	(void)state;
	assert_non_null(taken);
	bus_init(&other, "USB", "other", NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_null(add(cases[i].text));
		assert_string_equal(err.msg, cases[i].msg);
		assert_int_equal(devices(), 1);
		assert_true(list_empty(&pci.devices) && list_empty(&board->children));
	}
	bus_deinit(&other);
	device_del(taken);
}

static void a_failed_realize_is_undone(void **state)
{
	(void)state;
	realize_result = -EIO;
	assert_null(add("pnet,id=a"));
	assert_string_equal(err.msg, "-device pnet,id=a: does not want to");
	assert_string_equal(trace, "base+ proxy+ realize back- proxy- base- ");
	assert_true(list_empty(&pci.devices) && list_empty(&board->children));
	assert_null(device_find("a"));
}

static void full_buses_are_passed_over(void **state)
{
	struct bus second;
	struct device *d;

	(void)state;
	pci.full = true;
	assert_null(add("pnet"));
	assert_string_equal(err.msg, "-device pnet: there is no PCI bus that takes one more device");
	assert_null(add("pnet,bus=pci.0"));
	assert_string_equal(err.msg, "-device pnet: bus=pci.0: takes no more devices");
	bus_init(&second, "PCI", "pci.1", board);
	d = add("pnet");
	assert_ptr_equal(d->bus, &second);
	trace[0] = 0;
	bus_deinit(&second);
	assert_string_equal(trace, "unrealize ");
	assert_int_equal(d->state, DEVICE_UNREALIZED);
	device_del(d);
	pci.full = false;
}

static void device_help_is_sorted_by_category(void **state)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	(void)state;
	device_help(f);
	fclose(f);
	assert_string_equal(text,
			    "Misc devices:\nname \"nobus\"\n\n"
			    "Network devices:\nname \"proxy-net\", bus PCI, alias \"pnet\", desc \"Proxy NIC\"\n");
	free(text);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(classes_inherit),
		T(classes_are_listed_sorted),
		cmocka_unit_test(bad_tables_are_refused),
		T(instances_are_made_and_unmade_in_order),
		T(abstract_and_unknown_types_are_refused),
		T(children_go_with_their_parent),
		T(properties_are_looked_up_from_leaf_to_delegate),
		T(help_shows_each_property_once),
		T(devices_are_added_and_removed),
		T(devices_on_no_bus),
		T(bad_devices_leave_nothing),
		T(a_failed_realize_is_undone),
		T(full_buses_are_passed_over),
		T(device_help_is_sorted_by_category),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
