/* SPDX-License-Identifier: BSD-2-Clause */
/* -netdev tap: its options, and how the queues of the interface are come by: opened, inherited, or from a helper. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/bridge.h"
#include "backend/script.h"
#include "backend/tap.h"
#include "backend/tap_steer.h"
#include "backend/tap_steer_map.h"

#define DEFAULT_SCRIPT	   "/etc/qemu-ifup"
#define DEFAULT_DOWNSCRIPT "/etc/qemu-ifdown"

struct tap_opts {
	char *ifname, *fd, *script, *downscript;
	uint64_t sndbuf;
	uint8_t vnet_hdr, vhost;
	bool vhostforce;
	char *br, *helper, *fds, *vhostfd, *vhostfds;
	uint32_t queues, poll_us;
};

#define O(field, name, kind, ...) OPT_F(struct tap_opts, field, name, kind, __VA_ARGS__)

static const struct opt tap_options[] = {
	O(ifname, "ifname", OPT_STR, .arg = "name", .help = "the interface; without it the kernel picks a name"),
	O(fd, "fd", OPT_STR, .arg = "n", .help = "an open tap instead of ifname, inherited as descriptor n"),
	O(fds, "fds", OPT_STR, .arg = "n:n...", .help = "the same for an interface with several queues, one a queue"),
	O(script, "script", OPT_STR, .arg = "path|no",
	  .help = "program to set the interface up, run as: path ifname; default " DEFAULT_SCRIPT ", if it exists"),
	O(downscript, "downscript", OPT_STR, .arg = "path|no",
	  .help = "program to take the interface down at the end; default " DEFAULT_DOWNSCRIPT ", if it exists"),
	O(br, "br", OPT_STR, .arg = "bridge",
	  .help = "bridge of the host that the interface joins; default " DEFAULT_BRIDGE " if there is helper="),
	O(helper, "helper", OPT_STR, .arg = "command",
	  .help = "program that opens the tap and puts it into the bridge br"),
	O(sndbuf, "sndbuf", OPT_SIZE, .def = "0",
	  .help = "bytes under way to the host before the guest waits; 0: no limit"),
	O(vnet_hdr, "vnet_hdr", OPT_ONOFFAUTO, .def = "auto", .help = "offloads to and from the host; auto: if it can"),
	O(queues, "queues", OPT_UINT, .min = 1, .max = TAP_QUEUES_MAX, .def = "1", .help = "queues of the interface"),
	O(vhost, "vhost", OPT_ONOFFAUTO, .def = "off", .help = "in-kernel data path; not offered"),
	O(vhostforce, "vhostforce", OPT_BOOL, .def = "off", .help = "as vhost"),
	O(vhostfd, "vhostfd", OPT_STR, .arg = "n", .help = "as vhost"),
	O(vhostfds, "vhostfds", OPT_STR, .arg = "n:n...", .help = "as vhost"),
	O(poll_us, "poll-us", OPT_UINT, .def = "0", .help = "as vhost"),
	OPT_END,
};

/* ---- what goes together ---- */

static int check_offered(const struct tap_opts *o, struct error *err)
{
	if (o->vhost == OPT_ON || o->vhostforce || o->vhostfd || o->vhostfds || o->poll_us)
		return fail(err, ENOTSUP,
			    "%s is not offered yet; leave out all vhost options, the tap is served by vwire",
			    o->vhost == OPT_ON ? "vhost=on" :
			    o->vhostforce      ? "vhostforce=on" :
			    o->poll_us	       ? "poll-us" :
						 "vhostfd");
	return 0;
}

/* The first option that only makes sense for an interface that we open ourselves, or NULL. */
static const char *own_option(const struct tap_opts *o)
{
	return o->ifname	       ? "ifname" :
	       o->script	       ? "script" :
	       o->downscript	       ? "downscript" :
	       o->vnet_hdr != OPT_AUTO ? "vnet_hdr" :
	       o->queues != 1	       ? "queues" :
					 NULL;
}

