/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rtl8139: Realtek's RTL8139C+ (revision 0x20) and RTL8139C (revision 0x10). RTL8139C(L)+ data sheet, chapters 5
 * (registers), 6 (EEPROM), 9 (descriptors); RTL8139(A/B) Programming Guide.
 *
 *	rtl8139.c		life, properties, the net client
 *	rtl8139_regs.c		the register file
 *	rtl8139_intr.c		interrupt status and mask, the timer
 *	rtl8139_eeprom.c	9346CR, what is loaded from the EEPROM
 *	rtl8139_phy.c		link, MII registers
 *	rtl8139_tx.c		transmission: common part, C mode's four slots, loopback
 *	rtl8139_cplus_tx.c	transmit descriptors of C+ mode
 *	rtl8139_offload.c	checksums, large send and tags of C+ mode, as frame metadata
 *	rtl8139_rx.c		reception: filter, delivery
 *	rtl8139_ring.c		C mode's receive buffer
 *	rtl8139_cplus_rx.c	receive descriptors of C+ mode
 *	rtl8139_csum.c		what a receive descriptor says of a frame's checksums
 *	rtl8139_stats.c		tally counters
 *	rtl8139_state.c		what a copy elsewhere needs to go on
 *
 * Who owns what. Registers that set the device up (reg[]) are under the control mutex; the loop works by a copy of
 * them, `cfg`, which rtl_adopt() renews with the loop standing still. What is written or read for each frame is atomic:
 * the slots (tsd, tsad), the read and write pointers of the receive buffer (capr, cbr), interrupt status and mask, the
 * polling bits. All of cfg, tx, rx and tally is the loop's.
 */
#ifndef NIC_RTL8139_H
#define NIC_RTL8139_H

#include "net/client.h"
#include "net/mac.h"
#include "net/offload.h"
#include "nic/eeprom93.h"
#include "pci/pci.h"

/* ---- registers, by their names in the data sheet ---- */

enum {
	R_IDR0 = 0x00,
	R_MAR0 = 0x08,
	R_TSD0 = 0x10, /* C mode */
	R_DTCCR = 0x10,
	R_TSAD0 = 0x20, /* C mode */
	R_TNPDS = 0x20,
	R_THPDS = 0x28,
	R_RBSTART = 0x30,
	R_ERBCR = 0x34,
	R_ERSR = 0x36,
	R_CR = 0x37,
	R_CAPR = 0x38,
	R_CBR = 0x3a,
	R_IMR = 0x3c,
	R_ISR = 0x3e,
	R_TCR = 0x40,
	R_RCR = 0x44,
	R_TCTR = 0x48,
	R_MPC = 0x4c,
	R_9346CR = 0x50,
	R_CONFIG0 = 0x51,
	R_CONFIG1 = 0x52,
	R_TIMERINT = 0x54,
	R_MSR = 0x58,
	R_CONFIG3 = 0x59,
	R_CONFIG4 = 0x5a,
	R_HLTCLK = 0x5b,
	R_MULINT = 0x5c,
	R_RERID = 0x5e,
	R_TSAD = 0x60,
	R_BMCR = 0x62,
	R_BMSR = 0x64,
	R_ANAR = 0x66,
	R_ANLPAR = 0x68,
	R_ANER = 0x6a,
	R_DIS = 0x6c,
	R_FCSC = 0x6e,
	R_NWAYTR = 0x70,
	R_REC = 0x72,
	R_CSCR = 0x74,
	R_PHY1_PARM = 0x78,
	R_TW_PARM = 0x7c,
	R_PHY2_PARM = 0x80,
	R_TDOKLADDR = 0x82,
	R_CRC0 = 0x84,
	R_WAKEUP0 = 0x8c,
	R_LSBCRC0 = 0xcc,
	R_FLASH = 0xd4,
	R_CONFIG5 = 0xd8,
	R_TPPOLL = 0xd9,
	R_CPCR = 0xe0,
	R_MITIGATE = 0xe2,
	R_RDSAR = 0xe4,
	R_MTPS = 0xec,
	RTL_REGS = 0x100,
};

