/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * -netdev bridge: a tap that is a port of a bridge of the host's kernel.
 *
 * With CAP_NET_ADMIN we make the tap, give it the bridge's MTU, put it into the bridge and set it up. Without, the
 * setuid helper of QEMU's packages does all that, if /etc/qemu/bridge.conf allows the bridge to its caller.
 */
#include "backend/bridge.h"

#include <errno.h>
#include <limits.h>
#include <linux/sockios.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/tap.h"
#include "backend/tap_helper.h"
#include "base/open.h"

int bridge_check_name(const char *br, struct error *err)
{
	if (!*br || strlen(br) >= IFNAMSIZ || strchr(br, '/') || strpbrk(br, " \t:%"))
		return fail(err, EINVAL, "br=%s: this is no name of a bridge; a name has 1 to %d characters", br,
			    IFNAMSIZ - 1);
	return 0;
}

/* ---- our own way ---- */

struct port {
	int sock; /* any: a handle for ioctls on interfaces */
	const char *ifname, *br;
};

static int get(const struct port *p, const char *ifname, unsigned long request, struct ifreq *ifr)
{
	memset(ifr, 0, sizeof(*ifr));
	memcpy(ifr->ifr_name, ifname, strlen(ifname) + 1);
	return ioctl(p->sock, request, ifr) < 0 ? -errno : 0;
}

/* A bridge without an address of its own takes the lowest one of its ports: a tap's shall not be it. */
static int set_high_address(const struct port *p)
{
	struct ifreq ifr;
	int ret = get(p, p->ifname, SIOCGIFHWADDR, &ifr);

	if (ret || ifr.ifr_hwaddr.sa_family != ARPHRD_ETHER)
		return ret;
	ifr.ifr_hwaddr.sa_data[0] = (char)0xfe;
	return ioctl(p->sock, SIOCSIFHWADDR, &ifr) < 0 ? -errno : 0;
}

static int copy_mtu(const struct port *p)
{
	struct ifreq ifr;
	int ret = get(p, p->br, SIOCGIFMTU, &ifr);

	if (ret)
		return ret;
	memset(ifr.ifr_name, 0, sizeof(ifr.ifr_name));
	memcpy(ifr.ifr_name, p->ifname, strlen(p->ifname) + 1);
	return ioctl(p->sock, SIOCSIFMTU, &ifr) < 0 ? -errno : 0;
}

static int enslave(const struct port *p)
{
	struct ifreq ifr = { .ifr_ifindex = 0 };

	memcpy(ifr.ifr_name, p->br, strlen(p->br) + 1);
	ifr.ifr_ifindex = (int)if_nametoindex(p->ifname);
	return ioctl(p->sock, SIOCBRADDIF, &ifr) < 0 ? -errno : 0;
}

static int set_up(const struct port *p)
{
	struct ifreq ifr;
	int ret = get(p, p->ifname, SIOCGIFFLAGS, &ifr);

	if (ret)
		return ret;
	ifr.ifr_flags |= IFF_UP;
	return ioctl(p->sock, SIOCSIFFLAGS, &ifr) < 0 ? -errno : 0;
}

static int join_error(const struct port *p, int code, struct error *err)
{
	if (code == EOPNOTSUPP || code == EINVAL)
		return fail(err, code,
			    "br=%s: this interface is no bridge; make one with: ip link add NAME type bridge", p->br);
	return fail(err, code, "br=%s: cannot add %s to the bridge: %s", p->br, p->ifname, errno_str(code));
}

static int join(const struct tap_dev *d, const char *br, struct error *err)
{
	const struct open_request r = { .kind = OPEN_SOCKET, .domain = AF_UNIX, .type = SOCK_DGRAM };
	struct port p = { .sock = open_request(&r, err), .ifname = d->ifname, .br = br };
	int ret;

	if (p.sock < 0) {
		error_prefix(err, "br=%s: ", br);
		return p.sock;
	}
	ret = set_high_address(&p);
	ret = ret ?: copy_mtu(&p);
	ret = ret ?: enslave(&p);
	ret = ret ?: set_up(&p);
	close(p.sock);
	return ret ? join_error(&p, -ret, err) : 0;
}

static int open_own(struct tap_dev *d, const char *br, int sndbuf, struct error *err)
{
	int ret = tap_dev_open(d, NULL, OPT_AUTO, false, sndbuf, err);

	if (ret)
		return ret;
	ret = join(d, br, err);
	if (ret)
		tap_dev_close(d);
	return ret;
}

/* ---- by a helper ---- */

static int open_by_helper(struct tap_dev *d, const char *br, const char *helper, int sndbuf, struct error *err)
{
	int fd = tap_helper_open(helper, br, err), ret;

	if (fd < 0)
		return fd;
	ret = tap_dev_take(d, fd, sndbuf, err);
	if (ret) {
		error_prefix(err, "helper=%s: ", helper);
		close(fd);
	}
	return ret;
}

int bridge_open_port(struct tap_dev *d, const char *br, const char *helper, int sndbuf, struct error *err)
{
	int ret;

	if (helper)
		return open_by_helper(d, br, helper, sndbuf, err);
	if (!if_nametoindex(br))
		return fail(err, ENODEV,
			    "br=%s: there is no such interface; make the bridge first: ip link add %s type bridge", br,
			    br);
	ret = open_own(d, br, sndbuf, err);
	if (ret != -EPERM && ret != -EACCES)
		return ret;
	helper = tap_helper_default();
	if (!helper)
		return fail(err, EPERM,
			    "br=%s: no permission; it needs CAP_NET_ADMIN, or the setuid qemu-bridge-helper of the "
			    "package qemu-system-common",
			    br);
	return open_by_helper(d, br, helper, sndbuf, err);
}

/* ---- -netdev bridge ---- */

struct bridge_opts {
	char *br, *helper;
};

#define O(field, name, kind, ...) OPT_F(struct bridge_opts, field, name, kind, __VA_ARGS__)

static const struct opt bridge_options[] = {
	O(br, "br", OPT_STR, .def = DEFAULT_BRIDGE, .arg = "bridge", .help = "the bridge to join"),
	O(helper, "helper", OPT_STR, .arg = "command",
	  .help = "program that opens the tap; default: vwire itself if it may, else qemu-bridge-helper"),
	OPT_END,
};

static int bridge_create(const char *id, const void *opts, struct loop *loop, struct error *err)
{
	const struct bridge_opts *o = opts;
	struct tap_dev d;
	int ret = bridge_check_name(o->br, err);

	ret = ret ?: bridge_open_port(&d, o->br, o->helper, INT_MAX, err);
	if (ret)
		return ret;
	ret = tap_new(id, 0, &d, loop, NULL, err);
	if (ret)
		tap_dev_close(&d);
	return ret;
}

const struct netdev_type bridge_netdev = {
	.name = "bridge",
	.help = "a tap in a bridge of the host",
	.opts = bridge_options,
	.opts_size = sizeof(struct bridge_opts),
	.create = bridge_create,
};
