# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2034
# The peers: peer NAME sets everything for that name. Runs in the emulated host (busybox sh).
#
#   net  tap | user      ip  the guest's address      gw  the host's, as the guest sees it
#   flows  agents that work at once, each on a processor and a pair of queues of the guest's
#   vmm  the command line, words separated by blanks; @APPEND@ is the guest's kernel command line
#
# All else (kernel, initramfs, memory, one vCPU, tests) is the same for all. A peer that is called vwire... is held to
# the targets and must not drop a frame.
peer_names="qemu qemu-vhost qemu-user vwire vwire-user"
peer_others="qemu-q35 qemu-microvm qemu-e1000 qemu-rtl8139 vwire-e1000 vwire-rtl8139 qemu-2q qemu-vhost-2q vwire-2q"

guest_options="-m $MEMORY -kernel /guest/vmlinuz -initrd /guest/initramfs -append @APPEND@"
two_queues="-smp 2 -netdev tap,id=n,ifname=tap1,script=/tap-up,downscript=no,queues=2"
qemu="qemu-system-x86_64 -accel kvm -cpu host -display none -no-reboot -nodefaults -serial stdio $guest_options"
vwire="/vmm/vwire -cpu host -nographic -no-reboot -nodefaults -serial stdio $guest_options $VWIRE_ARGS"
tap="-netdev tap,id=n,ifname=tap0,script=no,downscript=no"

peer() {
	net=tap ip=192.168.99.2 gw=192.168.99.1 flows=1
	case $1 in
	*-2q) ip=192.168.98.2 gw=192.168.98.1 flows=2 ;;
	*-user) net=user ip=10.0.2.15 gw=10.0.2.2 ;;
	esac
	case $1 in
	vwire) vmm="$vwire $tap -device virtio-net-pci,netdev=n" ;;
	vwire-user) vmm="$vwire -netdev user,id=n -device virtio-net-pci,netdev=n" ;;
	vwire-e1000) vmm="$vwire $tap -device e1000,netdev=n" ;;
	vwire-rtl8139) vmm="$vwire $tap -device rtl8139,netdev=n" ;;
	qemu) vmm="$qemu -M pc $tap,vhost=off -device virtio-net-pci,netdev=n,romfile=" ;;
	qemu-vhost) vmm="$qemu -M pc $tap,vhost=on -device virtio-net-pci,netdev=n,romfile=" ;;
	qemu-user) vmm="$qemu -M pc -netdev user,id=n -device virtio-net-pci,netdev=n,romfile=" ;;
	qemu-q35) vmm="$qemu -M q35 $tap,vhost=off -device virtio-net-pci,netdev=n,romfile=" ;;
	qemu-microvm) vmm="$qemu -M microvm $tap,vhost=off -device virtio-net-device,netdev=n" ;;
	qemu-e1000) vmm="$qemu -M pc $tap -device e1000,netdev=n,romfile=" ;;
	qemu-rtl8139) vmm="$qemu -M pc $tap -device rtl8139,netdev=n,romfile=" ;;
	vwire-2q) vmm="$vwire $two_queues -device virtio-net-pci,netdev=n,mq=on" ;;
	qemu-2q) vmm="$qemu -M pc $two_queues,vhost=off -device virtio-net-pci,netdev=n,romfile=,mq=on" ;;
	qemu-vhost-2q) vmm="$qemu -M pc $two_queues,vhost=on -device virtio-net-pci,netdev=n,romfile=,mq=on" ;;
	*) return 1 ;;
	esac
}

# measure PEER TESTS: start it twice, for its start and for the tests
measure() {
	name=$1 tests=$2
	peer "$name" || return
	# ICMP needs a way in.
	[ $net = tap ] || tests=$(echo "$tests" | tr , '\n' | grep -v '^icmp' | tr '\n' , | sed 's/,$//')
	append="console=ttyS0 quiet panic=-1 reboot=k ipv6.disable=1 labip=$ip labgw=$gw labflows=$flows"
	set --
	for word in $vmm; do
		[ "$word" != @APPEND@ ] || word=$append
		set -- "$@" "$word"
	done
	netload start -t "$name" -- "$@"
	netload run -t "$name" -f $flows -g $ip -m "$MEMORY" -T "$tests" -- "$@"
}
