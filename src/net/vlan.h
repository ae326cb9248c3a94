/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * 802.1Q on the ports of a hub (IEEE 802.1Q, 9: the tag; 6.9: ingress and egress).
 *
 * A port is one of
 *  - access: frames without a tag (or with a priority tag, VLAN 0) belong to the VLAN `tag`; others are refused, also
 *    those with a second tag behind that one. What leaves has no tag.
 *  - trunk: frames carry tags; those of `trunks` (all, if none are named) pass. Frames without a tag belong to the
 *    native VLAN `tag`, which always passes and leaves without a tag; without a native VLAN they are VLAN 0.
 *  - neither: a trunk of everything, without a native VLAN.
 * VLAN 0, what came without a tag, leaves as it came, by ports that carry 0.
 *
 * A frame with two tags never leaves by a port that would take off the first: whoever is next would take the second for
 * the frame's VLAN, and a station could reach any VLAN by writing it behind the native one.
 *
 * Frames are judged by a copy of their first bytes, and that copy is what leaves: a guest that changes the bytes
 * meanwhile changes nothing.
 */
#ifndef NET_VLAN_H
#define NET_VLAN_H

#include "base/opts.h"
#include "net/frame.h"

#define VLAN_MAX     4094
#define VLAN_TAG_LEN 4

enum vlan_mode {
	VLAN_NONE, /* not said */
	VLAN_ACCESS,
	VLAN_TRUNK,
};

struct vlan_port {
	enum vlan_mode mode;
	uint16_t tag; /* VLAN of an access port, native one of a trunk; 0: none */
	uint64_t carries[64];
};

/* A frame's Ethernet header, copied, in both shapes that it can leave in. */
struct vlan_head {
	uint16_t vid;
	bool tagged; /* as it came */
	bool twice;  /* ... and behind that tag there is another */
	uint8_t plain[ETH_HDR_LEN];
	uint8_t with_tag[ETH_HDR_LEN + VLAN_TAG_LEN];
};

/*
 * Fill in *v from what the user said: mode, tag (0: not said), trunks, each text one or more VLANs and ranges ("10",
 * "20-29", with ':' or ',' between). Errors name the option. Main thread.
 */
int vlan_port_init(struct vlan_port *v, enum vlan_mode mode, unsigned tag, const struct strlist *trunks,
		   struct error *err) __must_check;

static inline bool vlan_carries(const struct vlan_port *v, uint16_t vid)
{
	return v->carries[vid / 64] & BIT(vid % 64);
}

/*
 * Judge a frame that enters by `v`. `bytes`: its first `have` bytes, ETH_HDR_LEN + VLAN_TAG_LEN or as many as there
 * are. NET_OK, or why it is refused.
 */
enum net_drop vlan_enter(const struct vlan_port *v, const uint8_t *bytes, size_t have, const struct frame *f,
			 struct vlan_head *h) __must_check;

/* Bytes of the frame as it came that the head stands for. */
static inline unsigned vlan_head_len(const struct vlan_head *h)
{
	return h->tagged ? ETH_HDR_LEN + VLAN_TAG_LEN : ETH_HDR_LEN;
}

/* May a frame of this head leave by `v`? */
bool vlan_may_leave(const struct vlan_port *v, const struct vlan_head *h);

/* The head in which the frame leaves by `v`, and in *m what its metadata m is then. */
struct iovec vlan_leave(const struct vlan_port *v, struct vlan_head *h, struct frame_meta *m);

#endif