enum {
	CR_RST = 1 << 4,
	CR_RE = 1 << 3,
	CR_TE = 1 << 2,
	CR_BUFE = 1 << 0,

	INT_SERR = 1 << 15,
	INT_TIMEOUT = 1 << 14,
	INT_LENCHG = 1 << 13,
	INT_SW = 1 << 8,
	INT_TDU = 1 << 7,
	INT_FOVW = 1 << 6,
	INT_LINKCHG = 1 << 5, /* and packet underrun */
	INT_RXOVW = 1 << 4,   /* C+: receive descriptor unavailable */
	INT_TER = 1 << 3,
	INT_TOK = 1 << 2,
	INT_RER = 1 << 1,
	INT_ROK = 1 << 0,
	INT_ALL = 0xe1ff,

	TCR_LBK = 3 << 17,
	TCR_HWID_C = 0x74000000,
	TCR_HWID_CPLUS = 0x74800000,

	RCR_AAP = 1 << 0,
	RCR_APM = 1 << 1,
	RCR_AM = 1 << 2,
	RCR_AB = 1 << 3,
	RCR_WRAP = 1 << 7,
	RCR_RBLEN_SHIFT = 11,

	CPCR_TX = 1 << 0,
	CPCR_RX = 1 << 1,
	CPCR_RXCSUM = 1 << 5,
	CPCR_RXVLAN = 1 << 6,

	TSD_SIZE = 0x1fff,
	TSD_OWN = 1 << 13, /* set: the slot is the driver's */
	TSD_TUN = 1 << 14,
	TSD_TOK = 1 << 15,
	TSD_ERTXTH = 0x3f << 16,
	TSD_TABT = 1 << 30,

	POLL_HIGH = 1 << 7,
	POLL_NORMAL = 1 << 6,
	POLL_SWINT = 1 << 0,

	EEM_NORMAL = 0,
	EEM_AUTOLOAD = 1,
	EEM_PROGRAM = 2,
	EEM_CONFIG = 3,

	CONFIG5_MASK = 0x7f,
	BMCR_RESET = 1 << 15,
	BMCR_100 = 1 << 13,
	BMCR_AUTO = 1 << 12,
	BMCR_RESTART = 1 << 9,
	BMCR_FULL = 1 << 8,
};

/* Descriptors of C+ mode (data sheet, 9.1 and 9.2): four words. */
enum {
	DESC_EOR = 1 << 30,
	DESC_FS = 1 << 29,
	DESC_LS = 1 << 28,
	DESC_STATUS = 0x0fff0000, /* of what was sent: errors and collisions */
	TXD_LGSEN = 1 << 27,
	TXD_MSS_SHIFT = 16,
	TXD_MSS = 0x7ff,
	TXD_TES = 1 << 23, /* error summary */
	TXD_UNF = 1 << 25,
	TXD_IPCS = 1 << 18,
	TXD_UDPCS = 1 << 17,
	TXD_TCPCS = 1 << 16,
	TXD_SIZE = 0xffff,
	TXD_TAGC = 1 << 17, /* second word */
	RXD_SIZE = 0x1fff,
	RXD_MAR = 1 << 26,
	RXD_PAM = 1 << 25,
	RXD_BAR = 1 << 24,
	RXD_RES = 1 << 20, /* error summary */
	RXD_PID_TCP = 1 << 16,
	RXD_PID_UDP = 2 << 16,
	RXD_PID_IP = 3 << 16,
	RXD_IPF = 1 << 15,
	RXD_UDPF = 1 << 14,
	RXD_TCPF = 1 << 13,
	RXD_TAVA = 1 << 16, /* second word */
};
#define DESC_OWN 0x80000000u

