# SPDX-License-Identifier: BSD-2-Clause
"""packets: frames that a receiver can check by themselves

A numbered frame is a TCP segment over IPv4 whose bytes follow from its number. So a receiver knows of each frame it gets
whether it is whole, or a right piece of one that was to be cut, and that nothing in it was changed; it needs no copy
of what was sent. The vnet header in front is the first ten bytes of struct virtio_net_hdr. Standard library only.
"""
import hashlib
import struct

NEEDS_CSUM, DATA_VALID = 1, 2
GSO_NONE, GSO_TCPV4, GSO_UDP, GSO_ECN = 0, 1, 3, 0x80
NO_HDR = bytes(10)
ETH, IP, TCP, UDP = 14, 20, 20, 8
IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP = 1, 6, 17
MTU, MSS = 1500, 1460
IPV4, ARP = b"\x08\x00", b"\x08\x06"


class Wrong(Exception):
    """A frame that is not what was sent."""


def right(condition, what):
    if not condition:
        raise Wrong(what)


def total(data):
    """The ones' complement sum that the Internet checksum is made of."""
    data += b"\0" * (len(data) & 1)
    sum_ = sum(struct.unpack(f">{len(data) // 2}H", data))
    while sum_ >> 16:
        sum_ = (sum_ & 0xffff) + (sum_ >> 16)
    return sum_


def checksum(data):
    return total(data) ^ 0xffff


def ip4(text):
    return bytes(int(part) for part in text.split("."))


def ipv4(proto, src, dst, payload):
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0, 64, proto, 0, ip4(src), ip4(dst))
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload


def pseudo(proto, src, dst, length):
    return struct.pack(">4s4sBBH", ip4(src), ip4(dst), 0, proto, length)


def udp(sport, dport, payload):
    return struct.pack(">HHHH", sport, dport, 8 + len(payload), 0) + payload


def content(way, number, size):
    """The bytes that datagram or segment `number` of a direction carries."""
    return hashlib.shake_128(f"{way}/{number}".encode()).digest(size)


def sealed(l4, proto, src, dst, at, partial):
    """A TCP or UDP segment with its checksum at offset `at`, or with what the one who fills it in starts from."""
    head = pseudo(proto, src, dst, len(l4))
    value = total(head) if partial else checksum(head + l4) or 0xffff
    return l4[:at] + struct.pack(">H", value) + l4[at + 2:]


def check_sum(hdr, frame, proto, at):
    """The transport checksum of a frame whose IP header is good: right, or said to be partial and right in that."""
    flags, _, _, _, start, offset = struct.unpack("<BBHHHH", hdr)
    l4 = frame[ETH + IP:]
    head = struct.pack(">4s4sBBH", frame[26:30], frame[30:34], 0, proto, len(l4))
    if flags & NEEDS_CSUM:
        right((start, offset) == (ETH + IP, at), f"the checksum is to be put at {start} + {offset}")
        right(struct.unpack(">H", l4[at:at + 2])[0] == total(head), "the partial checksum")
    else:
        right(proto == IPPROTO_UDP and l4[at:at + 2] == b"\0\0" or total(head + l4) == 0xffff,
              f"the transport checksum of {len(frame)} bytes {frame[26:46].hex()}, with header {hdr.hex()}")


def check_ip(frame, proto, src, dst):
    """Headers up to IP; the frame without padding."""
    right(len(frame) >= ETH + IP and frame[12:14] == IPV4 and frame[14] == 0x45, "no IPv4")
    size = struct.unpack(">H", frame[16:18])[0]
    right(ETH + size == len(frame) or ETH + size < len(frame) <= 60, f"{len(frame)} bytes with IP length {size}")
    right(total(frame[ETH:ETH + IP]) == 0xffff, "the IP checksum")
    right(frame[20:22] in (b"\0\0", b"\x40\0"), "a fragment")
    right((frame[23], frame[26:30], frame[30:34]) == (proto, ip4(src), ip4(dst)), "protocol and addresses")
    return frame[:ETH + size]


class Numbered:
    """The frames of one direction between two stations, as TCP segments: number and place are in the sequence number."""

    def __init__(self, way, src, dst, src_mac, dst_mac):
        self.way, self.src, self.dst = way, src, dst
        self.eth = dst_mac + src_mac + IPV4
        self.ports = struct.pack(">HH", 7000, 7001)

    def frame(self, number, size, partial=False, gso=False):
        """(vnet header, frame) with `size` bytes of content."""
        tcp = self.ports + struct.pack(">IIBBHHH", number << 16, 1, 5 << 4, 0x10, 0x1000, 0, 0)
        tcp = sealed(tcp + content(self.way, number, size), IPPROTO_TCP, self.src, self.dst, 16, partial or gso)
        hdr = NO_HDR
        if partial or gso:
            hdr = struct.pack("<BBHHHH", NEEDS_CSUM, GSO_TCPV4 if gso else 0, ETH + IP + TCP if gso else 0,
                              MSS if gso else 0, ETH + IP, 16)
        return hdr, self.eth + ipv4(IPPROTO_TCP, self.src, self.dst, tcp)

    def judge(self, hdr, frame, sizes):
        """(number, offset, length) of what came. `sizes`: bytes of content by number."""
        frame = check_ip(frame, IPPROTO_TCP, self.src, self.dst)
        right(frame[:ETH] == self.eth, f"the Ethernet header {frame[:ETH].hex()}")
        right(frame[34:38] == self.ports and frame[46:50] == b"\x50\x10\x10\0", "the TCP header")
        check_sum(hdr, frame, IPPROTO_TCP, 16)
        sequence, data = struct.unpack(">I", frame[38:42])[0], frame[ETH + IP + TCP:]
        number, offset = sequence >> 16, sequence & 0xffff
        right(number in sizes, f"number {number} was not sent")
        right(content(self.way, number, sizes[number])[offset:offset + len(data)] == data,
              f"{len(data)} bytes at {offset} of number {number}")
        kind, gso_size = hdr[1] & ~GSO_ECN, struct.unpack("<H", hdr[4:6])[0]
        right(kind in (GSO_NONE, GSO_TCPV4), f"segmentation {kind}")
        if kind:
            right(gso_size == MSS and hdr[0] & NEEDS_CSUM, f"segments of {gso_size}, flags {hdr[0]}")
        else:
            right(len(frame) <= ETH + MTU, f"{len(frame)} bytes without segmentation")
        return number, offset, len(data)


class Datagrams:
    """The same by UDP, for a wire that ends in a program's socket: what it carries is its number, its size and the rest."""

    HEAD = 8

    def __init__(self, way):
        self.way = way

    def payload(self, number, size):
        return struct.pack(">II", number, size) + content(self.way, number, size)

    def judge(self, payload, sizes):
        right(len(payload) >= self.HEAD, f"a datagram of {len(payload)} bytes")
        number, size = struct.unpack(">II", payload[:8])
        right(sizes.get(number) == size, f"number {number} of {size} bytes was not sent")
        right(payload[8:] == content(self.way, number, size), f"the content of number {number}")
        return number, 0, size
