# SPDX-License-Identifier: BSD-2-Clause
"""nic_e1000: a driver for e1000 as the matrix wants it (nics.py)"""
import zlib

from qtest import *  # noqa: F403
from nics import BARS
from packets import GSO_NONE, GSO_TCPV4, NEEDS_CSUM, right


class E1000Nic:
    """e1000: legacy descriptors, or with `offloads` contexts for checksums and segmentation."""
    RX, TX, SIZE, BUFFER = 256, 256, 16, 2048
    CTRL, STATUS, ICR, RCTL, TCTL = 0, 8, 0xc0, 0x100, 0x400
    RDBAL, TDBAL = 0x2800, 0x3800  # then BAH, LEN, H, T
    EOP, TSE, RS, DEXT = 1 << 24, 1 << 26, 1 << 27, 1 << 29
    negotiated = mrg = False  # what changes by a reset alone; a frame that waits is never one that is to be cut

    def __init__(self, q, offloads=True):
        self.q, self.offloaded = q, offloads
        self.posted = self.done = self.got = self.abandoned = 0
        self.hungry = False
        self.old = []
        self.mem = Memory()
        self.pci = find_device(q, 0x8086, 0x100e)
        self.pci.w16(4, 6)  # memory, bus master
        self.base = self.pci.bar(0)
        self.room = self.RX - 1

    def r(self, off): return self.q.load(4, self.base + off)
    def w(self, off, v): self.q.store(4, self.base + off, v)

    def ring(self, where, count):
        addr = self.mem.alloc(count * self.SIZE, 4096)
        self.q.cmd("memset", hex(addr), count * self.SIZE, 0)
        for off, v in ((0, addr), (4, 0), (8, count * self.SIZE), (16, 0), (24, 0)):
            self.w(where + off, v)
        return addr

    def start(self):
        self.w(self.CTRL, 1 << 26)
        self.w(self.CTRL, self.r(self.CTRL) | 1 << 6)
        self.rx, self.tx = self.ring(self.RDBAL, self.RX), self.ring(self.TDBAL, self.TX)
        self.buffers = [self.mem.alloc(self.BUFFER) for _ in range(self.RX)]
        self.places = [self.mem.alloc(65600) for _ in range(64)]
        for i in range(self.RX):
            self.fill(i)
        self.next_rx = self.next_tx = self.turn = 0
        self.owed = 0
        self.in_flight = []  # for each frame, the ring's index of its last descriptor
        self.free = self.TX - 1
        self.w(self.RCTL, 1 << 26 | 1 << 15 | 1 << 4 | 1 << 3 | 2)  # strip CRC, broadcast, promiscuous, on
        self.w(self.RDBAL + 24, self.RX - 1)
        self.w(self.TCTL, 1 << 3 | 2)
        check(self.mem.next < 62 << 20, "the driver has used up the guest's memory")

    def fill(self, i):
        self.q.write(self.rx + i * self.SIZE, struct.pack("<QQ", self.buffers[i], 0))

    def descriptors(self, addr, hdr, frame):
        flags, gso, hdr_len, gso_size, start, offset = struct.unpack("<BBHHHH", hdr)
        if not flags & NEEDS_CSUM:
            half = len(frame) // 2
            return [(addr, half), (addr + half, len(frame) - half | self.EOP | self.RS)]
        sums = 14 | 24 << 8 | 33 << 16 | start << 32 | start + offset << 40
        if gso == GSO_NONE:
            return [(sums, self.DEXT), (addr, len(frame) | 1 << 20 | self.DEXT | self.EOP | self.RS | 2 << 40)]
        more = 1 << 24 | 1 << 25 | self.TSE | self.DEXT
        return [(sums, len(frame) - hdr_len | more | hdr_len << 40 | gso_size << 48),
                (addr, hdr_len | 1 << 20 | self.DEXT | self.TSE | 3 << 40),
                (addr + hdr_len, len(frame) - hdr_len | 1 << 20 | self.DEXT | self.TSE | self.EOP | self.RS)]

    def template(self, hdr, frame):
        """As hardware wants a frame that it is to cut: no length in IP, none in the pseudo header."""
        if hdr[1] == GSO_NONE:
            return frame
        start, = struct.unpack("<H", hdr[6:8])
        seed = struct.unpack(">H", frame[start + 16:start + 18])[0] + (0xffff ^ (len(frame) - start))
        seed = (seed & 0xffff) + (seed >> 16)
        frame = frame[:start + 16] + struct.pack(">H", seed) + frame[start + 18:]
        return frame[:16] + bytes(2) + frame[18:24] + bytes(2) + frame[26:]

    def send(self, hdr, frame):
        if self.free < 3 or len(self.in_flight) == len(self.places):
            self.reap()
            if self.free < 3 or len(self.in_flight) == len(self.places):
                return False
        addr = self.places[self.turn]
        self.turn = (self.turn + 1) % len(self.places)
        self.q.write(addr, self.template(hdr, frame))
        descriptors = self.descriptors(addr, hdr, frame)
        for low, high in descriptors:
            self.q.write(self.tx + self.next_tx * self.SIZE, struct.pack("<QQ", low, high))
            last = self.next_tx
            self.next_tx = (self.next_tx + 1) % self.TX
        self.in_flight.append((last, len(descriptors)))
        self.free -= len(descriptors)
        self.w(self.TDBAL + 24, self.next_tx)
        self.posted += 1
        return True

    def can(self, partial, gso):
        return gso in (GSO_NONE, GSO_TCPV4) and (self.offloaded or not (partial or gso))

    def reap(self):
        while self.in_flight and self.q.load(1, self.tx + self.in_flight[0][0] * self.SIZE + 12) & 1:
            self.free += self.in_flight.pop(0)[1]
            self.done += 1

    def idle(self):
        self.reap()
        return not self.in_flight

    def harvest(self):
        out = []
        while self.owed + len(out) < self.RX - 1:
            _, length, _, status, errors, _ = struct.unpack("<QHHBBH", self.q.read(self.rx + self.next_rx * self.SIZE, 16))
            if not status & 1:
                break
            right(status & 2 and not errors and 60 <= length <= 1514, f"a frame of {length} bytes, status {status:x}")
            out.append((bytes(10), self.q.read(self.buffers[self.next_rx], length)))
            self.next_rx = (self.next_rx + 1) % self.RX
        self.owed += len(out)
        self.got += len(out)
        return out

    def poll(self):
        frames = self.harvest()
        if self.owed and not self.hungry:
            for i in range(self.owed):
                self.fill((self.next_rx - self.owed + i) % self.RX)
            self.w(self.RDBAL + 24, (self.next_rx - 1) % self.RX)
            self.owed = 0
        self.reap()
        return frames

    def link_up(self):
        if not self.r(self.STATUS) & 2:
            self.q.cmd("clock_step", 2000000)  # for the PHY to negotiate
        return bool(self.r(self.STATUS) & 2)

    def reset(self):
        """Returns what came before it; of older memory nothing may change from now on."""
        self.w(self.CTRL, 1 << 26)
        came = self.harvest()
        self.reap()
        self.abandoned = len(self.in_flight)
        regions = [(self.rx, self.RX * self.SIZE), (self.tx, self.TX * self.SIZE)]
        regions += [(addr, self.BUFFER) for addr in self.buffers]
        self.old += [(addr, size, self.sum(addr, size)) for addr, size in regions]
        self.start()
        return came

    def sum(self, addr, size): return zlib.crc32(self.q.read(addr, size))

    def check_reset(self):
        for addr, size, was in self.old:
            equal(self.sum(addr, size), was, f"guest memory at {addr:x}, given up by a reset")

    def offloads(self, step):
        self.offloaded = not self.offloaded
        return self.reset()

    def move_bar(self, n):
        old = self.base
        self.pci.w16(4, 4)
        self.pci.w32(0x10, BARS[n % len(BARS)])
        self.pci.w16(4, 6)
        self.base = self.pci.bar(0)
        equal(self.q.load(4, old + self.STATUS), 0xffffffff, "the old address still answers")
        check(self.r(self.RCTL) & 2, "the new address does not answer")