#define RTL_SLOTS      4
#define RTL_DESCS      64 /* in a ring of C+ mode at most; also what is looked at in one go */
#define RTL_DESC_LEN   16
#define RTL_RING_SLACK (1518 + RTL_FCS_LEN) /* what may be written behind C mode's receive buffer: an ordinary frame */
#define RTL_FCS_LEN    4
/* Lengths in descriptors have 13 bits. */
#define RTL_RX_MAX     (RXD_SIZE - RTL_FCS_LEN)
#define RTL_RX_MAX_C   (4096 - RTL_FCS_LEN)
/* Ethernet, a tag, IPv4 and TCP with all their options. */
#define RTL_HEAD_MAX   (ETH_HDR_LEN + 4 + 60 + 60)
/* Pieces of all frames of a batch, a head each, and a free slot each. */
#define RTL_TX_IOV     (RTL_DESCS + 2 * NET_BATCH + 1)

/* What the loop works by, from the registers. */
struct rtl_config {
	bool te, re, cp_tx, cp_rx, loopback, strip, check;
	bool wrap; /* WRAP is set and counts: frames run on behind the end of the receive buffer */
	uint32_t rcr;
	uint32_t rbstart, ring_size;
	uint64_t tx_ring[2], rx_ring; /* normal and high priority; receive */
	uint64_t mac;
	uint8_t mar[8];
	size_t rx_max; /* largest frame, without its check sequence */
};

/* Descriptors or slots of a frame under way: where[first..first + n). */
struct rtl_tx_frame {
	uint8_t first, n;
};

struct rtl_tx {
	struct batch batch;
	struct iovec iov[RTL_TX_IOV];
	struct rtl_tx_frame frame[NET_BATCH];
	uint8_t where[RTL_DESCS + 1]; /* places in the ring, and one behind the last */
	unsigned ring;		      /* that the batch is of */
	uint8_t head[NET_BATCH][RTL_HEAD_MAX + 4];
	unsigned waiting;	   /* frames at the head that the peer had no room for: held */
	bool blocked;		   /* owed a wake by the peer */
	uint8_t slot;		   /* C: the one that is next */
	uint8_t index[2];	   /* C+: place in each ring */
	uint8_t polled;		   /* C+: POLL_* of rings that are not known to be empty */
	struct offload_ctx *lower; /* for loopback */
};

struct rtl_rx {
	bool lent, rok;
	size_t room;  /* guest memory in the window */
	unsigned cnt; /* pieces of it: iov[1..cnt]; behind them the spill */
	struct iovec iov[RTL_DESCS + 2];
	uint8_t *spill, *scratch;
	uint32_t wp;	 /* C: where the next header goes */
	uint8_t index;	 /* C+: place in the ring */
	uint8_t next;	 /* ... behind the collected ones */
	uint8_t *header; /* C: the header's place */
	struct {
		uint8_t index;
		uint32_t opts1;
		uint32_t *desc;
	} d[RTL_DESCS];
	bool dry;      /* "no descriptor" was said since there was one */
	bool told_bad; /* a receive buffer that is no RAM was logged */
	struct timer retry;
	uint64_t retry_ns;
};

/* Data sheet, DTCCR. */
struct rtl_tally {
	uint64_t tx_ok, rx_ok, tx_err, rx_phys, rx_bcast;
	uint32_t rx_err, rx_mcast;
	uint16_t missed, tx_abort;
};

struct rtl8139 {
	struct pci_device pci;
	struct {
		char *netdev;
		struct mac_opt mac;
		int32_t bootindex;
		bool cplus;
	} prop;
	bool mac_taken;
	struct loop *loop;
	struct net_client client;
	struct region region[2]; /* I/O, memory */
	struct doorbell bell;	 /* TPPoll with NPQ alone */
	int poll_fd;
	struct watch poll_watch;
	counter guest_errors;

	/* the control mutex's */
	uint8_t reg[RTL_REGS];
	struct eeprom93 eeprom;

	/* shared */
	_Atomic uint32_t tsd[RTL_SLOTS], tsad[RTL_SLOTS];
	_Atomic uint16_t isr, imr, capr, cbr, tdok;
	_Atomic uint32_t missed;
	_Atomic uint8_t poll; /* POLL_* asked for */
	_Atomic bool starved; /* the receiver waits for room */
	_Atomic bool link;
	_Atomic uint64_t timer_base;	/* CLOCK_VM_NS at which TCTR was 0 */
	_Atomic uint64_t timer_written; /* ... when that or TimerInt were written last */
	_Atomic uint32_t timer_int;
	struct post tx_post, rx_post, timer_post;

