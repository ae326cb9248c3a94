# SPDX-License-Identifier: BSD-2-Clause
"""qtest: a client of the qtest protocol, and a small guest driver for virtio-net-pci on top of it

The program under test is the real binary; what a guest's driver would do with loads and stores is done by the text
protocol. Standard library only.
"""
import errno
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.environ["VWIRE_SRC"], "tests"))
from harness import *  # noqa: E402,F403

VWIRE = os.path.join(os.environ["VWIRE_BUILD"], "vwire")


class QTest:
    """One vwire -accel qtest; we listen, it connects, as QEMU's own clients do it."""

    def __init__(self, *args, pass_fds=()):
        self.folder = tempfile.mkdtemp(prefix="qtest-")
        path = f"{self.folder}/s"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(1)
        listener.settimeout(20)
        self.stderr = open(f"{self.folder}/stderr", "w+")
        env = dict(os.environ, VWIRE_ACCOUNTS="1")
        command = [VWIRE, "-accel", "qtest", "-qtest", f"unix:{path}", "-m", "64", *args]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=self.stderr, env=env, pass_fds=pass_fds)
        try:
            self.socket = listener.accept()[0]
        except socket.timeout:
            self.process.kill()
            raise Failure("vwire did not connect: " + self.messages()) from None
        finally:
            listener.close()
        self.socket.settimeout(60)
        self.file = self.socket.makefile("rw", newline="\n")
        self.irqs = []  # lines "raise 11", "lower 11", "msi 0xfee00000 0x21" as they come

    def messages(self):
        self.stderr.seek(0)
        return self.stderr.read()

    def raw(self, line):
        """Send a line, return the reply's line; IRQ lines are put aside."""
        self.file.write(line + "\n")
        self.file.flush()
        while True:
            reply = self.file.readline()
            if not reply:
                raise Failure(f"vwire is gone at {line!r}: {self.messages()}")
            reply = reply.rstrip("\n")
            if not reply.startswith("IRQ "):
                return reply
            self.irqs.append(reply[4:])

    def cmd(self, *words):
        reply = self.raw(" ".join(str(w) for w in words))
        check(reply.startswith("OK"), f"{words}: {reply}")
        return reply[3:]

    def outb(self, port, v): self.cmd("outb", hex(port), hex(v))
    def outw(self, port, v): self.cmd("outw", hex(port), hex(v))
    def outl(self, port, v): self.cmd("outl", hex(port), hex(v))
    def inb(self, port): return int(self.cmd("inb", hex(port)), 16)
    def inw(self, port): return int(self.cmd("inw", hex(port)), 16)
    def inl(self, port): return int(self.cmd("inl", hex(port)), 16)

    def write(self, addr, data):
        self.cmd("write", hex(addr), hex(len(data)), "0x" + data.hex())

    def read(self, addr, size):
        return bytes.fromhex(self.cmd("read", hex(addr), hex(size))[2:])

    def store(self, size, addr, value):
        self.cmd("write" + "bwlq"[size.bit_length() - 1], hex(addr), hex(value))

    def load(self, size, addr):
        return int(self.cmd("read" + "bwlq"[size.bit_length() - 1], hex(addr)), 16)

    def take_irqs(self):
        irqs, self.irqs = self.irqs, []
        return irqs

    def wait(self, condition, what, seconds=20):
        """Let time pass until the condition holds: what other processes send comes when it comes."""
        end = time.monotonic() + seconds
        while not condition():
            check(time.monotonic() < end, f"timed out: {what}")
            time.sleep(0.002)
            self.cmd("endianness")

    def close(self):
        """End it by closing the channel; returns the accounts, {(client, dir): {...}}; they must balance."""
        self.file.close()
        self.socket.close()
        status = self.process.wait(30)
        text = self.messages()
        self.stderr.close()
        shutil.rmtree(self.folder)
        equal(status, 0, f"exit status ({text})")
        accounts = {}
        for line in text.splitlines():
            if line.startswith("account "):
                import json
                a = json.loads(line[8:])
                accounts[a["client"], a["dir"]] = a
                equal(a["in"] + a["made"], a["out"] + sum(a["dropped"].values()) + a["held"], f"balance of {line}")
        self.said = [line for line in text.splitlines() if not line.startswith("account ")]
        return accounts

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def helpers(pid):
    """Our vwire's processes for user networking, as their parents' tree shows them."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as stat:
                    text = stat.read()
            except OSError:
                continue
            children.setdefault(int(text.rsplit(")", 1)[1].split()[1]), []).append(
                (int(entry), text[text.index("(") + 1:text.rindex(")")]))
    found, todo = [], [pid]
    while todo:
        for child, name in children.get(todo.pop(), []):
            todo.append(child)
            if name.startswith("vwire-user"):
                found.append(child)
    return found


# ---- PCI ----

class Pci:
    """One function, through the config ports."""

    def __init__(self, q, devfn):
        self.q, self.devfn = q, devfn

    def address(self, off):
        self.q.outl(0xcf8, 0x80000000 | self.devfn << 8 | off & 0xfc)
        return 0xcfc + (off & 3)

    def r8(self, off): return self.q.inb(self.address(off))
    def r16(self, off): return self.q.inw(self.address(off))
    def r32(self, off): return self.q.inl(self.address(off))
    def w8(self, off, v): self.q.outb(self.address(off), v)
    def w16(self, off, v): self.q.outw(self.address(off), v)
    def w32(self, off, v): self.q.outl(self.address(off), v)

    def caps(self):
        off = self.r8(0x34)
        for _ in range(48):
            if not off:
                return
            yield self.r8(off), off
            off = self.r8(off + 1)
        raise Failure("the capability list does not end")

    def bar(self, n):
        low = self.r32(0x10 + 4 * n)
        if low & 1:
            return low & ~3
        high = self.r32(0x14 + 4 * n) << 32 if low & 4 else 0
        return high | low & ~15


def find_device(q, vendor, device, nth=0):
    devices = device if isinstance(device, tuple) else (device,)
    for slot in range(32):
        pci = Pci(q, slot << 3)
        if pci.r32(0) in [d << 16 | vendor for d in devices]:
            if not nth:
                return pci
            nth -= 1
    raise Failure(f"no PCI device {vendor:04x}:{devices[0]:04x}")


# ---- virtio over PCI, virtio 1.2, 4.1 ----

F_CSUM, F_GUEST_CSUM, F_CTRL_GUEST_OFFLOADS, F_MTU, F_MAC = 0, 1, 2, 3, 5
F_GUEST_TSO4, F_GUEST_TSO6, F_GUEST_ECN, F_GUEST_UFO = 7, 8, 9, 10
F_HOST_TSO4, F_HOST_TSO6, F_HOST_ECN, F_HOST_UFO, F_MRG_RXBUF, F_STATUS, F_CTRL_VQ, F_CTRL_RX, F_CTRL_VLAN = range(11, 20)
F_CTRL_RX_EXTRA, F_GUEST_ANNOUNCE, F_MQ, F_CTRL_MAC_ADDR = 20, 21, 22, 23
F_INDIRECT, F_EVENT_IDX, F_VERSION_1, F_RING_PACKED, F_IN_ORDER = 28, 29, 32, 34, 35
ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, NEEDS_RESET, FAILED = 1, 2, 4, 8, 0x40, 0x80
NO_VECTOR = 0xffff
D_NEXT, D_WRITE, D_INDIRECT, D_AVAIL, D_USED = 1, 2, 4, 1 << 7, 1 << 15


class Memory:
    """Guest RAM handed out from 1 MiB up."""

    def __init__(self):
        self.next = 0x100000

    def alloc(self, size, align=16):
        addr = (self.next + align - 1) & ~(align - 1)
        self.next = addr + size
        return addr


class Queue:
    """A split virtqueue, driver side."""

    def __init__(self, dev, index, size=None, vector=NO_VECTOR):
        self.dev, self.q, self.index = dev, dev.q, index
        dev.common_w(16, 0x16, index)
        self.size = size or dev.common_r(16, 0x18)
        mem = dev.mem
        self.desc = mem.alloc(16 * self.size, 4096)
        self.avail = mem.alloc(6 + 2 * self.size, 2)
        self.used = mem.alloc(6 + 8 * self.size, 4)
        self.avail_idx = self.last_used = self.next_desc = 0
        self.q.cmd("memset", hex(self.desc), 16 * self.size, 0)
        self.q.cmd("memset", hex(self.avail), 6 + 2 * self.size, 0)
        self.q.cmd("memset", hex(self.used), 6 + 8 * self.size, 0)
        dev.common_w(16, 0x18, self.size)
        dev.common_w(16, 0x1a, vector)
        dev.common_w(64, 0x20, self.desc)
        dev.common_w(64, 0x28, self.avail)
        dev.common_w(64, 0x30, self.used)
        dev.common_w(16, 0x1c, 1)
        self.bell = dev.notify + dev.common_r(16, 0x1e) * dev.notify_multiplier

    def descriptor(self, i, addr, length, flags, following=0):
        self.q.write(self.desc + 16 * i, struct.pack("<QIHH", addr, length, flags, following))

    def add(self, out=(), into=()):
        """Post a chain of (address, length) pieces; returns its head."""
        pieces = [(a, n, 0) for a, n in out] + [(a, n, D_WRITE) for a, n in into]
        head = self.next_desc
        for i, (addr, length, flags) in enumerate(pieces):
            at = (head + i) % self.size
            more = i + 1 < len(pieces)
            self.descriptor(at, addr, length, flags | (D_NEXT if more else 0), (at + 1) % self.size)
        self.next_desc = (head + len(pieces)) % self.size
        self.post(head)
        return head

    def post(self, head):
        self.q.store(2, self.avail + 4 + 2 * (self.avail_idx % self.size), head)
        self.avail_idx = (self.avail_idx + 1) & 0xffff
        self.q.store(2, self.avail + 2, self.avail_idx)

    def kick(self):
        self.q.store(2, self.bell, self.index)

    def take_used(self):
        """All (head, length) that came since the last call."""
        idx = self.q.load(2, self.used + 2)
        out = []
        while self.last_used != idx:
            at = self.used + 4 + 8 * (self.last_used % self.size)
            out.append(struct.unpack("<II", self.q.read(at, 8)))
            self.last_used = (self.last_used + 1) & 0xffff
        return out


class PackedQueue(Queue):
    """A packed one: `desc` is the ring, `avail` the driver's event suppression, which asks for every call."""

    def __init__(self, *args):
        super().__init__(*args)
        self.span, self.order = {}, []
        self.put, self.take = (0, True), (0, True)  # place, wrap counter

    def ahead(self, where, n):
        at, wrap = where[0] + n, where[1]
        return (at - self.size, not wrap) if at >= self.size else (at, wrap)

    def add(self, out=(), into=()):
        """Post a chain of (address, length) pieces; returns its id, which is where it begins."""
        pieces = [(a, n, 0) for a, n in out] + [(a, n, D_WRITE) for a, n in into]
        first, first_flags = self.put[0], 0
        for i, (addr, length, flags) in enumerate(pieces):
            flags |= (D_AVAIL if self.put[1] else D_USED) | (D_NEXT if i + 1 < len(pieces) else 0)
            at = self.desc + 16 * self.put[0]
            self.q.write(at, struct.pack("<QIH", addr, length, first))
            if i:
                self.q.store(2, at + 14, flags)
            else:
                first_flags = flags
            self.put = self.ahead(self.put, 1)
        self.span[first] = len(pieces)
        self.order.append(first)
        self.q.store(2, self.desc + 16 * first + 14, first_flags)  # now it can be seen
        return first

    def take_used(self):
        """All (id, length) that came since the last call; in order, one entry may tell of several."""
        out = []
        while self.order:
            length, head, flags = struct.unpack("<IHH", self.q.read(self.desc + 16 * self.take[0] + 8, 8))
            if bool(flags & D_AVAIL) != self.take[1] or bool(flags & D_USED) != self.take[1]:
                break
            group = self.order[:self.order.index(head) + 1] if self.dev.in_order else [head]
            for one in group:
                self.order.remove(one)
                self.take = self.ahead(self.take, self.span[one])
                out.append((one, length if one == head else 0))
        return out


