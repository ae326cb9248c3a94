# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# panel.sh: for tests in which vwire and QEMU, both without a guest, stand at the two ends of a wire: each joins it to a
# tap, whose interface is in a network namespace of its own.
#
#   panel_begin                  namespaces $net (the wire, with 10.1.0.1 on an interface), $net-a, $net-b, ...
#   panel PROGRAM SIDE NETDEV    vwire or qemu: backend NETDEV and a tap, 10.9.8.N/24 in $net-SIDE (a: 1, b: 2, ...)
#   panel_kill SIDE              by SIGKILL; its namespace goes with it
#   pings FROM TO                both sizes, no loss
#   copies FROM TO BYTES         by TCP, the checksum is right
#   panel_end                    every vwire ends well, and its accounts balance
#
# Call needs_panel first: it ends the test if something is missing.
PATH=$PATH:/usr/sbin:/sbin
net=vw$$ sides=() pids=()

needs_panel() {
	[ "$(id -u)" = 0 ] || { echo "needs root, for network namespaces"; exit 77; }
	command -v qemu-system-x86_64 >/dev/null || { echo "needs the package qemu-system-x86"; exit 77; }
	command -v socat >/dev/null || { echo "needs the package socat"; exit 77; }
}

panel_cleanup() {
	local p
	for p in "${pids[@]}"; do
		kill "$p" 2>/dev/null || true
	done
	for p in "" "${sides[@]/#/-}"; do
		ip netns del "$net$p" 2>/dev/null || true
	done
}

until_true() { # COMMAND...: within half a minute
	local i
	for ((i = 0; i < 600; i++)); do
		if "$@"; then return; fi
		sleep 0.05
	done
	echo "in vain: $*"
	tail -n 20 ./*.log
	exit 1
}

panel_begin() {
	trap panel_cleanup EXIT
	ip netns add "$net"
	ip -n "$net" link set lo up
	ip -n "$net" link add w0 type veth peer name w1
	ip -n "$net" addr add 10.1.0.1/24 dev w0
	ip -n "$net" link set w0 up
	ip -n "$net" link set w1 up
}

in_side() { # SIDE COMMAND...
	ip netns exec "$net-$1" "${@:2}"
}

side_address() { # SIDE
	echo "10.9.8.$(($(printf '%d' "'$1") - 96))"
}

panel() { # PROGRAM SIDE NETDEV
	local args=(-machine none -netdev "$3,id=w" -netdev "hubport,id=p0,hubid=0,netdev=w"
		-netdev "tap,id=t,ifname=t$2,script=no,downscript=no" -netdev "hubport,id=p1,hubid=0,netdev=t")
	case $1 in
	vwire) VWIRE_ACCOUNTS=1 ip netns exec "$net" "$VWIRE_BUILD/vwire" "${args[@]}" 2>"$2.log" & ;;
	qemu) ip netns exec "$net" qemu-system-x86_64 -nodefaults -display none "${args[@]}" 2>"$2.log" & ;;
	esac
	pids+=($!)
	sides+=("$2")
	ip netns add "$net-$2"
	until_true ip -n "$net" link set "t$2" netns "$net-$2" 2>/dev/null
	in_side "$2" sysctl -qw net.ipv6.conf.all.disable_ipv6="${DISABLE_IPV6:-1}"
	ip -n "$net-$2" addr add "$(side_address "$2")/24" dev "t$2"
	ip -n "$net-$2" link set "t$2" up
	eval "program_$2=$1"
}

panel_kill() { # SIDE
	local i
	for i in "${!sides[@]}"; do
		[ "${sides[i]}" = "$1" ] || continue
		kill -9 "${pids[i]}"
		wait "${pids[i]}" 2>/dev/null || true
		unset "sides[i]" "pids[i]"
	done
	ip netns del "$net-$1"
}

whole_ping() { # FROM ADDRESS SIZE
	in_side "$1" ping -q -c 20 -i 0.01 -W 10 -s "$3" "$2" >answers
	grep -q ' 0% packet loss' answers
}

# On a busy machine ping does not wait for a last answer that is late: then all of it once more.
pings() { # FROM TO
	local to size
	to=$(side_address "$2")
	until_true in_side "$1" ping -q -c 1 -W 1 "$to" >/dev/null
	for size in 56 1400; do
		until_true whole_ping "$1" "$to" $size
	done
}

copies() { # FROM TO BYTES
	local receiver
	head -c "$3" /dev/urandom >sent
	in_side "$2" timeout 50 socat -u TCP-LISTEN:9009,reuseaddr CREATE:received &
	receiver=$!
	until_true in_side "$2" sh -c 'ss -ltn | grep -q :9009'
	in_side "$1" timeout 50 socat -u OPEN:sent "TCP:$(side_address "$2"):9009"
	wait $receiver
	cmp sent received
	echo "$3 bytes from $1 to $2"
}

panel_end() {
	local i program
	for i in "${!sides[@]}"; do
		program=program_${sides[i]}
		kill "${pids[i]}"
		if [ "${!program}" = vwire ]; then
			wait "${pids[i]}"
			python3 - "${sides[i]}.log" <<-'END'
				import json, sys
				lines = [json.loads(line[8:]) for line in open(sys.argv[1]) if line.startswith("account ")]
				for a in lines:
				    if a["in"] + a["made"] != a["out"] + a["held"] + sum(a["dropped"].values()):
				        sys.exit(f"does not balance: {a}")
				sys.exit(0 if len(lines) >= 8 else f"{len(lines)} accounts")
			END
		else
			wait "${pids[i]}" || true
		fi
		ip netns del "$net-${sides[i]}"
	done
	ip netns del "$net"
	sides=() pids=()
}
