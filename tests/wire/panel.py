# SPDX-License-Identifier: BSD-2-Clause
"""A patch panel to test with: vwire -machine none with two taps a and b on one hub, in namespaces of its own, and packet
sockets at the other side of both. Standard library only."""
import ctypes
import errno
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.environ["VWIRE_SRC"], "tests"))
from harness import *  # noqa: E402,F403

VWIRE = os.path.join(os.environ["VWIRE_BUILD"], "vwire")
PACKET_VNET_HDR = 15
SOL_PACKET = 263
CLONE_NEWNS, CLONE_NEWNET = 0x20000, 0x40000000


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            skip(f"needs {program}")


def isolate():
    """Enter namespaces of our own for interfaces and mounts."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS | CLONE_NEWNET):
        skip("needs root, to make a network namespace")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    run("mount -t sysfs sysfs /sys")  # the interfaces of here
    run("ip link set lo up")
    with open("/proc/sys/net/ipv6/conf/default/disable_ipv6", "w") as file:
        file.write("1")


def run(command):
    subprocess.run(command.split(), check=True)


def wait_for(condition, what, seconds=30):
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise Failure("waited in vain for " + what)
        time.sleep(0.01)
    return value


def frame(n, size=200, kind=b"\x88\xb5", payload=b""):
    """Number n, of `size` bytes."""
    head = bytes.fromhex("020000000002") + bytes.fromhex("020000000001") + kind
    body = payload + struct.pack(">I", n)
    return (head + body).ljust(size, bytes([n & 255]))


class Port:
    """The other side of a tap."""

    def __init__(self, name):
        self.name = name
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.socket.bind((name, 0))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.settimeout(30)

    def send(self, data):
        self.socket.send(data)

    def send_gso(self, data, header):
        """With a struct virtio_net_hdr: a frame that is still to be cut."""
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as s:
            s.bind((self.name, 0))
            s.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
            s.send(header + data)

    def receive(self):
        while True:
            try:
                data, address = self.socket.recvfrom(70000)
            except OSError as error:
                if error.errno != errno.ENETDOWN:
                    raise
                continue
            if address[2] != socket.PACKET_OUTGOING:
                return data

    def quiet(self, seconds=0.3):
        """Nothing comes for a while."""
        self.socket.settimeout(seconds)
        try:
            data = self.receive()
        except socket.timeout:
            return True
        finally:
            self.socket.settimeout(30)
        raise Failure(f"an unexpected frame of {len(data)} bytes")

    def close(self):
        self.socket.close()


class Panel:
    """vwire with taps a and b; `objects` are arguments of -object."""

    def __init__(self, *objects, more=(), **popen):
        args = ["-machine", "none"]
        for name in "ab":
            args += ["-netdev", f"tap,id={name},ifname=vw{name},script=no,downscript=no",
                     "-netdev", f"hubport,id=hub{name},hubid=0,netdev={name}"]
        args += list(more)
        for text in objects:
            args += ["-object", text]
        with open("stderr", "w") as log:
            self.process = subprocess.Popen([VWIRE, *args], stdin=subprocess.DEVNULL, stderr=log,
                                            env=dict(os.environ, VWIRE_ACCOUNTS="1"), **popen)
        try:
            for name in "ab":
                wait_for(lambda: self.alive() and os.path.exists(f"/sys/class/net/vw{name}"), f"the tap vw{name}")
                run(f"ip link set vw{name} up")
            for name in "ab":
                wait_for(lambda: open(f"/sys/class/net/vw{name}/operstate").read() != "down\n", f"vw{name} to be up")
            self.a, self.b = Port("vwa"), Port("vwb")
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.a.close()
        self.b.close()

    def alive(self):
        if self.process.poll() is not None:
            raise Failure("vwire ended: " + self.messages())
        return True

    def messages(self):
        with open("stderr") as log:
            return log.read()

    def warnings(self):
        return [line for line in self.messages().splitlines() if "warning" in line]

    def across(self, numbers, size=200, **more):
        """Send frames from a to b and see them come."""
        for n in numbers:
            self.a.send(frame(n, size, **more))
            equal(self.b.receive(), frame(n, size, **more), f"frame {n}")

    def close(self):
        """End it; the accounts, (client, direction) -> account, each held to its balance."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Failure("vwire does not end") from None
        equal(status, 0, "exit status (" + self.messages()[:300] + ")")
        accounts = {}
        for line in self.messages().splitlines():
            if line.startswith("account "):
                a = json.loads(line[8:])
                accounts[a["client"], a["dir"]] = a
                equal(a["in"] + a["made"], a["out"] + sum(a["dropped"].values()) + a["held"], line)
        check(accounts, "no accounts: " + self.messages())
        return accounts


def tshark(file, *fields, extra=()):
    """Rows of fields, as texts; the file must be readable to its end."""
    args = ["tshark", "-n", "-r", file, "-T", "fields", "-E", "separator=|", *extra]
    for field in fields:
        args += ["-e", field]
    result = subprocess.run(args, capture_output=True, text=True, check=False)
    noise = [line for line in result.stderr.splitlines() if "root" not in line and line]
    check(result.returncode == 0 and not noise, f"tshark {file}: {result.returncode}, {noise}")
    return [line.split("|") for line in result.stdout.splitlines()]


def capinfos(file):
    """Number of packets."""
    result = subprocess.run(["capinfos", "-Mcr", file], capture_output=True, text=True, check=False)
    check(result.returncode == 0, f"capinfos {file}: {result.stderr}")
    return int(next(line.split()[-1] for line in result.stdout.splitlines() if line.startswith("Number of packets")))
