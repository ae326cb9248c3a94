# SPDX-License-Identifier: BSD-2-Clause
"""nic_rtl8139: a driver for rtl8139 as the matrix wants it (nics.py), in C+ mode with offloads, or in C mode

`mode` "c" runs on either card; "c+" needs cplus=on.
"""
import zlib

from qtest import *  # noqa: F403
from nics import BARS
from packets import GSO_NONE, GSO_TCPV4, NEEDS_CSUM, NO_HDR, right

OWN, EOR, FS, LS = 1 << 31, 1 << 30, 1 << 29, 1 << 28
TSD, TSAD, TNPDS, RBSTART, CR, CAPR, IMR, ISR, RCR, MSR, TPPOLL, CPCR, RDSAR = \
    0x10, 0x20, 0x20, 0x30, 0x37, 0x38, 0x3c, 0x3e, 0x44, 0x58, 0xd9, 0xe0, 0xe4
RST, RE, TE, BUFE = 0x10, 8, 4, 1
ACCEPT = 0x0f


class Rtl8139Nic:
    DESCS, BUFFER, SLOTS = 64, 2048, 4
    RING = 32768  # C mode's receive buffer, with WRAP
    negotiated, mrg = True, False

    def __init__(self, q, mode="c+"):
        self.q, self.mem, self.cplus = q, Memory(), mode == "c+"
        self.posted = self.done = self.got = self.abandoned = 0
        self.hungry = False
        self.old = []
        self.pci = find_device(q, 0x10ec, 0x8139)
        self.pci.w16(4, self.pci.r16(4) | 6)
        self.base = self.pci.bar(1)
        self.count = self.DESCS if self.cplus else self.SLOTS
        self.places = [self.mem.alloc(65536) for _ in range(self.count)]
        self.room = self.DESCS if self.cplus else self.RING // 1600

    def load(self, size, off): return self.q.load(size, self.base + off)
    def store(self, size, off, v): self.q.store(size, self.base + off, v)

    # ---- the way up ----

    def start(self):
        self.store(1, CR, RST)
        self.first = self.next = self.read = 0
        self.outstanding = 0
        if self.cplus:
            self.start_cplus()
        else:
            self.start_c()
        self.store(2, IMR, 0xffff)
        check(self.mem.next < 62 << 20, "the driver has used up the guest's memory")

    def start_cplus(self):
        self.rx, self.tx = self.mem.alloc(16 * self.DESCS, 256), self.mem.alloc(16 * self.DESCS, 256)
        self.buffers = [self.mem.alloc(self.BUFFER) for _ in range(self.DESCS)]
        self.q.cmd("memset", hex(self.tx), 16 * self.DESCS, 0)
        for i in range(self.DESCS):
            self.give(i)
        self.owed = []
        self.store(2, CPCR, 0x3)
        for reg, addr in ((RDSAR, self.rx), (TNPDS, self.tx)):
            self.store(4, reg, addr)
            self.store(4, reg + 4, 0)
        self.store(4, RCR, ACCEPT)  # first: a receiver that accepts nothing drops all
        self.store(1, CR, RE | TE)

    def start_c(self):
        self.rx = self.mem.alloc(self.RING + 16 + 1536, 256)
        self.store(4, RBSTART, self.rx)
        self.store(4, RCR, ACCEPT | 0x80 | 2 << 11)
        self.store(1, CR, RE | TE)
        for i, addr in enumerate(self.places):
            self.store(4, TSAD + 4 * i, addr)

    def give(self, i):
        self.q.write(self.rx + 16 * i, struct.pack("<IIQ", OWN | self.end(i) | self.BUFFER, 0, self.buffers[i]))

    def end(self, i): return EOR if i == self.DESCS - 1 else 0

    # ---- sending ----

    def can(self, partial, gso):
        return self.cplus and gso in (GSO_NONE, GSO_TCPV4) or not (partial or gso)

    def send(self, hdr, frame):
        self.reap()
        if self.outstanding == self.count:
            return False
        at = self.next
        self.q.write(self.places[at], frame)
        if self.cplus:
            self.post(at, hdr, len(frame))
        else:
            self.store(4, TSD + 4 * at, len(frame))
        self.next = (at + 1) % self.count
        self.outstanding += 1
        self.posted += 1
        return True

    def post(self, at, hdr, length):
        flags, gso, _, size, _, offset = struct.unpack("<BBHHHH", hdr)
        opts = OWN | FS | LS | self.end(at) | length
        if gso:
            opts |= 1 << 27 | size << 16
        elif flags & NEEDS_CSUM:
            opts |= 1 << 18 | (1 << 16 if offset == 16 else 1 << 17)
        self.q.write(self.tx + 16 * at, struct.pack("<IIQ", opts, 0, self.places[at]))
        self.store(1, TPPOLL, 0x40)

    def free(self, i):
        if self.cplus:
            return not self.q.load(4, self.tx + 16 * i) & OWN
        return self.load(4, TSD + 4 * i) & 0x2000

    def reap(self):
        while self.outstanding and self.free(self.first):
            self.first = (self.first + 1) % self.count
            self.outstanding -= 1
            self.done += 1

    def idle(self):
        self.reap()
        return not self.outstanding

    # ---- receiving ----

    def whole(self, data):
        """A frame without its check sequence, which is right."""
        right(len(data) >= 64 and data[-4:] == struct.pack("<I", zlib.crc32(data[:-4])), f"the check sequence of {len(data)} bytes")
        return NO_HDR, data[:-4]

    def harvest_cplus(self):
        ring, out = self.q.read(self.rx, 16 * self.DESCS), []
        while len(self.owed) < self.DESCS:
            status, = struct.unpack("<I", ring[16 * self.read:16 * self.read + 4])
            if status & OWN:
                break
            right(status & (FS | LS | 0x7ce000 | EOR) == FS | LS | self.end(self.read), f"receive status {status:x}")
            out.append(self.whole(self.q.read(self.buffers[self.read], status & 0x1fff)))
            self.owed.append(self.read)
            self.read = (self.read + 1) % self.DESCS
        return out

    def harvest_c(self):
        out = []
        while not self.hungry and not self.load(1, CR) & BUFE:
            header = self.q.load(4, self.rx + self.read)
            right(header & 0x1f == 1, f"receive header {header:x}")
            out.append(self.whole(self.q.read(self.rx + self.read + 4, header >> 16)))
            self.read = self.read + 4 + (header >> 16) + 3 & ~3 & self.RING - 1
            self.store(2, CAPR, self.read - 16 & 0xffff)
        return out

    def harvest(self):
        out = self.harvest_cplus() if self.cplus else self.harvest_c()
        self.got += len(out)
        return out

    def poll(self):
        out = self.harvest()
        if self.cplus and not self.hungry and self.owed:
            for i in self.owed:
                self.give(i)
            self.owed = []
            self.store(2, IMR, 0xffff)
        self.store(2, ISR, 0xffff)
        self.reap()
        return out

    # ---- events ----

    def link_up(self): return not self.load(1, MSR) & 4

    def reset(self):
        """Returns what came before it; of older memory nothing may change from now on."""
        self.store(1, CR, 0)
        hungry, self.hungry = self.hungry, False
        came = self.harvest()
        self.hungry = hungry
        self.reap()
        self.abandoned = self.outstanding
        self.old += [(addr, size, self.sum(addr, size)) for addr, size in self.regions()]
        self.start()
        return came

    def regions(self):
        if not self.cplus:
            return [(self.rx, self.RING + 16 + 1536)]
        rings = [(self.rx, 16 * self.DESCS), (self.tx, 16 * self.DESCS)]
        return rings + [(addr, self.BUFFER) for addr in self.buffers]

    def sum(self, addr, size): return zlib.crc32(self.q.read(addr, size))

    def check_reset(self):
        for addr, size, was in self.old:
            equal(self.sum(addr, size), was, f"guest memory at {addr:x}, given up by a reset")

    def offloads(self, step):
        """Received checksums are looked at or not, tags are taken off or not; in C mode, other frames are accepted."""
        if self.cplus:
            self.store(2, CPCR, 0x3 | (step & 3) << 5)
        else:
            self.store(4, RCR, ACCEPT | 0x80 | 2 << 11 | (step & 3) << 4)
        return []

    def move_bar(self, n):
        old = self.base
        self.pci.w32(0x14, BARS[n % len(BARS)])
        self.base = self.pci.bar(1)
        equal(self.q.load(1, old + CR), 0xff, "the old address still answers")
        check(self.load(1, CR) & ~BUFE == RE | TE, "the new address does not answer")
