/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The XDP program of AF_XDP sockets, by bpf(2) alone.
 *
 *	r2 = ctx->rx_queue_index
 *	return bpf_redirect_map(map, r2, XDP_PASS)	(kernels since 5.3: what to do where the slot is empty)
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/bpf.h"
#include "backend/xsk.h"
#include "base/list.h"

#define SLOTS 256 /* queues of an interface that can have a socket */

struct xdp_prog {
	struct list node;
	int ifindex;
	unsigned refs;
	int map, prog, link;
};

static struct list programs = LIST_INIT(programs);

static int make_map(void)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.map_type = BPF_MAP_TYPE_XSKMAP;
	a.key_size = a.value_size = sizeof(uint32_t);
	a.max_entries = SLOTS;
	return bpf_call(BPF_MAP_CREATE, &a);
}

static int load(int map)
{
	const struct bpf_insn code[] = {
		{ .code = BPF_LDX | BPF_MEM | BPF_W,
		  .dst_reg = BPF_REG_2,
		  .src_reg = BPF_REG_1,
		  .off = offsetof(struct xdp_md, rx_queue_index) },
		{ .code = BPF_LD | BPF_DW,
		  /* BPF_IMM */ .dst_reg = BPF_REG_1,
		  .src_reg = BPF_PSEUDO_MAP_FD,
		  .imm = map },
		{ .code = 0 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_3, .imm = XDP_PASS },
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_redirect_map },
		{ .code = BPF_JMP | BPF_EXIT },
	};

	return bpf_load(BPF_PROG_TYPE_XDP, code, ARRAY_SIZE(code));
}

static int attach(int prog, int ifindex, unsigned flags)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.link_create.prog_fd = (uint32_t)prog;
	a.link_create.target_ifindex = (uint32_t)ifindex;
	a.link_create.attach_type = BPF_XDP;
	a.link_create.flags = flags;
	return bpf_call(BPF_LINK_CREATE, &a);
}

static void free_prog(struct xdp_prog *p)
{
	if (p->link >= 0)
		close(p->link);
	if (p->prog >= 0)
		close(p->prog);
	if (p->map >= 0)
		close(p->map);
	free(p);
}

struct xdp_prog *xdp_prog_get(int ifindex, unsigned xdp_flags, int *error)
{
	struct xdp_prog *p;

	*error = 0;
	list_for_each(p, &programs, node) {
		if (p->ifindex == ifindex) {
			p->refs++;
			return p;
		}
	}
	p = calloc(1, sizeof(*p));
	if (!p) {
		*error = -ENOMEM;
		return NULL;
	}
	p->ifindex = ifindex;
	p->refs = 1;
	p->map = make_map();
	p->prog = p->map < 0 ? p->map : load(p->map);
	p->link = p->prog < 0 ? p->prog : attach(p->prog, ifindex, xdp_flags);
	if (p->link < 0) {
		*error = p->link;
		free_prog(p);
		return NULL;
	}
	list_append(&programs, &p->node);
	return p;
}

void xdp_prog_put(struct xdp_prog *p)
{
	if (!p || --p->refs)
		return;
	list_remove(&p->node);
	free_prog(p);
}

static int enter(int map, unsigned slot, int fd)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.map_fd = (uint32_t)map;
	a.key = (uintptr_t)&slot;
	a.value = (uintptr_t)&fd;
	return bpf_call(BPF_MAP_UPDATE_ELEM, &a);
}

int xdp_prog_enter(struct xdp_prog *p, unsigned queue, int fd)
{
	return enter(p->map, queue, fd);
}

int xdp_map_enter(const char *path, unsigned slot, int fd)
{
	union bpf_attr a;
	int map, ret;

	memset(&a, 0, sizeof(a));
	a.pathname = (uintptr_t)path;
	map = bpf_call(BPF_OBJ_GET, &a);
	if (map < 0)
		return map;
	ret = enter(map, slot, fd);
	close(map);
	return ret;
}