	/* the loop's */
	bool stopped; /* by pci/: between quiesce and resume */
	bool quiet;   /* by net/: between quiesce and start */
	struct rtl_config cfg;
	struct rtl_tx tx;
	struct rtl_rx rx;
	struct rtl_tally tally;
	struct timer timer;
};

static inline struct rtl8139 *to_rtl8139(struct pci_device *p)
{
	return container_of(p, struct rtl8139, pci);
}

static inline struct rtl8139 *client_rtl8139(struct net_client *c)
{
	return container_of(c, struct rtl8139, client);
}

static inline uint32_t rtl_reg32(const struct rtl8139 *r, unsigned off)
{
	return r->reg[off] | r->reg[off + 1] << 8 | r->reg[off + 2] << 16 | (uint32_t)r->reg[off + 3] << 24;
}

static inline uint16_t rtl_reg16(const struct rtl8139 *r, unsigned off)
{
	return (uint16_t)(r->reg[off] | r->reg[off + 1] << 8);
}

static inline void rtl_set_reg(struct rtl8139 *r, unsigned off, unsigned size, uint32_t v)
{
	for (unsigned i = 0; i < size; i++, v >>= 8)
		r->reg[off + i] = (uint8_t)v;
}

/* May the device touch guest memory now? The loop. */
static inline bool rtl_running(const struct rtl8139 *r)
{
	return !r->stopped && !r->quiet && atomic_load_explicit(&r->pci.dma.on, memory_order_relaxed);
}

/* ---- rtl8139.c; control mutex ---- */
enum {
	RTL_RESTART_RX = 1 << 0,   /* the receiver begins at the start of its ring */
	RTL_RESTART_TX = 1 << 1,   /* C+: the normal ring */
	RTL_RESTART_HIGH = 1 << 2, /* C+: the high priority ring */
	RTL_RESTART_ALL = 1 << 3,  /* chip reset: what is under way is forgotten */
};
/* The registers have changed: the loop works by them when this returns. */
void rtl_adopt(struct rtl8139 *r, unsigned restart);

/* ---- rtl8139_regs.c; control mutex ---- */
extern const struct region_ops rtl_region_ops;
void rtl_chip_reset(struct rtl8139 *r); /* CR.RST */
void rtl_power_on(struct rtl8139 *r);

/* ---- rtl8139_intr.c ---- */
void rtl_interrupt(struct rtl8139 *r, unsigned bits); /* any thread */
void rtl_drive_pin(struct rtl8139 *r);		      /* status or mask changed; any thread */
uint32_t rtl_timer_count(const struct rtl8139 *r);    /* TCTR; any thread */
void rtl_timer_post(struct post *p);		      /* count or TimerInt were written; loop */
void rtl_timer_fired(struct timer *t);		      /* loop */

/* ---- rtl8139_eeprom.c; control mutex ---- */
void rtl_eeprom_init(struct rtl8139 *r, const uint8_t mac[6]);
void rtl_eeprom_load(struct rtl8139 *r); /* the registers that have their first values in it */
void rtl_eeprom_write(struct rtl8139 *r, uint8_t v);
uint8_t rtl_eeprom_read(const struct rtl8139 *r);
static inline unsigned rtl_eem(const struct rtl8139 *r)
{
	return r->reg[R_9346CR] >> 6;
}

/* ---- rtl8139_phy.c; control mutex, but for rtl_link_set() ---- */
void rtl_phy_reset(struct rtl8139 *r);
void rtl_bmcr_write(struct rtl8139 *r, uint16_t v);
uint16_t rtl_phy_read(const struct rtl8139 *r, unsigned reg); /* BMSR, ANLPAR, ANER, CSCR */
uint8_t rtl_msr_read(const struct rtl8139 *r);
void rtl_link_set(struct rtl8139 *r, bool up); /* any thread */

