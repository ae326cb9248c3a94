# SPDX-License-Identifier: BSD-2-Clause
"""nics: drivers for NICs as the matrix wants them, all with the same few methods

  start()           make it ready, with receive buffers posted
  send(hdr, frame)  queue a frame and tell the device; False if the ring is full
  can(partial, gso) may the guest leave checksums, segmentation, to the device?
  poll()            what came, [(vnet header, frame)]; buffers are posted again unless `hungry`
  room              frames of any size that fit into what is posted at the start
  idle()            everything that was sent is done with
  link_up()         as the guest is told; None if this NIC does not say
  reset()           in the middle of whatever is under way, and start again
  offloads(step)    change what the guest takes, as step 0, 1, ... has it: by the control queue, or, for a driver that
                    began without, by a reset; returns what came before that
  move_bar(n)       the registers go to the n-th of some addresses
  check_reset()     memory that belonged to the driver before a reset has not been touched since

and counts: `posted` frames to send, `done` of them, `got` frames; `abandoned` were in the ring at the last reset.
"""
import zlib

from qtest import *  # noqa: F403
from packets import GSO_ECN, GSO_NONE, GSO_TCPV4, NEEDS_CSUM, right

BARS = (0xe0000000, 0xe4560000, 0xd0004000)
OFFLOADS = 5  # the control queue's class


class VirtioNic:
    BASE = (F_MAC, F_STATUS, F_CTRL_VQ, F_CTRL_RX)
    SEND = (F_CSUM, F_HOST_TSO4, F_HOST_UFO)
    TAKE = (F_GUEST_CSUM, F_GUEST_TSO4, F_GUEST_ECN)
    STEPS = ((), (F_GUEST_CSUM,), TAKE, (F_GUEST_CSUM,), (), TAKE)

    def __init__(self, q, mrg=True, offloads=True):
        self.q, self.dev = q, VirtioNet(q)
        self.mrg, self.offloaded, self.negotiated = mrg, offloads, offloads
        self.posted = self.done = self.got = self.abandoned = 0
        self.hungry = False
        self.old = []

    def features(self):
        more = self.SEND + self.TAKE + (F_CTRL_GUEST_OFFLOADS,) if self.offloaded else ()
        return self.BASE + more + ((F_MRG_RXBUF,) if self.mrg else ())

    def start(self):
        if self.mrg:
            pieces, count = [700], 240
        elif self.offloaded:
            pieces, count = [12 + 66, 1448, 4096, 60000], 32
        else:
            pieces, count = [12, 1524], 64
        self.room = count // 3 if self.mrg else count
        self.dev.start(self.features())
        self.taken = set(self.TAKE) if self.offloaded else set()
        self.lenient = 0  # frames that were on their way at the last change
        self.buffers, self.outstanding = {}, 0
        for _ in range(count):
            self.post([(self.dev.mem.alloc(size), size) for size in pieces])
        self.owed = []
        self.dev.rx.kick()
        check(self.dev.mem.next < 62 << 20, "the driver has used up the guest's memory")

    def post(self, into):
        self.buffers[self.dev.rx.add(into=into)] = into

    def send(self, hdr, frame):
        if self.outstanding == self.dev.tx.size:
            self.reap()
            if self.outstanding == self.dev.tx.size:
                return False
        self.dev.send(frame, header=hdr + b"\0\0")
        self.outstanding += 1
        self.posted += 1
        return True

    def can(self, partial, gso):
        return self.offloaded or not (partial or gso)

    def reap(self):
        used = len(self.dev.tx.take_used())
        self.done += used
        self.outstanding -= used

    def idle(self):
        self.reap()
        return not self.outstanding

    def harvest(self):
        """Frames of the receive ring, each of one or several buffers."""
        used, out = self.dev.rx.take_used(), []
        while used:
            head, length = used.pop(0)
            into = self.buffers.pop(head)
            self.owed.append(into)
            data = self.contents(into, length)
            count = struct.unpack("<H", data[10:12])[0]
            right(count >= 1 and (self.mrg or count == 1), f"a frame of {count} buffers")
            right(count - 1 <= len(used), f"a frame of {count} buffers, of which {len(used) + 1} came")
            for _ in range(count - 1):
                right(length == sum(size for _, size in into), "a buffer that was not filled before the next one")
                head, length = used.pop(0)
                into = self.buffers.pop(head)
                self.owed.append(into)
                data += self.contents(into, length)
            out.append((data[:10], data[12:]))
        return out

    def contents(self, into, length):
        data = b""
        for addr, size in into:
            if length > len(data):
                data += self.q.read(addr, min(size, length - len(data)))
        right(len(data) == length, f"{length} bytes in a buffer of {len(data)}")
        return data

    def agreed(self, hdr):
        """The header asks for nothing that the guest does not take now."""
        right(not hdr[0] & NEEDS_CSUM or F_GUEST_CSUM in self.taken, "a partial checksum that the guest does not take")
        right(hdr[1] == GSO_NONE or hdr[1] & ~GSO_ECN == GSO_TCPV4 and F_GUEST_TSO4 in self.taken,
              f"segmentation {hdr[1]} that the guest does not take")

    def poll(self):
        frames = self.harvest()
        for hdr, _ in frames:
            if self.lenient:
                self.lenient -= 1
            else:
                self.agreed(hdr)
        self.got += len(frames)
        if self.owed and not self.hungry:
            for into in self.owed:
                self.post(into)
            self.owed = []
            self.dev.rx.kick()
        self.reap()
        return frames

    def link_up(self): return self.dev.link_up()

    def reset(self):
        """Returns what came before it; of older memory nothing may change from now on."""
        self.dev.status = 0
        self.q.wait(lambda: self.dev.status == 0, "reset")
        came = self.harvest()
        self.got += len(came)
        self.reap()
        self.abandoned = self.outstanding
        self.old += [(addr, size, self.sum(addr, size)) for addr, size in self.regions()]
        self.start()
        return came

    def regions(self):
        yield self.dev.rx.used, 6 + 8 * self.dev.rx.size
        yield self.dev.tx.used, 6 + 8 * self.dev.tx.size
        for into in self.buffers.values():
            yield from into

    def sum(self, addr, size): return zlib.crc32(self.q.read(addr, size))

    def check_reset(self):
        for addr, size, was in self.old:
            equal(self.sum(addr, size), was, f"guest memory at {addr:x}, given up by a reset")

    def offloads(self, step):
        if F_CTRL_GUEST_OFFLOADS not in self.features():
            equal(self.dev.control(OFFLOADS, 0, bytes(8)), 1, "a command that was not negotiated")
        if not self.negotiated:
            self.offloaded = not self.offloaded
            return self.reset()
        want = self.STEPS[step % len(self.STEPS)]
        equal(self.dev.control(OFFLOADS, 0, struct.pack("<Q", sum(1 << f for f in want))), 0, "the change of offloads")
        self.lenient = self.q.load(2, self.dev.rx.used + 2) - self.dev.rx.last_used & 0xffff
        self.taken = set(want)
        return []

    def move_bar(self, n):
        old = self.dev.common
        self.dev.move_registers(BARS[n % len(BARS)])
        equal(self.q.load(1, old + 0x14), 0xff, "the old address still answers")
        check(self.dev.status & DRIVER_OK, "the new address does not answer")
