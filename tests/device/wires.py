# SPDX-License-Identifier: BSD-2-Clause
"""wires: what the matrix joins a NIC to, with the far end of each, that can go away and come back

  args(), port      vwire's options, and what the NIC's netdev= is
  begin()           once vwire runs; wait until both ends can speak
  far_send(n, ...)  frame n of the direction into the guest; False if it cannot be sent now
  pump()            let the far end take and give; what came, [(number, offset, length)]
  guest_frame(n, ..), guest_got(hdr, frame)   the guest's side of the same; guest_got gives None for what is not ours
  down(), up()      the link's flap, and kill(), revive() the peer's death; carrier: the NIC's link meanwhile;
                    after_down(): what still came
  stall(yes)        the far end stops taking
  settled()         nothing is under way any more that must arrive
  audit(accounts, event)   what the far end saw, held against the accounts

  pairs             clients that are peers from the NIC to the backend: what one gives the other gets
  lossy, repeats    frames are lost, come twice, by the wire's own doing
  clock             frames come by the VM's clock, that the test steps
"""
import ctypes
import fcntl
import os
import signal
import socket
import struct
import subprocess
import time

from packets import *  # noqa: F403
from qtest import Failure, check, equal, helpers, skip

GUEST_MAC, FAR_MAC = bytes.fromhex("525400123456"), bytes.fromhex("5254000000aa")
GUEST_IP, FAR_IP = "10.0.2.15", "10.0.2.2"
SOL_PACKET, PACKET_VNET_HDR, SO_RCVBUFFORCE = 263, 15, 33
SIOCGIFFLAGS, IFF_RUNNING = 0x8913, 0x40
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def isolate():
    """Interfaces and ports of our own."""
    if ctypes.CDLL(None, use_errno=True).unshare(0x40000000):
        skip("needs root, to make a network namespace")
    with open("/proc/sys/net/ipv6/conf/default/disable_ipv6", "w") as file:
        file.write("1")
    ip("link set lo up")


def ip(command, **more):
    return subprocess.run(["ip", *command.split()], check=True, capture_output=True, text=True, **more).stdout


class Wire:
    port = "n0"
    clock = lossy = repeats = False
    into_gso = False  # the far end may send what is still to be cut
    gso = GSO_TCPV4  # what the guest leaves to be cut
    largest = 16000  # bytes of content in that
    sizes = (6, 1460)  # bytes of content in a frame
    may_drop = {"flap": set(), "killed": set()}
    always = set()  # reasons to drop frames that belong to the wire
    stalled_may = set()  # and those of a far end that takes nothing for a while
    flood = 400  # frames that the far end may send at once without losing any
    said = {}

    def __init__(self, random):
        self.random, self.q = random, None
        self.out = Numbered("out", GUEST_IP, FAR_IP, GUEST_MAC, FAR_MAC)
        self.into = Numbered("into", FAR_IP, GUEST_IP, FAR_MAC, GUEST_MAC)
        self.out_sizes, self.into_sizes = {}, {}  # the test's: content by number
        self.arrived = self.gone = 0  # frames that the far end got, and gave whole
        self.stalled = False
        self.replies = []  # frames that the guest is to send of its own
        self.spared = set()  # numbers of what was in the guest's ring when it reset its NIC: they may be lost
        self.pairs = [("nic0", "n0")]

    def begin(self, q): self.q = q

    def stall(self, yes): self.stalled = yes

    def guest_frame(self, n, size, partial, gso):
        return self.out.frame(n, size, partial, gso)

    def guest_got(self, hdr, frame):
        return self.into.judge(hdr, frame, self.into_sizes)

    def after_down(self): return []

    def settled(self): return True

    def close(self): pass


