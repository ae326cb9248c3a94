# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2034
# The peers: peer NAME sets everything for that name. Runs in the emulated host (busybox sh).
#
#   net  tap | user      ip  the guest's address      gw  the host's, as the guest sees it
#   vmm  the command line, words separated by blanks; @APPEND@ is the guest's kernel command line
#
# All else (kernel, initramfs, memory, one vCPU, tests) is the same for all. A peer that is called vwire... is held to
# the targets and must not drop a frame.
peer_names="qemu qemu-vhost qemu-user vwire vwire-user"
peer_others="qemu-q35 qemu-microvm qemu-e1000 qemu-rtl8139 vwire-e1000 vwire-rtl8139"

guest_options="-m $MEMORY -smp 1 -kernel /guest/vmlinuz -initrd /guest/initramfs -append @APPEND@"
qemu="qemu-system-x86_64 -accel kvm -cpu host -display none -no-reboot -nodefaults -serial stdio $guest_options"
vwire="/vmm/vwire -cpu host -nographic -no-reboot -nodefaults -serial stdio $guest_options $VWIRE_ARGS"
tap="-netdev tap,id=n,ifname=tap0,script=no,downscript=no"

peer() {
	net=tap ip=192.168.99.2 gw=192.168.99.1
	case $1 in
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
	*) return 1 ;;
	esac
}

# measure PEER TESTS: start it twice, for its start and for the tests
measure() {
	name=$1 tests=$2
	peer "$name" || return
	# ICMP needs a way in.
	[ $net = tap ] || tests=$(echo "$tests" | tr , '\n' | grep -v '^icmp' | tr '\n' , | sed 's/,$//')
	append="console=ttyS0 quiet panic=-1 reboot=k ipv6.disable=1 labip=$ip labgw=$gw"
	set --
	for word in $vmm; do
		[ "$word" != @APPEND@ ] || word=$append
		set -- "$@" "$word"
	done
	netload start -t "$name" -- "$@"
	netload run -t "$name" -g $ip -m "$MEMORY" -T "$tests" -- "$@"
}
