/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Why a frame was dropped: one list for the whole program, stable names. X(SYMBOL, "name", "meaning")
 */
#ifndef NET_DROP_H
#define NET_DROP_H

#define NET_DROPS(X)                                                                           \
	X(LINK_DOWN, "link-down", "the link of the client or of its peer is down")             \
	X(NO_PEER, "no-peer", "nothing is connected")                                          \
	X(TOO_SHORT, "too-short", "less than an Ethernet header")                              \
	X(TOO_BIG, "too-big", "longer than the taker's largest frame")                         \
	X(VNET_HDR, "vnet-hdr", "the vnet header contradicts the frame")                       \
	X(OFFLOAD, "offload", "an offload that the taker lacks and software could not supply") \
	X(NO_BUFFER, "no-buffer", "the guest has no receive buffers")                          \
	X(BUFFER_SMALL, "buffer-small", "the guest's buffers cannot hold the frame")           \
	X(FILTER_MAC, "filter-mac", "the guest's receive filter: not its address")             \
	X(FILTER_VLAN, "filter-vlan", "the guest's receive filter: not its VLAN")              \
	X(RESET, "reset", "in flight when the device was reset")                               \
	X(BROKEN, "broken", "the device stopped itself: the guest broke a rule")               \
	X(MALFORMED, "malformed", "descriptors or headers that make no frame")                 \
	X(TAP_DOWN, "tap-down", "the host's interface is down")                                \
	X(WIRE_REFUSED, "wire-refused", "the kernel or the library refused the frame")         \
	X(QUEUE_FULL, "queue-full", "a bounded queue was full")                                \
	X(PEER_GONE, "peer-gone", "the program at the other end is gone")                      \
	X(PREFILTER, "prefilter", "not let through to user networking")                        \
	X(SPOOF, "spoof", "from another sender than the peer that is configured")              \
	X(SESSION, "session", "another session of the tunnel than rxsession")                  \
	X(COOKIE, "cookie", "the cookie is not rxcookie")                                      \
	X(TRUNCATED, "truncated", "cut on the way in")                                         \
	X(SAME_PORT, "same-port", "its destination is behind the port that it came from")      \
	X(PORT_VLAN, "port-vlan", "the port of the hub does not carry its VLAN")               \
	X(IMPAIRED, "impaired", "lost on purpose, as filter-impair was told")                  \
	X(STOPPED, "stopped", "the VM or the client was stopped with the frame in hand")

enum net_drop {
	NET_OK = 0, /* not dropped */
#define X(sym, name, meaning) NET_DROP_##sym,
	NET_DROPS(X)
#undef X
	NET_DROP_COUNT
};

const char *net_drop_name(enum net_drop d);
/* Why a frame went that a write to a descriptor refused with `code` (errno), where all descriptors mean the same by it. */
enum net_drop net_drop_of_errno(int code);

#endif
