/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of all kinds of devices and backends: a new one is one new file and one line here. */
#include "ctl/types.h"

#include <string.h>

#include "backend/af_xdp.h"
#include "backend/bridge.h"
#include "backend/dgram.h"
#include "backend/l2tpv3.h"
#include "backend/passt.h"
#include "backend/socket.h"
#include "backend/stream.h"
#include "backend/tap.h"
#include "backend/user.h"
#include "backend/vde.h"
#include "char/char_file.h"
#include "char/char_pty.h"
#include "char/char_socket.h"
#include "char/char_stdio.h"
#include "char/type.h"
#include "net/hub.h"
#include "nic/e1000.h"
#include "nic/rtl8139.h"
#include "nic/virtio_net.h"
#include "nic/virtio_net_pci.h"
#include "net/filter.h"
#include "net/filter_buffer.h"
#include "net/filter_dump.h"
#include "net/filter_impair.h"
#include "net/filter_mirror.h"
#include "net/filter_redirector.h"
#include "object/creatable.h"
#include "object/device.h"
#include "object/iothread.h"
#include "pci/pci.h"
#include "virtio/virtio_mmio.h"
#include "virtio/virtio_pci.h"

/* clang-format off */
const struct type *const all_types[] = {
	&type_object,
	&type_user_creatable,
	&type_iothread,
	&type_netfilter,
	&type_filter_buffer,
	&type_filter_dump,
	&type_filter_impair,
	&type_filter_mirror,
	&type_filter_redirector,
	&type_device,
	&type_pci_device,
	&type_pci_host_bridge,
	&type_e1000_base,
	&type_e1000,
	&type_e1000_82544gc,
	&type_e1000_82545em,
	&type_rtl8139,
	&type_virtio_device,
	&type_virtio_mmio,
	&type_virtio_pci,
	&type_virtio_net,
	&type_virtio_net_pci,
	&type_virtio_net_pci_non_transitional,
	&type_virtio_net_pci_transitional,
	NULL,
};
/* clang-format on */

/* What QEMU has and vwire has not yet: known, so that the answer is better than a guess at a typing error. */
#define NOT_YET(sym, text, instead) \
	static const struct netdev_type not_yet_##sym = { .name = text, .unsupported = instead }

NOT_YET(channel, "channel", "use guestfwd= of user");
NOT_YET(netmap, "netmap",
	"Linux has none; use af-xdp for a queue of an interface past the host's stack, or vde for a switch");
NOT_YET(vhost_user, "vhost-user", "use stream or dgram for frames to another program");
NOT_YET(vhost_vdpa, "vhost-vdpa", "use tap or af-xdp for frames to an interface of the host");

/* clang-format off */
const struct netdev_type *const netdev_types[] = {
	&af_xdp_netdev,
	&bridge_netdev,
	&dgram_netdev,
	&hubport_netdev,
	&l2tpv3_netdev,
	&passt_netdev,
	&socket_netdev,
	&stream_netdev,
	&tap_netdev,
	&user_netdev,
	&vde_netdev,
	&not_yet_channel,
	&not_yet_netmap,
	&not_yet_vhost_user,
	&not_yet_vhost_vdpa,
	NULL,
};
/* clang-format on */

/* Of QEMU's character devices too. */
#define NO_CHARDEV(sym, text, instead) \
	static const struct chardev_type no_chardev_##sym = { .name = text, .unsupported = instead }

NO_CHARDEV(udp, "udp", "use socket; datagrams have no one at the other end");
NO_CHARDEV(serial, "serial", "let socat stand between the host's serial port and a socket");
NO_CHARDEV(parallel, "parallel", "there is no parallel port");
NO_CHARDEV(ringbuf, "ringbuf", "use file");
NO_CHARDEV(mux, "mux", "a character device has one front end here; make one for each");
NO_CHARDEV(vc, "vc", "there is no display; use stdio or pty");

/* clang-format off */
const struct chardev_type *const chardev_types[] = {
	&chardev_file,
	&chardev_null,
	&chardev_pipe,
	&chardev_pty,
	&chardev_socket,
	&chardev_stdio,
	&no_chardev_udp,
	&no_chardev_serial,
	&no_chardev_parallel,
	&no_chardev_ringbuf,
	&no_chardev_mux,
	&no_chardev_vc,
	NULL,
};
/* clang-format on */

