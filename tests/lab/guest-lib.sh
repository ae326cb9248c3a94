# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2119,SC2120 # arguments are optional
# Functions for the scripts that run in a test guest (busybox sh).

# say WORD...: a line that the host side of the test looks for
say() {
	echo "SAY $*"
}

# fail WORD...: the test is lost; say why and end the guest
fail() {
	echo "FAIL $*"
	exit 1
}

# param NAME: the value of NAME=VALUE on the kernel command line
param() {
	tr ' ' '\n' </proc/cmdline | sed -n "s/^$1=//p"
}

# within SECONDS COMMAND...: try until it succeeds
within() {
	tries=$(($1 * $(param patience) * 5))
	shift
	until "$@"; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || return 1
		usleep 200000
	done
}

has_carrier() {
	[ "$(cat /sys/class/net/"$1"/carrier 2>/dev/null)" = 1 ]
}

# wait_nic [NAME]: bring the NIC up and wait for its carrier
wait_nic() {
	nic=${1:-eth0}
	within 10 test -e /sys/class/net/"$nic" || fail "no $nic"
	ifconfig "$nic" up
	within 10 has_carrier "$nic" || fail "no carrier on $nic"
}

# lease [NAME]: an address by DHCP
lease() {
	udhcpc -i "${1:-eth0}" -s /etc/udhcpc -n -q -t 10 -T 1 -x hostname:"$(hostname)" 2>&1 | grep -i -E 'lease|fail'
	ifconfig "${1:-eth0}" | grep -q 'inet addr'
}

# network: what the host side chose in vm_start: address=dhcp, or an address, with host= its router
network() {
	wait_nic
	address=$(param address)
	if [ "$address" = dhcp ]; then
		lease || fail "no lease"
	else
		ifconfig eth0 "$address" netmask 255.255.255.0 up
		route add default gw "$(param host)"
	fi
}

# fetch PATH: from the host's HTTP server to stdout
fetch() {
	wget -q -O - "http://$(param host):8000/$1"
}

# until_host_done [SECONDS]: wait for the other side's host_done
until_host_done() {
	# A connection may be lost in the middle, with nobody left who would say so.
	within "${1:-120}" timeout 15 wget -q -O /dev/null "http://$(param host):8000/done" 2>/dev/null || fail "the host side of the test did not end"
}

# quiet_nics: before the guest powers off. Linux 6.1.192 breaks the queues of a virtio NIC at shutdown and leaves it up, and
# a sender may then wait for ever: see reboot.test.
quiet_nics() {
	for nic in /sys/class/net/*; do
		ifconfig "${nic##*/}" down
	done
}
