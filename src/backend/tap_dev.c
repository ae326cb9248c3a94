/* SPDX-License-Identifier: BSD-2-Clause */
/* A tap device of the kernel: opening, adopting, settings. */
#include "backend/tap_dev.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "backend/tap_steer.h"
#include "base/open.h"
#include "net/frame.h"

#ifndef TUN_F_USO4 /* uapi headers since 6.2 */
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

/* The kernel takes segmented frames only together with partial checksums. */
static unsigned to_tun(uint32_t off)
{
	unsigned t = 0;

	if (!(off & NET_OFF_CSUM))
		return 0;
	t |= TUN_F_CSUM;
	t |= off & NET_OFF_TSO4 ? TUN_F_TSO4 : 0;
	t |= off & NET_OFF_TSO6 ? TUN_F_TSO6 : 0;
	if ((off & NET_OFF_ECN) && (off & (NET_OFF_TSO4 | NET_OFF_TSO6)))
		t |= TUN_F_TSO_ECN;
	t |= off & NET_OFF_UFO ? TUN_F_UFO : 0;
	t |= off & NET_OFF_USO ? TUN_F_USO4 | TUN_F_USO6 : 0;
	return t;
}

static uint32_t from_tun(unsigned t)
{
	uint32_t off = 0;

	off |= t & TUN_F_CSUM ? NET_OFF_CSUM : 0;
	off |= t & TUN_F_TSO4 ? NET_OFF_TSO4 : 0;
	off |= t & TUN_F_TSO6 ? NET_OFF_TSO6 : 0;
	off |= t & TUN_F_TSO_ECN ? NET_OFF_ECN : 0;
	off |= t & TUN_F_UFO ? NET_OFF_UFO : 0;
	off |= t & TUN_F_USO4 ? NET_OFF_USO : 0;
	return off;
}

int tap_dev_set_offload(struct tap_dev *d, uint32_t offloads)
{
	unsigned t = to_tun(offloads & d->offloads);

	if (ioctl(d->fd, TUNSETOFFLOAD, (unsigned long)t) < 0)
		return -errno;
	d->gives = from_tun(t);
	return 0;
}

/* What the kernel can is found by asking for it; the device then gives plain frames until somebody takes more. */
static void probe_offloads(struct tap_dev *d)
{
	static const uint32_t sets[] = {
		NET_OFF_ALL,
		NET_OFF_ALL & ~NET_OFF_USO,
		NET_OFF_ALL & ~(NET_OFF_USO | NET_OFF_UFO),
		NET_OFF_CSUM,
	};

	for (unsigned i = 0; d->vnet_hdr && i < ARRAY_SIZE(sets); i++) {
		d->offloads = sets[i];
		if (tap_dev_set_offload(d, sets[i]) == 0)
			break;
		d->offloads = 0;
	}
	tap_dev_set_offload(d, 0);
}

static int configure(struct tap_dev *d, struct error *err)
{
	int len = TAP_VNET_HDR_LEN, le = 1;

	if (d->vnet_hdr && ioctl(d->fd, TUNSETVNETHDRSZ, &len) < 0)
		return fail(err, errno, "%s: the kernel refuses vnet headers of %d bytes: %s", d->ifname, len,
			    errno_str(errno));
	/* Kernels that do not know it use the host's order, which is the same on a little-endian host. */
	if (d->vnet_hdr && ioctl(d->fd, TUNSETVNETLE, &le) < 0 && __BYTE_ORDER != __LITTLE_ENDIAN)
		return fail(err, errno, "%s: the kernel has no little-endian vnet headers; use vnet_hdr=off",
			    d->ifname);
	if (ioctl(d->fd, TUNSETSNDBUF, &d->sndbuf) < 0 && d->sndbuf != INT_MAX)
		return fail(err, errno, "sndbuf=%d: the kernel refuses it: %s", d->sndbuf, errno_str(errno));
	return 0;
}

/* ---- opening ---- */

static int check_ifname(const char *name, struct error *err)
{
	bool bad = !*name || !strcmp(name, ".") || !strcmp(name, "..");

	if (strlen(name) >= IFNAMSIZ)
		return fail(err, EINVAL, "ifname=%s: an interface's name has at most %d characters", name,
			    IFNAMSIZ - 1);
	for (const char *p = name; *p; p++)
		bad |= *p == '/' || *p == ':' || *p == '%' || isspace((unsigned char)*p) || !isprint((unsigned char)*p);
	if (bad)
		return fail(err, EINVAL,
			    "ifname=%s: this is no name of an interface; a name has 1 to %d characters, without "
			    "'/', ':', '%%' and space",
			    name, IFNAMSIZ - 1);
	return 0;
}

static int set_queue(struct tap_dev *d, bool enabled)
{
	struct ifreq ifr = { .ifr_flags = enabled ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE };

	if (ioctl(d->fd, TUNSETQUEUE, &ifr) < 0)
		return -errno;
	d->detached = !enabled;
	return 0;
}