static int check_alone(const struct tap_opts *o, const char *name, const char *value, struct error *err)
{
	const char *other = own_option(o);

	if (other)
		return fail(err, EINVAL,
			    "%s=%s and %s= exclude each other: who opened the tap has decided that; leave out %s=",
			    name, value, other, other);
	return 0;
}

static int check_exclusive(const struct tap_opts *o, struct error *err)
{
	const char *way[][2] = { { "fd", o->fd }, { "fds", o->fds }, { "helper", o->helper }, { "br", o->br } };
	const char *const *first = NULL;

	for (unsigned i = 0; i < ARRAY_SIZE(way); i++) {
		if (!way[i][1])
			continue;
		if (first && strcmp(first[0], "helper") != 0)
			return fail(err, EINVAL, "%s=%s and %s=%s exclude each other; leave out one of them", first[0],
				    first[1], way[i][0], way[i][1]);
		first = first ? first : way[i];
	}
	return first ? check_alone(o, first[0], first[1], err) : 0;
}

/* ---- the queues ---- */

struct queues {
	struct tap_dev dev[TAP_QUEUES_MAX];
	unsigned n;
	bool inherited; /* left open on an error: they are not ours */
};

static void close_queues(struct queues *q)
{
	for (unsigned i = 0; i < q->n; i++) {
		if (q->inherited)
			tap_steer_leave(&q->dev[i]);
		else
			tap_dev_close(&q->dev[i]);
	}
}

static int sndbuf_of(const struct tap_opts *o)
{
	return o->sndbuf && o->sndbuf < INT_MAX ? (int)o->sndbuf : INT_MAX;
}

static int open_queues(struct queues *q, const struct tap_opts *o, struct error *err)
{
	int ret = 0;

	while (!ret && q->n < o->queues) {
		const char *ifname = q->n ? q->dev[0].ifname : o->ifname;

		ret = tap_dev_open(&q->dev[q->n], ifname, o->vnet_hdr, o->queues > 1, sndbuf_of(o), err);
		if (!ret)
			q->n++;
	}
	return ret;
}

static int parse_fd(const char *text, int *fd, struct error *err)
{
	const char *user;
	struct error why;
	uint64_t n;

	if (parse_uint(text, 3, INT_MAX, &n, &why))
		return fail(err, EINVAL, "fd=%s: the number of an open descriptor, 3 or above, is wanted", text);
	*fd = (int)n;
	user = tap_fd_user(*fd);
	if (user)
		return fail(err, EBUSY, "fd=%s: this descriptor is used by \"%s\" already", text, user);
	return 0;
}

static int adopt(struct queues *q, const char *text, const struct tap_opts *o, struct error *err)
{
	int fd, ret = parse_fd(text, &fd, err);

	for (unsigned i = 0; !ret && i < q->n; i++) {
		if (q->dev[i].fd == fd)
			return fail(err, EINVAL, "fds=%s: descriptor %d is given twice", o->fds, fd);
	}
	ret = ret ?: tap_dev_adopt(&q->dev[q->n], fd, sndbuf_of(o), err);
	if (ret)
		return ret;
	if (q->dev[q->n].vnet_hdr != q->dev[0].vnet_hdr)
		return fail(err, EINVAL, "fds=%s: some have vnet headers (IFF_VNET_HDR) and some not; open them alike",
			    o->fds);
	if (strcmp(q->dev[q->n].ifname, q->dev[0].ifname) != 0)
		return fail(err, EINVAL, "fds=%s: these belong to different interfaces, %s and %s", o->fds,
			    q->dev[0].ifname, q->dev[q->n].ifname);
	q->n++;
	return 0;
}