class VirtioNet:
    HDR = 12  # struct virtio_net_hdr_v1
    rings = ()  # features of rings that start() adds

    def __init__(self, q, nth=0):
        self.q, self.mem = q, Memory()
        self.pci = find_device(q, 0x1af4, (0x1000, 0x1041), nth)  # transitional, or not
        self.pci.w16(4, self.pci.r16(4) | 6)  # memory, bus master
        where = {}
        for cap, off in self.pci.caps():
            if cap != 9:
                continue
            kind, bar = self.pci.r8(off + 3), self.pci.r8(off + 4)
            if kind <= 4 and kind not in where:
                where[kind] = self.pci.bar(bar) + self.pci.r32(off + 8)
                if kind == 2:
                    self.notify_multiplier = self.pci.r32(off + 16)
        self.common, self.notify, self.isr, self.config = where[1], where[2], where[3], where[4]

    def common_r(self, bits, off): return self.q.load(bits // 8, self.common + off)

    def common_w(self, bits, off, v):
        if bits == 64:  # two 32-bit halves, 4.1.3.1
            self.q.store(4, self.common + off, v & 0xffffffff)
            self.q.store(4, self.common + off + 4, v >> 32)
        else:
            self.q.store(bits // 8, self.common + off, v)

    @property
    def status(self): return self.common_r(8, 0x14)

    @status.setter
    def status(self, v): self.common_w(8, 0x14, v)

    def offered(self):
        self.common_w(32, 0, 0)
        low = self.common_r(32, 4)
        self.common_w(32, 0, 1)
        return low | self.common_r(32, 4) << 32

    def negotiate(self, features):
        """Reset, and negotiate these feature bits (VERSION_1 is added)."""
        bits = sum(1 << f for f in set(features) | {F_VERSION_1})
        self.status = 0
        self.q.wait(lambda: self.status == 0, "reset")
        self.status = ACKNOWLEDGE
        self.status = ACKNOWLEDGE | DRIVER
        for word in range(2):
            self.common_w(32, 8, word)
            self.common_w(32, 12, bits >> 32 * word & 0xffffffff)
        self.status = ACKNOWLEDGE | DRIVER | FEATURES_OK
        return bool(self.status & FEATURES_OK)

    def start(self, features=(F_MAC, F_STATUS), size=None, vectors=(NO_VECTOR, NO_VECTOR, NO_VECTOR)):
        features = (*features, *self.rings)
        check(self.negotiate(features), f"features {features} are refused")
        ring = PackedQueue if F_RING_PACKED in features else Queue
        self.in_order = F_IN_ORDER in features
        self.rx = ring(self, 0, size, vectors[0])
        self.tx = ring(self, 1, size, vectors[1])
        self.ctrl = ring(self, 2, None, vectors[2]) if F_CTRL_VQ in features else None
        self.status = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK
        self.buffers = {}
        return self

    def registers_bar(self):
        return next(n for n in range(6) if 0 <= self.common - self.pci.bar(n) < 0x10000 and self.pci.bar(n))

    def move_registers(self, new):
        """Give the registers' BAR another address below 4 GiB, and go on there."""
        n = self.registers_bar()
        old = self.pci.bar(n)
        self.pci.w32(0x10 + 4 * n, new)
        if self.pci.r32(0x10 + 4 * n) & 4:
            self.pci.w32(0x14 + 4 * n, 0)
        for name in ("common", "notify", "isr", "config"):
            if 0 <= getattr(self, name) - old < 0x10000:
                setattr(self, name, getattr(self, name) - old + new)
        for queue in (self.rx, self.tx, self.ctrl):
            if queue:
                queue.bell += new - old
        return old

    def mac(self): return self.q.read(self.config, 6)

    def link_up(self): return bool(self.q.load(2, self.config + 6) & 1)

    def post_buffers(self, count, size=2048):
        for _ in range(count):
            addr = self.mem.alloc(size)
            self.buffers[self.rx.add(into=[(addr, size)])] = addr
        self.rx.kick()

    def received(self):
        """Frames that came, each in one buffer: (header, frame)."""
        out = []
        for head, length in self.rx.take_used():
            data = self.q.read(self.buffers.pop(head), length)
            out.append((data[:self.HDR], data[self.HDR:]))
        return out

    def send(self, frame, header=bytes(HDR), kick=True):
        addr = self.mem.alloc(len(frame) + self.HDR)
        self.q.write(addr, header + frame)
        head = self.tx.add(out=[(addr, self.HDR + len(frame))])
        if kick:
            self.tx.kick()
        return head

    def control(self, cls, cmd, data=b""):
        """One command; the guest's answer, 0 is OK."""
        addr = self.mem.alloc(len(data) + 16)
        self.q.write(addr, bytes([cls, cmd]) + data + b"\xff")
        out = [(addr, 2)] + ([(addr + 2, len(data))] if data else [])
        self.ctrl.add(out=out, into=[(addr + 2 + len(data), 1)])
        self.ctrl.kick()
        self.q.wait(lambda: self.ctrl.take_used(), "the control queue's answer")
        return self.q.read(addr + 2 + len(data), 1)[0]

    # MSI-X: vectors aimed at RAM, where the interrupt chip of qtest stores the message
    def msix(self):
        cap = next(off for c, off in self.pci.caps() if c == 0x11)
        table = self.pci.r32(cap + 4)
        base = self.pci.bar(table & 7) + (table & ~7)
        count = (self.pci.r16(cap + 2) & 0x7ff) + 1
        targets = []
        for v in range(count):
            addr = self.mem.alloc(4, 4)
            self.q.store(4, addr, 0)
            for i, word in enumerate((addr, 0, 0x1000 + v, 0)):
                self.q.store(4, base + 16 * v + 4 * i, word)
            targets.append(addr)
        self.pci.w16(cap + 2, 0x8000)
        return targets


# ---- the other end: a tap of this host ----

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454ca, 2, 0x1000


class Tap:
    """An interface made for vwire to open, up, without an address, and a packet socket on it."""

    def __init__(self):
        try:
            self.name = f"vwt{os.getpid() % 1000000}"
            subprocess.run(["ip", "tuntap", "add", self.name, "mode", "tap"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            skip(f"cannot make a tap here: {error}")
        try:
            with open(f"/proc/sys/net/ipv6/conf/{self.name}/disable_ipv6", "w") as file:
                file.write("1")
        except OSError:
            pass  # no IPv6 here; its frames would be ignored anyway, see receive()
        subprocess.run(["ip", "link", "set", self.name, "up"], check=True)
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.socket.bind((self.name, 0))
        self.socket.settimeout(20)
        self.running = False

    def send(self, frame):
        """Once the kernel has noticed that vwire is there: until then it drops what is sent to the interface."""
        while not self.running:
            with open(f"/sys/class/net/{self.name}/operstate") as state:
                self.running = state.read() == "up\n"
            time.sleep(0.02)
        self.socket.send(frame)

    def receive(self):
        """The next frame of ours (EtherType 88b5, for experiments) that vwire wrote."""
        while True:
            try:
                data, address = self.socket.recvfrom(70000)
            except OSError as error:
                if error.errno != errno.ENETDOWN:  # said once after the interface was down
                    raise
                continue
            if address[2] != socket.PACKET_OUTGOING and data[12:14] == b"\x88\xb5":
                return data

    def up(self, yes):
        subprocess.run(["ip", "link", "set", self.name, "up" if yes else "down"], check=True)

    def close(self):
        self.socket.close()
        subprocess.run(["ip", "link", "del", self.name], check=False, capture_output=True)


def frame(dst, src, payload, kind=b"\x88\xb5"):
    return dst + src + kind + payload
