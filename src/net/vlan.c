/* SPDX-License-Identifier: BSD-2-Clause */
/* 802.1Q tags. */
#include "net/vlan.h"

#include <errno.h>
#include <stdlib.h>

#include "base/wirefmt.h"

#define ADDRS	 12 /* bytes of addresses, in front of the tag */
#define VID_MASK 0x0fff

/* ---- options ---- */

static void carry(struct vlan_port *v, unsigned from, unsigned to)
{
	for (unsigned vid = from; vid <= to; vid++)
		v->carries[vid / 64] |= BIT(vid % 64);
}

static int bad_range(const char *text, struct error *err)
{
	return fail(
		err, EINVAL,
		"trunks=%.100s: expected VLANs 0 to %d and ranges of them, as in trunks=10:20-29 (0: frames without a tag)",
		text, VLAN_MAX);
}

/* "10", "20-29", "10:20-29". */
static int parse_trunks(struct vlan_port *v, const char *text, struct error *err)
{
	const char *p = text;

	for (;;) {
		char *end;
		unsigned long from, to;

		if (*p < '0' || *p > '9')
			return bad_range(text, err);
		from = to = strtoul(p, &end, 10);
		if (*end == '-' && end[1] >= '0' && end[1] <= '9')
			to = strtoul(end + 1, &end, 10);
		if ((*end && *end != ':' && *end != ',') || from > to || to > VLAN_MAX)
			return bad_range(text, err);
		carry(v, (unsigned)from, (unsigned)to);
		if (!*end)
			return 0;
		p = end + 1;
	}
}

static int check_mode(enum vlan_mode *mode, unsigned tag, const struct strlist *trunks, struct error *err)
{
	if (*mode == VLAN_NONE && tag && trunks->n)
		return fail(
			err, EINVAL,
			"tag=%u and trunks=%.100s without vlan-mode=; with vlan-mode=trunk the tag is the native VLAN",
			tag, trunks->v[0]);
	if (*mode == VLAN_NONE)
		*mode = tag ? VLAN_ACCESS : trunks->n ? VLAN_TRUNK : VLAN_NONE;
	if (*mode != VLAN_ACCESS)
		return 0;
	if (!tag)
		return fail(err, EINVAL, "vlan-mode=access needs tag=1 to %d, the VLAN of the port", VLAN_MAX);
	if (trunks->n)
		return fail(err, EINVAL, "trunks=%.100s: an access port carries its tag= only; use vlan-mode=trunk",
			    trunks->v[0]);
	return 0;
}

int vlan_port_init(struct vlan_port *v, enum vlan_mode mode, unsigned tag, const struct strlist *trunks,
		   struct error *err)
{
	int rc = check_mode(&mode, tag, trunks, err);

	*v = (struct vlan_port){ .mode = mode, .tag = (uint16_t)tag };
	for (unsigned i = 0; rc == 0 && i < trunks->n; i++)
		rc = parse_trunks(v, trunks->v[i], err);
	if (tag)
		carry(v, tag, tag);
	if (mode != VLAN_ACCESS && !trunks->n)
		carry(v, 0, VLAN_MAX);
	return rc;
}

/* ---- frames ---- */

/* A tag put in or out moves what the metadata points to; that must lie behind the head. */
static bool can_shift(const struct frame *f, unsigned head)
{
	const struct frame_meta *m = &f->meta;

	return f->len <= NET_FRAME_MAX - VLAN_TAG_LEN &&
	       (!m->needs_csum || (m->csum_start >= head && m->csum_start <= UINT16_MAX - VLAN_TAG_LEN));
}

static void fill(struct vlan_head *h, const uint8_t *bytes, uint16_t tci)
{
	const uint8_t *type = bytes + vlan_head_len(h) - 2;

	memcpy(h->plain, bytes, ADDRS);
	memcpy(h->plain + ADDRS, type, 2);
	memcpy(h->with_tag, bytes, ADDRS);
	put16(h->with_tag + ADDRS, ETH_VLAN);
	put16(h->with_tag + ADDRS + 2, tci);
	memcpy(h->with_tag + ADDRS + 4, type, 2);
}

enum net_drop vlan_enter(const struct vlan_port *v, const uint8_t *bytes, size_t have, const struct frame *f,
			 struct vlan_head *h)
{
	uint16_t tci = 0;

	h->tagged = get16(bytes + ADDRS) == ETH_VLAN;
	h->twice = false;
	if (h->tagged) {
		if (have < ETH_HDR_LEN + VLAN_TAG_LEN)
			return NET_DROP_MALFORMED;
		tci = get16(bytes + ADDRS + 2);
		h->twice = get16(bytes + ADDRS + VLAN_TAG_LEN) == ETH_VLAN;
	}
	h->vid = tci & VID_MASK;
	if (v->mode == VLAN_ACCESS && (h->vid || h->twice))
		return NET_DROP_PORT_VLAN;
	if (!h->vid)
		h->vid = v->tag;
	if (h->vid > VLAN_MAX || !vlan_carries(v, h->vid))
		return NET_DROP_PORT_VLAN;
	if (!can_shift(f, vlan_head_len(h)))
		return f->len > NET_FRAME_MAX - VLAN_TAG_LEN ? NET_DROP_TOO_BIG : NET_DROP_VNET_HDR;
	fill(h, bytes, (uint16_t)((tci & ~VID_MASK) | h->vid));
	return NET_OK;
}

static bool leaves_tagged(const struct vlan_port *v, const struct vlan_head *h)
{
	if (!h->vid)
		return h->tagged;
	return v->mode != VLAN_ACCESS && h->vid != v->tag;
}

bool vlan_may_leave(const struct vlan_port *v, const struct vlan_head *h)
{
	return vlan_carries(v, h->vid) && (!h->twice || leaves_tagged(v, h));
}

struct iovec vlan_leave(const struct vlan_port *v, struct vlan_head *h, struct frame_meta *m)
{
	bool tag = leaves_tagged(v, h);
	int shift = (tag - h->tagged) * VLAN_TAG_LEN;

	if (m->needs_csum)
		m->csum_start = (uint16_t)(m->csum_start + shift);
	if (m->hdr_len)
		m->hdr_len = (uint16_t)(m->hdr_len >= vlan_head_len(h) ? m->hdr_len + shift : 0);
	return tag ? (struct iovec){ h->with_tag, sizeof(h->with_tag) } : (struct iovec){ h->plain, sizeof(h->plain) };
}
