/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * NICs under the contract of net clients: the real device in this process, with a guest whose driver answers ARP and
 * ping as 10.0.2.2, as the far end of a backend does.
 */
#ifndef NIC_GUEST_H
#define NIC_GUEST_H

#include "bench.h"

/* For struct bench: make, unmake and turn. */
struct net_client *virtio_net_make(struct bench *b);
void virtio_net_unmake(struct bench *b);
bool virtio_net_turn(struct bench *b);

struct net_client *rtl8139_cplus_make(struct bench *b);
struct net_client *rtl8139_c_make(struct bench *b);
void rtl8139_unmake(struct bench *b);
bool rtl8139_turn(struct bench *b);

struct net_client *e1000_make(struct bench *b);
struct net_client *e1000_82544gc_make(struct bench *b);
struct net_client *e1000_82545em_make(struct bench *b);
void e1000_unmake(struct bench *b);
bool e1000_turn(struct bench *b);

#endif
