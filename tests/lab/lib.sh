# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash disable=SC2119,SC2120 # arguments are optional
# What lab tests share: source this first. It ends the test at the first command that fails, and shows what the guest
# said if it does.
#
# A test is a bash script that runs as root on a host with KVM, in network, process and mount namespaces and an empty
# working directory of its own, so nothing needs to be cleaned up. $VMM is what is tested: a path, build/vwire unless
# told otherwise; or the word qemu, to see whether a test is right before there is something to test.
#
# The size of the work: small by default, what a release is held to with LAB_FULL=1.
set -euo pipefail

here=$VWIRE_SRC/tests/lab
: "${VMM:=$VWIRE_BUILD/vwire}"
: "${LAB_FULL:=}"
export VWIRE_ACCOUNTS=1

fail() {
	echo "FAIL: $*"
	exit 1
}

skip() {
	echo "$*"
	exit 77
}

# full A B: A if the full size was asked for, else B
full() {
	[ -n "$LAB_FULL" ] && echo "$1" || echo "$2"
}

# part NAME: a test of several parts is to run this one; LAB_PART, a pattern, chooses some
part() {
	# shellcheck disable=SC2053 # a pattern
	[[ -z ${LAB_PART:-} || $1 = $LAB_PART ]] || return 1
	echo "-- $1, after $SECONDS s"
}

# All time limits are multiplied by this. LAB_SLOWER tells of a host whose own time says little.
patience=$(full 8 "${LAB_SLOWER:-1}")

# within SECONDS COMMAND...: try until it succeeds
within() {
	local end=$((SECONDS + $1 * patience))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.1
	done
}

# --- the network ---------------------------------------------------------------------------------------------------

# tap_up NAME ADDRESS/LENGTH...: a persistent tap, up
tap_up() {
	local tap=$1 address
	shift
	ip tuntap add dev "$tap" mode tap
	for address; do
		ip address add "$address" dev "$tap" nodad 2>/dev/null || ip address add "$address" dev "$tap"
	done
	ip link set "$tap" up
}

# wire user|tap: choose the backend, make what it needs, and set
#   netdev   its -netdev option, to which a test may add ",key=value"
#   guest    the address of the guest      host    the address by which the guest reaches this host
wire() {
	wire=$1
	case $wire in
	user) netdev=user,id=net0 guest=10.0.2.15 host=10.0.2.2 ;;
	tap)
		netdev=tap,id=net0,ifname=tap0,script=no,downscript=no guest=192.168.99.2 host=192.168.99.1
		[ -e /proc/sys/net/ipv4/conf/tap0 ] || tap_up tap0 192.168.99.1/24 fd00:99::1/64
		;;
	esac
}

# on_each_wire FUNCTION: call it over user networking and over a tap, with one vCPU and with two ($cpus); a short run
# takes one of each
on_each_wire() {
	local pair pairs="user/1 tap/2"
	[ -z "$LAB_FULL" ] || pairs="user/1 user/2 tap/1 tap/2"
	for pair in $pairs; do
		cpus=${pair#*/}
		wire "${pair%/*}"
		echo "-- $wire, $cpus vCPU"
		"$1"
	done
}

# serve: the folder www, and the programs in www/cgi-bin, by HTTP on port 8000, where `fetch` in the guest finds it
serve() {
	mkdir -p www/cgi-bin
	[ -n "${httpd:-}" ] && return
	busybox httpd -f -h www -p 8000 &
	httpd=$!
}

# host_done: let the guest go on from until_host_done
host_done() {
	echo "done" >www/done
}

# reach tcp|udp PORT: before vm_start; $at will be the ADDRESS:PORT by which this host reaches that port of the guest
reach() {
	at=$guest:$2
	[ "$wire" = user ] || return 0
	at=127.0.0.1:$((20000 + $2))
	netdev+=",hostfwd=$1:$at-:$2"
}

# random_file PATH MIB: bytes that do not compress, a mebibyte of them again and again
random_file() {
	local i
	head -c 1048576 /dev/urandom >"$1.mib"
	for ((i = 0; i < $2; i++)); do
		cat "$1.mib"
	done >"$1"
	rm "$1.mib"
}

# dhcp_serve NAME: give $guest to who asks on that interface
dhcp_serve() {
	cat >udhcpd.conf <<-END
		start $guest
		end $guest
		interface $1
		lease_file /dev/null
		pidfile $PWD/udhcpd.pid
		option subnet 255.255.255.0
		option router $host
		option dns $host
		option domain lab.test
	END
	busybox udhcpd -f -S udhcpd.conf >udhcpd.log 2>&1 &
}

# --- the guest -----------------------------------------------------------------------------------------------------

# What vm_start takes beside its arguments; a test changes what it needs.
memory=256       # MiB
cpus=1
nic=virtio-net-pci,netdev=net0
append=''        # more words for the guest's kernel
address=static   # or dhcp: how `network` in the guest gets its address
tools=()         # programs of this machine that the guest needs
serial=stdio     # the console: its output is the file vm.log
reboot=-no-reboot
kernel=          # another file than Debian's kernel as an ELF file

vmm_command() {
	case $VMM in
	qemu)
		# shellcheck disable=SC2054 # commas of QEMU's
		vmm=(qemu-system-x86_64 -M pc -accel kvm -cpu host -global virtio-net-pci.romfile=
			-monitor unix:monitor,server=on,wait=off)
		;;
	*) vmm=("$VMM" -cpu host) ;;
	esac
}

# bzimage: the path of Debian's kernel
bzimage() {
	echo "$("$here/kernel")"/boot/vmlinuz-*
}