/* ---- rtl8139_tx.c; loop ---- */
void rtl_tx_run(struct rtl8139 *r); /* send what is there */
void rtl_tx_room(struct rtl8139 *r);
void rtl_tx_drop_waiting(struct rtl8139 *r, enum net_drop why);
/* Something at the head of ring or slots that makes no frame: said and counted. */
void rtl_tx_refuse(struct rtl8139 *r, enum net_drop why);

/* ---- rtl8139_cplus_tx.c; loop ---- */
/*
 * Collect frames of a ring into r->tx.batch, as far as RTL_DESCS descriptors go. Returns the descriptors that were
 * dealt with, those of dropped frames too; 0: there is nothing (more).
 */
unsigned rtl_cplus_collect(struct rtl8139 *r, unsigned ring);
/* The first n frames of the batch were sent. */
void rtl_cplus_done(struct rtl8139 *r, unsigned n);

/* ---- rtl8139_offload.c; loop ---- */
/*
 * What the descriptor's words ask for, done to the frame of pieces[n], `len` bytes in all, which becomes *f with its
 * pieces from batch.iov[at] on. Changed headers go to head[RTL_HEAD_MAX + 4]. NET_OK, or why it cannot be sent.
 */
enum net_drop rtl_offload(struct rtl_tx *t, const struct iovec *pieces, unsigned n, size_t len, uint32_t opts1,
			  uint32_t opts2, unsigned at, uint8_t *head, struct frame *f);

/* ---- rtl8139_rx.c; loop ---- */
int rtl_rx_init(struct rtl8139 *r);
void rtl_rx_destroy(struct rtl8139 *r);
int rtl_rx_lend(struct net_client *c, size_t want, struct net_window *w);
enum net_drop rtl_rx_take(struct net_client *c, size_t len, const struct frame_meta *m);
void rtl_rx_commit(struct net_client *c);
void rtl_rx_forget(struct rtl8139 *r);			    /* the window, if one is lent, is void */
void rtl_rx_loop(struct rtl8139 *r, const struct batch *b); /* loopback: as if the frames came from the wire */
void rtl_rx_retry(struct timer *t);
void rtl_rx_post(struct post *p);
/* The receiver found no room: the peer is told when there may be some. */
void rtl_rx_starve(struct rtl8139 *r);
/* There may be room: tells the loop if somebody waits for it. Any thread. */
static inline void rtl_rx_unstarve(struct rtl8139 *r)
{
	if (atomic_load(&r->starved))
		loop_post(r->loop, &r->rx_post);
}

/* What was received: classes, length on the wire. */
struct rtl_received {
	uint32_t flags; /* RXD_MAR, RXD_PAM, RXD_BAR, and what is known of checksums */
	size_t len;	/* in the buffers, without the check sequence */
	uint32_t tag;	/* RXD_TAVA and the tag as the descriptor has it; 0: none was taken off */
};

/* ---- rtl8139_ring.c, rtl8139_cplus_rx.c; loop ---- */
/* Room for a frame of `want` bytes into rx->iov, cnt, room. -EAGAIN: none now. */
int rtl_ring_lend(struct rtl8139 *r, size_t want);
int rtl_cplus_lend(struct rtl8139 *r, size_t want);
void rtl_cplus_extend(struct rtl8139 *r, size_t want); /* collect further descriptors */
/* The frame is in the pieces: tell the driver. */
void rtl_ring_publish(struct rtl8139 *r, const struct rtl_received *what);
void rtl_cplus_publish(struct rtl8139 *r, const struct rtl_received *what);

/* ---- rtl8139_csum.c; loop ---- */
/* RXD_PID_*, RXD_IPF, RXD_TCPF, RXD_UDPF of a frame of len bytes. `valid`: checksums were verified already. */
uint32_t rtl_csum_status(const struct iovec *iov, unsigned cnt, size_t len, bool valid);

/* ---- rtl8139_stats.c ---- */
void rtl_tally_dump(struct rtl8139 *r);	 /* as DTCCR says; control mutex */
void rtl_tally_reset(struct rtl8139 *r); /* power on; control mutex */

/* ---- rtl8139_state.c ---- */
extern const struct state_table rtl_state;

/* For the table of types. */
extern const struct type type_rtl8139;

#endif