#define OTHER_NIC  "use virtio-net-pci, for which Linux has the driver, or e1000"
#define NO_DISKS   "there are no disks; put what the guest needs into -initrd, or use its network"
#define NO_DISPLAY "there is no display; use -serial"
#define NO_USB	   "there is no USB"
#define NO_RANDOM  "there is no random number device; the guest has the processor's instructions"
#define NO_BRIDGES "there is one PCI bus, pci.0; leave the bridge and bus= out"

/* clang-format off */
const struct unoffered unoffered_devices[] = {
	{ "AC97", "there is no sound" },
	{ "VGA", NO_DISPLAY },
	{ "e1000e", OTHER_NIC },
	{ "igb", OTHER_NIC },
	{ "i82550", OTHER_NIC },
	{ "i82551", OTHER_NIC },
	{ "i82557b", OTHER_NIC },
	{ "i82559er", OTHER_NIC },
	{ "ich9-intel-hda", "there is no sound" },
	{ "ide-cd", NO_DISKS },
	{ "ide-hd", NO_DISKS },
	{ "intel-hda", "there is no sound" },
	{ "intel-iommu", "there is no IOMMU" },
	{ "ioh3420", NO_BRIDGES },
	{ "isa-debug-exit", "a guest ends by powering off" },
	{ "ne2k_isa", OTHER_NIC },
	{ "ne2k_pci", OTHER_NIC },
	{ "nvme", NO_DISKS },
	{ "pci-bridge", NO_BRIDGES },
	{ "pcie-root-port", NO_BRIDGES },
	{ "pcnet", OTHER_NIC },
	{ "pvpanic", "it is there already" },
	{ "qemu-xhci", NO_USB },
	{ "qxl-vga", NO_DISPLAY },
	{ "scsi-hd", NO_DISKS },
	{ "tulip", OTHER_NIC },
	{ "usb-ehci", NO_USB },
	{ "usb-kbd", NO_USB },
	{ "usb-net", "there is no USB; use virtio-net-pci" },
	{ "usb-tablet", NO_USB },
	{ "vfio-pci", "the host's own cards are not handed to the guest; use tap, or af-xdp for a queue of one" },
	{ "vhost-vsock-pci", "there are no vsocks; use the guest's network" },
	{ "virtio-9p-pci", "there are no shared folders; use the guest's network" },
	{ "virtio-balloon", "the guest's memory is -m's" },
	{ "virtio-balloon-pci", "the guest's memory is -m's" },
	{ "virtio-blk", NO_DISKS },
	{ "virtio-blk-pci", NO_DISKS },
	{ "virtio-gpu-pci", NO_DISPLAY },
	{ "virtio-rng", NO_RANDOM },
	{ "virtio-rng-pci", NO_RANDOM },
	{ "virtio-scsi-pci", NO_DISKS },
	{ "virtio-serial-pci", "use -serial, or the guest's network" },
	{ "virtio-vga", NO_DISPLAY },
	{ "vmxnet3", OTHER_NIC },
	{ NULL, NULL },
};

const struct unoffered unoffered_objects[] = {
	{ "colo-compare", "there is no COLO: no second guest runs in step with the first" },
	{ "filter-replay", "there is no record and replay; filter-dump writes frames down" },
	{ "filter-rewriter", "there is no COLO: no second guest runs in step with the first" },
	{ "memory-backend-file", "guest memory is anonymous; its size is -m's" },
	{ "memory-backend-memfd", "guest memory is anonymous; its size is -m's" },
	{ "memory-backend-ram", "guest memory is made by -m" },
	{ "rng-builtin", "there is no random number device" },
	{ "rng-random", "there is no random number device" },
	{ "secret", "nothing needs a password" },
	{ "tls-creds-x509", "there is no TLS" },
	{ NULL, NULL },
};
/* clang-format on */

const char *unoffered_why(const struct unoffered *table, const char *name)
{
	for (; table->name; table++) {
		if (!strcmp(table->name, name))
			return table->why;
	}
	return NULL;
}