class TapWire(Wire):
    """A tap; its peer is the host's interface: down and up (no link to the guest), deleted and made again."""
    name = "tap"
    into_gso = True
    may_drop = {"flap": {"tap-down"}, "killed": {"link-down", "tap-down", "peer-gone"}}
    carrier = {"flap": True, "killed": False}
    said = {"killed": ["the interface .* was deleted; link down until there is one of that name again",
                       "n0: attached to the new interface .*; link up"]}

    def __init__(self, random):
        super().__init__(random)
        self.ifname = f"mx{random.randrange(1 << 32):08x}"
        self.read = None
        self.make()

    def make(self):
        try:
            ip(f"tuntap add {self.ifname} mode tap")
        except (OSError, subprocess.CalledProcessError) as error:
            skip(f"cannot make a tap here: {error}")
        ip(f"link set {self.ifname} up")
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.socket.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        self.socket.bind((self.ifname, 0))
        self.socket.setblocking(False)

    def args(self):
        return ["-netdev", f"tap,id=n0,ifname={self.ifname},script=no,downscript=no"]

    def begin(self, q):
        super().begin(q)
        self.q.wait(self.runs, "the kernel sees that vwire has opened the tap")

    def runs(self):
        """Until the kernel has noticed that, it drops what is sent to the interface."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            answer = fcntl.ioctl(s, SIOCGIFFLAGS, struct.pack("16sH22x", self.ifname.encode(), 0))
        return struct.unpack("H", answer[16:18])[0] & IFF_RUNNING

    def far_send(self, n, size, partial, gso):
        hdr, frame = self.into.frame(n, size, partial, gso)
        try:
            self.socket.send(hdr + frame)
        except OSError:  # down, or gone
            return False
        self.gone += 1
        return True

    def receive(self):
        """Frames that vwire wrote."""
        while not self.stalled:
            try:
                data, address = self.socket.recvfrom(80000)
            except BlockingIOError:
                return
            except OSError:
                continue  # said once when the interface goes down
            if address[2] != socket.PACKET_OUTGOING:
                self.arrived += 1
                yield data[:10], data[10:]

    def pump(self):
        return [self.out.judge(hdr, frame, self.out_sizes) for hdr, frame in self.receive()]

    def down(self):
        ip(f"link set {self.ifname} down")

    def up(self):
        ip(f"link set {self.ifname} up")
        self.q.wait(self.runs, "the interface is up")

    def kill(self):
        ip(f"link del {self.ifname}")
        self.dead = self.socket

    def revive(self):
        self.dead.close()
        self.make()
        self.q.wait(self.runs, "vwire opens the new interface")

    def kernel_gave(self):
        with open("/proc/net/dev") as file:
            line = next(line for line in file if line.split(":")[0].strip() == self.ifname)
        return int(line.split(":")[1].split()[9])

    def settled(self):
        self.read = self.kernel_gave()
        return True

    def audit(self, accounts, event):
        wrote, read = accounts["n0", "rx"]["out"], accounts["n0", "tx"]["in"]
        if event == "killed":
            check(self.arrived <= wrote, f"{self.arrived} frames came of {wrote}")
        else:
            equal(self.arrived, wrote, "frames that the host got")
            equal(self.read, read, "frames that the kernel says were read from the tap")
            check(event == "flap" or read >= self.gone, f"{read} frames read of {self.gone}")  # the kernel cuts some

    def close(self):
        self.socket.close()
        subprocess.run(["ip", "link", "del", self.ifname], check=False, capture_output=True)


class ImpairWire(TapWire):
    """A tap behind a filter-impair; all of it by the stepped clock."""
    name = "filter-impair"
    clock = lossy = repeats = True
    always = {"impaired", "queue-full"}  # its clock may stand while much is sent

    def __init__(self, random):
        super().__init__(random)
        self.pairs = [("nic0", "f0:peer"), ("f0:netdev", "n0")]

    def args(self):
        return super().args() + ["-object", "filter-impair,id=f0,netdev=n0,delay=3ms,jitter=2ms,loss=10,duplicate=10,"
                                 f"seed={self.random.randrange(1, 1 << 31)}"]

    def audit(self, accounts, event):
        super().audit(accounts, event)
        for side, far in (("f0:peer", "f0:netdev"), ("f0:netdev", "f0:peer")):
            equal(accounts[side, "rx"]["out"], accounts[far, "tx"]["in"], f"through the filter from {side}")


class FrameEnd:
    """The far end of a byte stream with a length in front of each frame."""

    def __init__(self, connection):
        self.socket = connection
        self.socket.setblocking(False)
        self.input, self.output = b"", []  # output: rests of frames

    def send(self, frame):
        self.output.append(struct.pack(">I", len(frame)) + frame)

    def flush(self):
        """The number of frames that are gone whole."""
        gone = 0
        while self.output:
            try:
                sent = self.socket.send(self.output[0])
            except BlockingIOError:
                break
            if sent < len(self.output[0]):
                self.output[0] = self.output[0][sent:]
                break
            self.output.pop(0)
            gone += 1
        return gone

    def receive(self):
        """(frames, ended)"""
        ended = False
        while True:
            try:
                data = self.socket.recv(1 << 18)
            except BlockingIOError:
                break
            except ConnectionResetError:
                data = b""
            if not data:
                ended = True
                break
            self.input += data
        frames = []
        while len(self.input) >= 4:
            size = struct.unpack(">I", self.input[:4])[0]
            right(14 <= size <= 65553, f"a length of {size} in the stream")
            if len(self.input) < 4 + size:
                break
            frames.append(self.input[4:4 + size])
            self.input = self.input[4 + size:]
        return frames, ended


class StreamWire(Wire):
    """stream over a UNIX socket, vwire the client that comes again; the far end goes between two frames, or within one."""
    name = "stream"
    may_drop = {"flap": {"link-down", "peer-gone"}, "killed": {"link-down", "peer-gone", "truncated"}}
    carrier = {"flap": False, "killed": False}
    GONE = r"netdev n0: \S+ is gone: (the program at the other end closed the connection|Connection reset by peer|" \
        r"Broken pipe); (listening for the next|connecting again)"
    AGAIN = r"netdev n0: (\S+: cannot connect: .*; trying again every 10 ms|connected to .*)"
    said = {"flap": [GONE, AGAIN], "killed": [GONE, AGAIN]}

    def __init__(self, random):
        super().__init__(random)
        self.end = None
        self.lost = 0  # connections that ended within a frame
        self.path = os.path.abspath(f"s{random.randrange(1 << 32):08x}")
        self.listener = None
        self.listen()

    def listen(self):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(1)
        self.listener.setblocking(False)

    def args(self):
        return ["-netdev", f"stream,id=n0,server=off,addr.type=unix,addr.path={self.path},reconnect-ms=10"]

    def connect(self):
        """True if there is a connection now."""
        if not self.end and self.listener:
            try:
                self.end = FrameEnd(self.listener.accept()[0])
            except BlockingIOError:
                pass
        return self.end is not None

    def begin(self, q):
        super().begin(q)
        q.wait(self.connect, "vwire connects")

    def far_send(self, n, size, partial, gso):
        if not self.end:
            return False
        self.end.send(self.into.frame(n, size)[1])
        return True

    def frames(self):
        if not self.end:
            return []
        try:
            self.gone += self.end.flush()
        except (BrokenPipeError, ConnectionResetError):
            raise Failure("vwire closed the connection") from None
        if self.stalled:
            return []
        frames, ended = self.end.receive()
        check(not ended, "vwire ended the connection")
        self.arrived += len(frames)
        return frames

    def pump(self):
        return [self.out.judge(NO_HDR, frame, self.out_sizes) for frame in self.frames()]

    def stop_listening(self):
        self.listener.close()
        self.listener = None
        os.unlink(self.path)

    def down(self):
        """Say that no more will come, and take what still comes; vwire closes when it has read to the end."""
        self.stop_listening()
        end = self.end
        self.gone += end.flush()
        end.output = end.output[:1] if self.partly(end) else []
        while end.output:  # the rest of the frame that was begun
            self.gone += end.flush()
            self.q.cmd("endianness")
        end.socket.shutdown(socket.SHUT_WR)
        self.closing, self.end = end, None

    def partly(self, end):
        """The first of the frames that wait was begun."""
        return end.output and len(end.output[0]) != 4 + struct.unpack(">I", end.output[0][:4])[0]

    def after_down(self):
        """What vwire had still given, when it has closed."""
        came = []

        def closed():
            frames, ended = self.closing.receive()
            came.extend(frames)
            return ended
        self.q.wait(closed, "vwire closes the connection")
        self.arrived += len(came)
        self.closing.socket.close()
        return [self.out.judge(NO_HDR, frame, self.out_sizes) for frame in came]

    def up(self):
        self.stalled = False
        self.listen()
        self.q.wait(self.connect, "vwire connects again")

    def kill(self):
        """In the middle of a frame, anywhere, with what was not read lost."""
        end, self.end = self.end, None
        self.stop_listening()
        self.gone += end.flush()
        if not end.output:
            whole = self.into.frame(0xffff, 1000)[1]
            whole = struct.pack(">I", len(whole)) + whole
            try:
                end.socket.send(whole[:self.random.randrange(1, len(whole))])
            except BlockingIOError:
                pass
        self.lost += 1
        end.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        end.socket.close()

    revive = up

    def audit(self, accounts, event):
        wrote, read = accounts["n0", "rx"]["out"], accounts["n0", "tx"]["in"]
        if event == "killed":
            check(self.arrived <= wrote, f"{self.arrived} frames came of {wrote}")
            check(read <= self.gone + self.lost, f"{read} frames read of {self.gone}")
        else:
            equal(self.arrived, wrote, "frames that the far end got")
            equal(read, self.gone, "frames that the far end gave")
        check(accounts["n0", "tx"]["dropped"].get("truncated", 0) <= self.lost, "frames of which a part came")

    def close(self):
        if self.end:
            self.end.socket.close()
        if self.listener:
            self.stop_listening()


class SocketWire(StreamWire):
    """socket, vwire listening: the same, and the far end connects."""
    name = "socket"
    PORT = 7100

    def listen(self): pass

    def stop_listening(self): pass

    def args(self):
        return ["-netdev", f"socket,id=n0,listen=127.0.0.1:{self.PORT}"]

    def connect(self):
        if not self.end:
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
            try:
                s.connect(("127.0.0.1", self.PORT))
            except ConnectionError:
                s.close()
                return False
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.end = FrameEnd(s)
        return True


class HubWire(StreamWire):
    """A hub with the NIC, a stream, and a tap whose host sees all that both say, whatever becomes of them."""
    name = "hub"
    carrier = {"flap": True, "killed": True}  # hubs do not pass it on
    stalled_may = {"queue-full"}  # of the port's bounded queue; the bystander gets it all the same

    def __init__(self, random):
        super().__init__(random)
        self.port = "p2"
        self.pairs = [("nic0", "p2"), ("p0", "n0"), ("p1", "t1")]
        self.tap = TapWire(random)
        self.seen = {}

    def args(self):
        tap = self.tap.args()
        return super().args() + [tap[0], tap[1].replace("id=n0", "id=t1"),
                                 "-netdev", "hubport,id=p0,hubid=0,netdev=n0", "-netdev", "hubport,id=p1,hubid=0,netdev=t1",
                                 "-netdev", "hubport,id=p2,hubid=0"]

    def begin(self, q):
        super().begin(q)
        self.tap.begin(q)

    def look(self):
        """The bystander's view: of the guest's frames every one, whole, once."""
        for hdr, frame in self.tap.receive():
            if frame[6:12] == GUEST_MAC:
                n, offset, length = self.out.judge(hdr, frame, self.out_sizes)
                equal(offset, self.seen.get(n, 0), f"the bystander's next piece of frame {n}")
                self.seen[n] = offset + length
            else:
                self.into.judge(hdr, frame, self.into_sizes)

    def pump(self):
        self.look()
        return super().pump()

    def settled(self):
        return all(self.seen.get(n) == size for n, size in self.out_sizes.items() if n not in self.spared)

    def audit(self, accounts, event):
        super().audit(accounts, event)
        equal(self.tap.arrived, accounts["t1", "rx"]["out"], "frames that the bystander got")
        for port in ("p0", "p1", "p2"):
            others = [p for p in ("p0", "p1", "p2") if p != port]
            entered = sum(accounts[p, "rx"]["out"] - accounts[p, "rx"]["made"] for p in others)
            equal(accounts[port, "tx"]["in"], entered, f"frames that the hub gave to {port}")

    def close(self):
        super().close()
        self.tap.close()


class UserWire(Wire):
    """User networking; the far end is a program's UDP socket on this host, the peer is vwire-user: stopped, or killed."""
    name = "user"
    PORT = 7200
    gso = GSO_UDP
    largest = 8000
    flood = 30  # what a socket's buffer holds for certain
    sizes = (6, 1400)
    may_drop = {"flap": {"link-down"}, "killed": {"link-down", "peer-gone"}}
    carrier = {"flap": False, "killed": False}
    said = {"flap": ["vwire-user is stopped; the link is down", "vwire-user .*"], "killed": ["vwire-user .*"]}
    GATEWAY = bytes.fromhex("52550a000202")

    def __init__(self, random):
        super().__init__(random)
        self.out, self.into = Datagrams("out"), Datagrams("into")
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        self.socket.bind(("127.0.0.1", self.PORT))
        self.socket.setblocking(False)
        self.address = None  # from where the guest's datagrams come
        # As every guest begins: who is the gateway? So libslirp knows the guest before it has something to send there.
        ask = struct.pack(">HHBBH", 1, 0x800, 6, 4, 1) + GUEST_MAC + ip4(GUEST_IP) + bytes(6) + ip4(FAR_IP)
        self.replies.append((b"\xff" * 6 + GUEST_MAC + ARP + ask).ljust(60, b"\0"))

    def args(self): return ["-netdev", "user,id=n0"]

    def guest_frame(self, n, size, partial, gso):
        l4 = sealed(udp(7000, self.PORT, self.out.payload(n, size)), IPPROTO_UDP, GUEST_IP, FAR_IP, 6, partial or gso)
        hdr = NO_HDR
        if partial or gso:
            hdr = struct.pack("<BBHHHH", NEEDS_CSUM, GSO_UDP if gso else 0, ETH + IP + UDP if gso else 0,
                              1480 if gso else 0, ETH + IP, 6)
        return hdr, (self.GATEWAY + GUEST_MAC + IPV4 + ipv4(IPPROTO_UDP, GUEST_IP, FAR_IP, l4)).ljust(60, b"\0")

    def guest_got(self, hdr, frame):
        if frame[12:14] == ARP:
            if frame[20:22] == b"\0\1":
                answer = struct.pack(">HHBBH", 1, 0x800, 6, 4, 2) + GUEST_MAC + ip4(GUEST_IP) + frame[22:32]
                self.replies.append((frame[6:12] + GUEST_MAC + ARP + answer).ljust(60, b"\0"))
            return None
        if frame[:6] != GUEST_MAC:
            return None  # libslirp's announcements
        frame = check_ip(frame, IPPROTO_UDP, FAR_IP, GUEST_IP)
        check_sum(hdr, frame, IPPROTO_UDP, 6)
        right(frame[34:38] == struct.pack(">HH", self.PORT, 7000), "UDP ports")
        right(struct.unpack(">H", frame[38:40])[0] == len(frame) - ETH - IP, "the UDP length")
        return self.into.judge(frame[42:], self.into_sizes)

    def far_send(self, n, size, partial, gso):
        if not self.address:
            return False
        try:
            self.socket.sendto(self.into.payload(n, size), self.address)
        except ConnectionRefusedError:  # an answer to an earlier one
            return False
        return True

    def pump(self):
        came = []
        while not self.stalled:
            try:
                data, self.address = self.socket.recvfrom(70000)
            except BlockingIOError:
                break
            except ConnectionRefusedError:
                continue
            self.arrived += 1
            came.append(self.out.judge(data, self.out_sizes))
        return came

    def helpers(self):
        found = helpers(self.q.process.pid)
        check(found, "there is no vwire-user")
        return found

    def down(self):
        self.stopped = self.helpers()
        for pid in self.stopped:
            os.kill(pid, signal.SIGSTOP)

    def up(self):
        for pid in self.stopped:
            os.kill(pid, signal.SIGCONT)

    def kill(self):
        self.address = None
        for pid in self.helpers():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def revive(self): pass  # vwire starts another one

    def audit(self, accounts, event):
        check(self.arrived <= accounts["n0", "rx"]["out"], f"{self.arrived} datagrams of {accounts['n0', 'rx']['out']}")

    def close(self):
        self.socket.close()