static int attach(struct tap_dev *d)
{
	return set_queue(d, true);
}

static int detach(struct tap_dev *d)
{
	return set_queue(d, false);
}

static int change(struct tap_dev *d, int (*how)(struct tap_dev *d))
{
	return d->steer ? tap_steer_change(d, how) : how(d);
}

int tap_dev_enable(struct tap_dev *d)
{
	return d->detached ? change(d, attach) : 0;
}

/* If the interface is gone: a new one is to begin like that. */
void tap_dev_disable(struct tap_dev *d)
{
	if (!(d->flags & IFF_MULTI_QUEUE) || d->detached)
		return;
	change(d, detach);
	d->detached = true;
}

/* What the descriptor is attached to. */
static int learn(struct tap_dev *d, struct error *err)
{
	struct ifreq ifr = { .ifr_flags = 0 };

	if (ioctl(d->fd, TUNGETIFF, &ifr) < 0)
		return fail(err, EINVAL, "this descriptor is no tap that is attached to an interface");
	if (!(ifr.ifr_flags & IFF_TAP) || !(ifr.ifr_flags & IFF_NO_PI))
		return fail(err, EINVAL,
			    "the interface %.15s is no tap without packet information (IFF_TAP | IFF_NO_PI)",
			    ifr.ifr_name);
	memcpy(d->ifname, ifr.ifr_name, IFNAMSIZ);
	d->flags = (uint16_t)(ifr.ifr_flags & (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE));
	d->vnet_hdr = ifr.ifr_flags & IFF_VNET_HDR;
	return 0;
}

int tap_dev_open(struct tap_dev *d, const char *ifname, enum onoffauto vnet_hdr, bool several, int sndbuf,
		 struct error *err)
{
	struct open_request r = {
		.kind = OPEN_TAP,
		.nonblock = true,
		.ifname = ifname,
		.tap_flags = IFF_TAP | IFF_NO_PI | (several ? IFF_MULTI_QUEUE : 0),
		.tap_wish = vnet_hdr != OPT_OFF ? IFF_VNET_HDR : 0,
	};
	int ret = ifname ? check_ifname(ifname, err) : 0;

	*d = (struct tap_dev){ .fd = -1, .sndbuf = sndbuf };
	if (!ret)
		ret = d->fd = open_request(&r, err);
	if (ret < 0)
		return ret;
	ret = learn(d, err);
	if (!ret && vnet_hdr == OPT_ON && !d->vnet_hdr)
		ret = fail(err, ENOTSUP, "vnet_hdr=on: this kernel's tap has no vnet headers; leave it out");
	if (!ret)
		ret = configure(d, err);
	if (!ret && several && (ret = set_queue(d, false)))
		fail(err, -ret, "%s: the kernel refuses to detach a queue: %s", d->ifname, errno_str(-ret));
	if (ret) {
		tap_dev_close(d);
		return ret;
	}
	probe_offloads(d);
	return 0;
}

/* ---- adopting ---- */

int tap_dev_take(struct tap_dev *d, int fd, int sndbuf, struct error *err)
{
	int ret;

	*d = (struct tap_dev){ .fd = fd, .sndbuf = sndbuf };
	ret = learn(d, err) ?: configure(d, err);
	if (ret)
		return ret;
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
		return fail(err, errno, "%s", errno_str(errno));
	/*
	 * One of several, maybe: the kernel is to use it when it is read. (It refuses if who opened it has done that.)
	 */
	if ((d->flags & IFF_MULTI_QUEUE) && set_queue(d, false))
		d->detached = true;
	probe_offloads(d);
	return 0;
}

int tap_dev_adopt(struct tap_dev *d, int fd, int sndbuf, struct error *err)
{
	struct open_request r = { .kind = OPEN_INHERITED, .fd = fd, .nonblock = true };
	int ret = open_request(&r, err);

	if (ret >= 0)
		ret = tap_dev_take(d, fd, sndbuf, err);
	if (ret < 0)
		error_prefix(err, "fd=%d: ", fd);
	return ret;
}

static int reattach(struct tap_dev *d)
{
	struct open_request r = { .kind = OPEN_TAP, .nonblock = true, .ifname = d->ifname, .tap_flags = d->flags };
	unsigned ifindex = if_nametoindex(d->ifname);
	uint32_t gives = d->gives;
	int fd, ret;

	if (!ifindex) /* it is not ours to make */
		return -ENODEV;
	fd = open_request(&r, NULL);
	if (fd < 0)
		return fd;
	ret = dup3(fd, d->fd, O_CLOEXEC) < 0 ? -errno : configure(d, NULL);
	close(fd);
	if (!ret && d->detached)
		ret = set_queue(d, false);
	d->ifindex = ifindex;
	return ret ? ret : tap_dev_set_offload(d, gives);
}

int tap_dev_reattach(struct tap_dev *d)
{
	return d->steer ? tap_steer_reattach(d, reattach) : reattach(d);
}

void tap_dev_close(struct tap_dev *d)
{
	tap_steer_leave(d);
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
}