# elf_kernel: the path of what that unpacks itself to, which spares each guest three quarters of its boot, the unpacking; read once by a
# lab host, which has its files from afar
elf_kernel() {
	local elf
	elf=$("$here/kernel")/boot/vmlinux
	[ -s "$elf" ] || elf=$(bzimage)
	[ -n "${LAB:-}" ] || { echo "$elf" && return; }
	[ -e /dev/shm/vmlinux ] || { cp "$elf" /dev/shm/vmlinux.$$ && mv /dev/shm/vmlinux.$$ /dev/shm/vmlinux; }
	echo /dev/shm/vmlinux
}

# vm_start [OPTION...]: start a guest that runs the script on stdin; $vm is the VMM's process
vm_start() {
	local tool image=()
	for tool in "${tools[@]}"; do
		image+=(-t "$tool")
	done
	cat >guest.sh
	"$here/image" -s guest.sh "${image[@]}" -o guest.cpio
	[ ! -d www ] || rm -f www/done
	vmm_command
	: >vm.log # now: what comes behind vm_start must not find what the guest before said
	# shellcheck disable=SC2086 # $reboot may be empty
	"${vmm[@]}" -m "$memory" -smp "$cpus" -nodefaults -nographic -serial "$serial" $reboot \
		-kernel "${kernel:-$(elf_kernel)}" -initrd guest.cpio \
		-append "console=ttyS0 panic=-1 quiet cryptomgr.notests address=${address/static/$guest} host=$host patience=$patience $append" \
		-netdev "$netdev" -device "$nic" "$@" >vm.log 2>vm.err </dev/null &
	vm=$!
}

vm_show() {
	echo "--- the guest's console, last lines:"
	# less what the firmware does to the terminal
	tail -n 40 vm.log | sed 's/\x1bc//g; s/\x1b\[[?0-9;]*[a-zA-Z]//g; s/\r//g'
	echo "--- the VMM's stderr:"
	grep -v '^account ' vm.err | tail -n 20
}

vm_running() {
	kill -0 "$vm" 2>/dev/null
}

vm_said() {
	tr -d '\r' 2>/dev/null <vm.log | grep -qE "$1"
}

# vm_expect REGEX [SECONDS]: wait until the guest's console shows it
vm_expect() {
	local end=$((SECONDS + ${2:-60} * patience))
	until vm_said "$1"; do
		if vm_said '^FAIL'; then
			fail "the guest says: $(tr -d '\r' <vm.log | grep -m 1 '^FAIL')"
		elif ! vm_running; then
			vm_said "$1" || fail "the VMM ended before the guest said: $1"
		elif [ $SECONDS -ge $end ]; then
			fail "the guest did not say in ${2:-60} s: $1"
		fi
		sleep 0.1
	done
}

# vm_press: press the guest's power button
vm_press() {
	if [ "$VMM" = qemu ]; then
		echo system_powerdown | socat -t 1 - unix:monitor >/dev/null
	else
		kill -TERM "$vm"
	fi
}

# vm_exit [STATUS [SECONDS]]: wait for the VMM to end with this status; the frame accounts must balance
vm_exit() {
	local status=0 end=$((SECONDS + ${2:-60} * patience))
	while vm_running; do
		[ $SECONDS -lt $end ] || fail "the VMM still runs after ${2:-60} s"
		sleep 0.1
	done
	wait "$vm" || status=$?
	vm=
	[ $status = "${1:-0}" ] || fail "exit status $status, expected ${1:-0}"
	! vm_said '^FAIL' || fail "the guest says: $(tr -d '\r' <vm.log | grep -m 1 '^FAIL')"
	[ "$VMM" = qemu ] || accounts_balance vm.err
}

# vm_end [SECONDS]: the guest's script must come to a good end, then all as above
vm_end() {
	vm_exit 0 "${1:-60}"
	vm_said '^GUEST STATUS 0' || fail "the guest's script failed"
}

# accounts_balance FILE: every net client's account in there must say where each frame went. The lines are
# account {"client":NAME,"dir":"tx|rx","in":N,"made":N,"out":N,"held":N,"dropped":{REASON:N,...}}
accounts_balance() {
	python3 - "$1" <<-'END' || fail "the frame accounts do not balance"
		import json, sys

		found = lost = 0
		for line in open(sys.argv[1], errors="replace"):
		    if not line.startswith("account "):
		        continue
		    found += 1
		    account = json.loads(line[len("account "):])
		    given = account["in"] + account["made"]
		    gone = account["out"] + account["held"] + sum(account["dropped"].values())
		    if given != gone:
		        lost += 1
		        print(f"in + made is {given}, out + held + dropped is {gone}: {line.rstrip()}")
		if not found:
		    print(f"{sys.argv[1]} has no account")
		sys.exit(lost > 0 or not found)
	END
}

# dropped REASON [FILE]: how many frames all clients together dropped for it
dropped() {
	sed -n 's/^account //p' "${2:-vm.err}" |
		python3 -c 'import json, sys; print(sum(json.loads(l)["dropped"].get(sys.argv[1], 0) for l in sys.stdin))' "$1"
}

vm=
lab_exit() { # STATUS
	if [ "$1" != 0 ] && [ "$1" != 77 ] && [ -e vm.log ]; then
		vm_show
	fi
	[ -z "$vm" ] || kill -9 "$vm" 2>/dev/null || true
	[ -z "${httpd:-}" ] || kill "$httpd" 2>/dev/null || true
}
trap 'lab_exit $?' EXIT
