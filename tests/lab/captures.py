# SPDX-License-Identifier: BSD-2-Clause
"""captures.py watched|impaired GUEST-MAC HOST-MAC: what filters.test has captured at the NIC (near) and at the backend (far)
is what the accounts in vm.err say, and what the filters in between ought to make of it."""
import json
import os
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["VWIRE_SRC"], "tests/wire"))
from panel import *  # noqa: E402,F403

GUEST, HOST = sys.argv[2:]
TO_HOST, TO_GUEST = "0x00000002", "0x00000001"  # pcapng's outbound and inbound
INTERVAL = 0.02  # of the filter-buffer, seconds
FIELDS = ["frame.packet_flags_direction", "frame.comment", "eth.src", "eth.type", "_ws.malformed"]
SUMS = ["ip", "tcp", "udp", "icmp"]


def rows_of(file):
    extra = [word for p in ("ip", "tcp", "udp") for word in ("-o", p + ".check_checksum:TRUE")]
    rows = tshark(file, *FIELDS, *(p + ".checksum.status" for p in SUMS), extra=extra)
    return [dict(zip(["direction", "comment", "source", "type", "malformed", *SUMS], row)) for row in rows]


def frames_of(file):
    """(seconds, bytes) of each, by its sender."""
    with open(file, "rb") as f:
        data = f.read()
    at, frames = 24, {GUEST: [], HOST: []}
    while at < len(data):
        seconds, micros, kept, _ = struct.unpack_from("<4I", data, at)
        frame = data[at + 16:at + 16 + kept]
        frames[frame[6:12].hex(":")].append((seconds + micros / 1e6, frame))
        at += 16 + kept
    return frames


def accounts():
    found = {}
    for line in open("vm.err"):
        if line.startswith("account "):
            a = json.loads(line[8:])
            found[a["client"], a["dir"]] = a
    return found


def count(rows, direction):
    return sum(row["direction"] == direction for row in rows)


def a_wire_and_no_more(rows):
    """Frames from its two ends, of protocols that they speak: no vnet header is taken for one."""
    for row in rows:
        source = GUEST if row["direction"] == TO_HOST else HOST
        check(row["source"] == source and row["type"] in ("0x0800", "0x0806", "0x86dd") and not row["malformed"], f"{row}")


def checksums(rows):
    """Right, or said to be partial; returns how many are."""
    left = 0
    for row in rows:
        partial = "checksum partial" in row["comment"]
        left += partial
        for protocol in SUMS:
            check(row[protocol] in ("", "1") or (partial and protocol in ("tcp", "udp")), f"a wrong one of {protocol}: {row}")
    return left


def as_accounted(rows, given, got):
    equal((count(rows, TO_HOST), count(rows, TO_GUEST)), (given["out"], got["in"]), "frames from and to the guest")
    a_wire_and_no_more(rows)


def buffered(came, went, held):
    """The same, in the same order, none before it came; but for those that it held at the end."""
    equal(len(went), len(came) - held, "frames through the filter-buffer")
    check([f for _, f in went] == [f for _, f in came[:len(went)]], "others came out of the filter-buffer")
    check(all(w >= c for (c, _), (w, _) in zip(came, went)), "some left it before they came")


def in_bursts(frames):
    pings = [t for t, f in frames if f[12:14] == b"\x08\0" and f[23] == 1]
    bursts = 1 + sum(y - x > INTERVAL / 4 for x, y in zip(pings, pings[1:]))
    most = (pings[-1] - pings[0]) / INTERVAL + 2
    check(len(pings) >= 60 and bursts <= most, f"{len(pings)} pings in {bursts} bursts, {most} at most")


def watched(a):
    """far, filter-buffer, filter-mirror, near: long frames with offloads to be done."""
    rows = rows_of("near.pcapng")
    as_accounted(rows, a["nic", "tx"], a["nic", "rx"])
    for direction in (TO_HOST, TO_GUEST):
        check(checksums([r for r in rows if r["direction"] == direction]), f"{direction}: nothing was left to offload")
        check(any(r["direction"] == direction and "to be cut" in r["comment"] for r in rows), f"{direction}: no long frames")
    near, far, copies = map(frames_of, ("near.pcap", "far.pcap", "mirror.pcap"))
    for file, frames in (("near.pcap", near), ("far.pcap", far), ("mirror.pcap", copies)):
        equal(capinfos(file), len(frames[GUEST]) + len(frames[HOST]), file)
    equal(capinfos("near.pcap"), len(rows), "frames in near.pcap and near.pcapng")
    buffered(near[GUEST], far[GUEST], a["buffer:peer", "rx"]["held"])
    buffered(far[HOST], near[HOST], a["buffer:netdev", "rx"]["held"])
    in_bursts(far[GUEST])
    check(not copies[HOST], "copies of what was not asked for")
    own, at = [f for _, f in near[GUEST]], 0
    for _, copy in copies[GUEST]:
        check(copy in own[at:], "a copy of no frame, or out of order")
        at = own.index(copy, at) + 1
    check(len(copies[GUEST]) > 60, f"{len(copies[GUEST])} copies")


def impaired(a):
    """far, filter-impair, near: what it takes is cut and has its checksums."""
    near, far = rows_of("near.pcapng"), rows_of("far.pcapng")
    as_accounted(near, a["nic", "tx"], a["nic", "rx"])
    as_accounted(far, a["net0", "rx"] | {"out": a["net0", "rx"]["in"]}, {"in": a["net0", "tx"]["out"]})
    for direction, giver, came, went in ((TO_HOST, "impair:peer", near, far), (TO_GUEST, "impair:netdev", far, near)):
        lost = a[giver, "rx"]["dropped"].get("impaired", 0)
        equal(count(went, direction), count(came, direction) - lost, "frames behind the filter-impair")
        check(lost, f"{giver}: none was lost")
        equal(checksums([r for r in went if r["direction"] == direction]), 0, "checksums that are to be done behind it")


try:
    {"watched": watched, "impaired": impaired}[sys.argv[1]](accounts())
except Failure as failure:
    sys.exit(f"FAIL  {failure}")
