/* SPDX-License-Identifier: BSD-2-Clause */
/* -netdev hubport: a port of a hub, to which a NIC or, by netdev=, another backend is joined. */
#include <errno.h>

#include "net/frameq.h"
#include "net/hub.h"

struct hubport_opts {
	int32_t hubid;
	char *netdev;
	uint64_t queue;
	uint8_t learning; /* enum onoffauto */
	uint32_t ageing;
	unsigned vlan_mode;
	uint16_t tag;
	struct strlist trunks;
};

static const char *const vlan_modes[] = { "none", "access", "trunk", NULL }; /* enum vlan_mode */

#define O(field, name, kind, ...) OPT_F(struct hubport_opts, field, name, kind, __VA_ARGS__)

static const struct opt hubport_options[] = {
	O(hubid, "hubid", OPT_INT, .required = true, .arg = "n",
	  .help = "number of the hub, which is made with its first port"),
	O(netdev, "netdev", OPT_STR, .arg = "id",
	  .help = "join the port to this backend; without it, to the device that names the port by netdev="),
	O(queue, "queue", OPT_SIZE, .def = "1M", .min = FRAMEQ_MIN, .max = FRAMEQ_MAX,
	  .help = "frames, in bytes, that wait for a peer that is slow; what is more is dropped"),
	O(learning, "learning", OPT_ONOFFAUTO, .def = "auto",
	  .help = "make the hub a switch that learns which addresses are behind which port; auto: if another port says so"),
	O(ageing, "ageing", OPT_UINT, .min = 1, .max = 1000000, .arg = "seconds",
	  .help = "forget an address that was not seen for so long, 300 if no port says it; with learning=on"),
	O(vlan_mode, "vlan-mode", OPT_ENUM, .def = "none", .choices = vlan_modes,
	  .help = "what the port is to 802.1Q VLANs: access (one VLAN, without tags), trunk (many, with tags), none: all of "
		  "them, as they are"),
	O(tag, "tag", OPT_UINT, .min = 1, .max = VLAN_MAX, .arg = "vlan",
	  .help = "VLAN of an access port, native VLAN of a trunk; alone it makes an access port"),
	O(trunks, "trunks", OPT_STRLIST, .arg = "vlan[-vlan][:...]",
	  .help = "VLANs of a trunk, 0 for frames without a tag; all if not given"),
	OPT_END,
};

static int find_peer(const struct hubport_opts *o, struct net_client **peer, struct error *err)
{
	struct net_client *c = net_client_find(o->netdev, 0);
	int rc;

	if (!c || c->kind == NET_KIND_NIC)
		return fail(err, ENOENT, "netdev=%.64s: there is no such backend; add -netdev type,id=%.64s", o->netdev,
			    o->netdev);
	if (net_client_find(o->netdev, 1))
		return fail(err, ENOTSUP, "netdev=%.64s: it has several queues, a hub's port has one; make it with one",
			    o->netdev);
	rc = hub_check_circle(o->hubid, c, err);
	if (rc < 0)
		error_prefix(err, "netdev=%.64s: ", o->netdev);
	*peer = c;
	return rc;
}

static int join(struct net_client *port, struct net_client *peer, struct error *err)
{
	int rc = net_connect(port, peer, err);

	if (rc == 0) {
		net_start(port);
		return 0;
	}
	error_prefix(err, "netdev=%.64s: ", peer->name);
	net_client_remove(port);
	port->ops->destroy(port);
	return rc;
}

static int hubport_create(const char *id, const void *opts, struct loop *loop, struct error *err)
{
	const struct hubport_opts *o = opts;
	struct hub_port_config cfg = {
		.hubid = o->hubid, .queue = o->queue, .learning = o->learning, .ageing = o->ageing
	};
	struct net_client *port, *peer = NULL;
	int rc = vlan_port_init(&cfg.vlan, o->vlan_mode, o->tag, &o->trunks, err);

	if (rc == 0 && o->netdev)
		rc = find_peer(o, &peer, err);
	if (rc < 0)
		return rc;
	port = hub_port_new(&cfg, id, loop, err);
	if (!port)
		return -EINVAL;
	return peer ? join(port, peer, err) : 0;
}

const struct netdev_type hubport_netdev = {
	.name = "hubport",
	.help = "a port of a hub, which joins any number of backends and devices",
	.opts = hubport_options,
	.opts_size = sizeof(struct hubport_opts),
	.create = hubport_create,
};