static int adopt_list(struct queues *q, const struct tap_opts *o, struct error *err)
{
	char *text = strdup(o->fds), *rest = text, *one;
	int ret = text ? 0 : fail(err, ENOMEM, "no memory");

	while (!ret && (one = strsep(&rest, ":"))) {
		if (q->n == TAP_QUEUES_MAX)
			ret = fail(err, EINVAL, "fds: at most %d descriptors", TAP_QUEUES_MAX);
		else
			ret = adopt(q, one, o, err);
	}
	free(text);
	return ret;
}

static int bridge_port(struct queues *q, const struct tap_opts *o, struct error *err)
{
	const char *br = o->br ? o->br : DEFAULT_BRIDGE;
	int ret = bridge_check_name(br, err);

	ret = ret ?: bridge_open_port(&q->dev[0], br, o->helper, sndbuf_of(o), err);
	q->n = !ret;
	return ret;
}

static int come_by_queues(struct queues *q, const struct tap_opts *o, struct error *err)
{
	if (o->helper || o->br)
		return bridge_port(q, o, err);
	q->inherited = o->fd || o->fds;
	if (o->fd)
		return adopt(q, o->fd, o, err);
	return o->fds ? adopt_list(q, o, err) : open_queues(q, o, err);
}

/* ---- scripts ---- */

/* The script that is to be run: none, the one named, or the default if there is one. */
static const char *script_path(const char *option, const char *def)
{
	if (option)
		return *option && strcmp(option, "no") ? option : NULL;
	return access(def, F_OK) == 0 ? def : NULL;
}

static int run_up_script(const char *path, const char *ifname, struct error *err)
{
	int ret = path ? script_run(path, ifname, SCRIPT_TIMEOUT_MS, err) : 0;

	if (ret)
		error_prefix(err, "script=%s: ", path);
	return ret;
}

/* ---- creation ---- */

static void remove_clients(const char *id, unsigned n)
{
	while (n--) {
		struct net_client *c = net_client_find(id, n);

		net_client_remove(c);
		c->ops->destroy(c);
	}
}

/* The clients own their devices as they are made; the others are still in *q. */
static int make_clients(const char *id, struct queues *q, const char *downscript, const struct netdev_place *place,
			struct error *err)
{
	int ret = 0;

	for (unsigned i = 0; !ret && i < q->n; i++) {
		struct loop *loop = place->loop(place, i, err);

		ret = loop ? tap_new(id, i, &q->dev[i], loop, i ? NULL : downscript, err) : -ENOMEM;
		if (!ret)
			q->dev[i] = (struct tap_dev){ .fd = -1 };
		else
			remove_clients(id, i);
	}
	return ret;
}

static int create(const char *id, const struct tap_opts *o, struct queues *q, const struct netdev_place *place,
		  struct error *err)
{
	bool ours = !o->fd && !o->fds && !o->helper && !o->br;
	const char *up = ours ? script_path(o->script, DEFAULT_SCRIPT) : NULL;
	const char *down = ours ? script_path(o->downscript, DEFAULT_DOWNSCRIPT) : NULL;
	int ret = come_by_queues(q, o, err);

	ret = ret ?: run_up_script(up, q->dev[0].ifname, err);
	if (!ret && q->n > 1 && tap_steer_join(q->dev, q->n) < 0)
		ret = fail(err, ENOMEM, "no memory");
	ret = ret ?: make_clients(id, q, down, place, err);
	if (ret)
		close_queues(q);
	return ret;
}

static int tap_create(const char *id, const void *opts, const struct netdev_place *place, struct error *err)
{
	struct queues *q = calloc(1, sizeof(*q));
	int ret = q ? check_offered(opts, err) : fail(err, ENOMEM, "no memory");

	ret = ret ?: check_exclusive(opts, err);
	ret = ret ?: create(id, opts, q, place, err);
	free(q);
	return ret;
}

const struct netdev_type tap_netdev = {
	.name = "tap",
	.help = "an interface of the host",
	.opts = tap_options,
	.opts_size = sizeof(struct tap_opts),
	.create_queues = tap_create,
};
