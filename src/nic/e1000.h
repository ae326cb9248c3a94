/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * e1000: Intel's 8254x, by the "PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual" (317453).
 * The parts of one device that its files share; section numbers are that manual's.
 *
 *	e1000.c		life, properties, models, net client
 *	e1000_regs.c	the register file, resets
 *	e1000_intr.c	causes, mask, moderation (13.4.17 to 13.4.21; delays: 13.4.30, .31, .41, .44)
 *	e1000_phy.c	MDIC, the PHY's registers, autonegotiation, the link (chapters 8 and 11)
 *	e1000_eeprom.c	EECD, EERD, what the EEPROM holds (chapter 5)
 *	e1000_rx.c	wire to guest (3.2)
 *	e1000_rxsum.c	receive checksums (3.2.9)
 *	e1000_filter.c	which frames are the guest's (3.2.1)
 *	e1000_flow.c	PAUSE frames (8.7.3, 8.7.4)
 *	e1000_tx.c	guest to wire (3.3 to 3.6)
 *	e1000_txdesc.c	one frame of the transmit ring, out of its descriptors
 *	e1000_stats.c	statistics (13.7)
 *	e1000_state.c	what a copy elsewhere needs to go on
 *
 * Who owns what. A register's value is one atomic word: vCPUs store it (under the control mutex, but for the two tails,
 * which are posted) and the loop loads it when it acts on it. What the loop makes of registers (descriptors that were
 * fetched ahead, a frame that is gathered) is the loop's alone; a write after which that is no longer right (a ring
 * that moves, receive or transmit control, a head) is carried out inside the loop, which the vCPU waits for. So nothing
 * is transmitted, and no memory of the guest's written, on a vCPU; and after the write that turns a ring off, or that
 * resets the device, has returned, no memory changes because of older work.
 *
 * Interrupt cause and mask are shared: atomic words, see e1000_intr.c.
 */
#ifndef NIC_E1000_H
#define NIC_E1000_H

#include "net/client.h"
#include "net/mac.h"
#include "net/offload.h"
#include "nic/e1000_hw.h"
#include "nic/eeprom93.h"
#include "pci/pci.h"

/* What makes one of the family another one: see e1000.c. */
struct e1000_class {
	struct pci_class pci;
	uint16_t phy_id2;
};

/* ---- transmit ---- */

/* A context descriptor's contents (3.3.6); the device keeps one for segmentation and one for checksums alone. */
struct e1000_context {
	uint8_t ipcss, ipcso, tucss, tucso, hdrlen;
	uint16_t ipcse, tucse, mss;
	uint32_t paylen; /* 20 bits */
	bool ip4, tcp;
};

enum {
	CONTEXT_SUM,
	CONTEXT_TSO,
	N_CONTEXTS
};

#define E1000_TX_HDR	   320	/* header bytes of a frame that may be changed: HDRLEN, a tag, checksum fields */
#define E1000_TX_PIECES	   1000 /* of one frame */
#define E1000_TX_IOV	   (2 * E1000_TX_PIECES + 2 * NET_BATCH)
#define E1000_TX_REPORTS   1024 /* descriptors of a batch whose status is to be reported */
#define E1000_TX_FRAME_MAX 16288

/* A frame of the batch: where it begins in the ring, and what was in force there, to be able to go back. */
struct e1000_tx_mark {
	uint16_t start;
	uint16_t reports; /* of the batch, up to and with this frame */
	bool prompt;	  /* one of its reports is not to be delayed */
	struct e1000_context context[N_CONTEXTS];
};

struct e1000_tx {
	/* the ring, as it was found at the start of this run */
	uint8_t *ring; /* NULL: there is none */
	uint64_t gpa;
	uint32_t count, head, tail;

	struct e1000_context context[N_CONTEXTS]; /* as of `head` */
	bool skipping;	  /* a frame was given up before its end: its descriptors up to EOP are used up */
	bool blocked;	  /* owed a wake by the peer */
	unsigned waiting; /* frames at the head of the ring that the peer had no room for: held */

	struct batch batch;
	struct e1000_tx_mark mark[NET_BATCH];
	uint16_t report[E1000_TX_REPORTS];
	unsigned n_reports;
	unsigned iov_end; /* pieces of the arena in use */
	struct iovec iov[E1000_TX_IOV];
	uint8_t header[NET_BATCH][E1000_TX_HDR];
	uint8_t *flat; /* for a frame that has to be summed here */
};

/* One frame while its descriptors are read. */
struct e1000_tx_frame {
	enum net_drop bad;
	bool any;      /* a data descriptor was there */
	bool extended; /* the first one was not a legacy one */
	bool tso, vlan, prompt;
	uint8_t popts, cso, css;
	bool sum; /* legacy: IC */
	uint16_t tag;
	unsigned iov, cnt; /* pieces in the arena */
	size_t len;
	unsigned descriptors;
	struct e1000_context context[N_CONTEXTS]; /* as of its first data descriptor */
};

/* ---- receive ---- */

#define E1000_RX_FETCH \
	128 /* descriptors fetched ahead, at most: enough for the longest frame in the smallest buffers */
#define E1000_RX_FRAME_MAX 16384 /* with CRC (LPE, 13.4.22) */
#define E1000_CRC_LEN	   4
/* How long a frame waits for descriptors that do not suffice. */
#define E1000_PATIENCE_NS  (50 * NSEC_PER_MSEC)

/* What the filter and the checksum unit found out about a frame. */
struct e1000_rx_info {
	uint8_t status, errors; /* of the last descriptor */
	uint16_t checksum, tag;
	bool strip; /* the tag */
	bool valid; /* the giver knows that the transport's checksum is right */
};

struct e1000_rx {
	uint8_t *ring;
	uint64_t gpa;
	uint32_t count, head;
	uint32_t buffer; /* bytes in each that may be written */
	bool ready;	 /* receive is enabled, and not stopped */

	/* fetched: iov[first..last), descriptor head + i at iov[first + i]; `bytes` in them */
	unsigned first, last;
	size_t bytes;
	/* the window that was lent */
	bool lent;
	size_t room; /* without the spill slot */

	bool below;	 /* RDMT: the threshold was crossed and told */
	bool took;	 /* frames since the last commit */
	uint32_t causes; /* for the next commit */

	/* a frame that was received whole for which there are not enough descriptors yet: held */
	bool counted;
	uint32_t held_len;  /* as it came */
	uint32_t held_body; /* without CRC */
	uint32_t held_all;  /* bytes of it in `flat`; 0: there is none */
	struct e1000_rx_info held_info;
	struct timer patience;

	_Atomic bool starved; /* the next write of RDT is to be told */
	uint8_t *spill;	      /* NET_FRAME_MAX bytes behind the window */
	uint8_t *flat;	      /* a frame that does not go into the buffers as it came, or that is held */
	struct iovec iov[2 * E1000_RX_FETCH + 2];
};

/* Timers, by their names in a state. */
enum {
	E1000_TIMER_ITR,
	E1000_TIMER_RDTR,
	E1000_TIMER_RADV,
	E1000_TIMER_TIDV,
	E1000_TIMER_TADV,
	E1000_TIMER_PATIENCE,
	E1000_TIMER_NEGOTIATION,
	E1000_TIMERS
};

/* What a state has of things that change all the time; written when it is saved, and read when it is loaded. */
struct e1000_times {
	uint64_t left[E1000_TIMERS]; /* ns until it fires, and 1; 0: it is not armed */
	uint64_t quiet;		     /* ns for which ITR still keeps the pin down */
};

struct e1000 {
	struct pci_device pci;

	/* properties */
	struct {
		char *netdev;
		struct mac_opt mac;
		int32_t bootindex;
		bool init_vet, tso_props;
	} prop;
	bool mac_taken;

	struct net_client client;
	struct loop *loop;
	bool quiet;   /* by the net core: between quiesce and start */
	bool stopped; /* by PCI: no DMA */
	struct region mmio, io;
	struct posted_register tails[2]; /* [0] RDT, [1] TDT */
	uint32_t io_address;		 /* IOADDR; control mutex */

	_Atomic uint32_t reg[E1000_REG_WORDS];

	/* interrupts: e1000_intr.c */
	_Atomic uint32_t icr, ims;
	_Atomic bool pin;
	_Atomic uint64_t not_before; /* ITR: the pin stays low until then */
	struct timer itr_timer, rx_delay, rx_absolute, tx_delay, tx_absolute;
	struct post itr_post, flush_post;

	/* the PHY: e1000_phy.c */
	_Atomic uint16_t phy[32];
	_Atomic unsigned link; /* enum e1000_link */
	_Atomic bool cable, link_lost;
	struct timer negotiation;
	struct post link_post;

	struct eeprom93 eeprom; /* control mutex */

	counter stat[E1000_STATS];
	uint64_t stat_base[E1000_STATS]; /* control mutex: what was read, or cleared */

	struct post rx_post, tx_post;
	struct e1000_rx rx;
	struct e1000_tx tx;
	struct offload_ctx *offload; /* for frames that are looped back */
	struct batch *loop_out;
	counter looped, guest_errors;
	bool complained;
	struct e1000_times times;
};

static inline struct e1000 *to_e1000(struct pci_device *p)
{
	return container_of(p, struct e1000, pci);
}

static inline struct e1000 *client_to_e1000(struct net_client *c)
{
	return container_of(c, struct e1000, client);
}

static inline const struct e1000_class *e1000_class(const struct e1000 *e)
{
	return container_of(pci_class(&e->pci), struct e1000_class, pci);
}

static inline uint32_t e1000_get(const struct e1000 *e, unsigned off)
{
	return atomic_load_explicit(&e->reg[off / 4], memory_order_relaxed);
}

static inline void e1000_put(struct e1000 *e, unsigned off, uint32_t v)
{
	atomic_store_explicit(&e->reg[off / 4], v, memory_order_relaxed);
}

/* A tail as the guest wrote it last. */
static inline uint32_t e1000_tail(const struct e1000 *e, bool tx)
{
	return (uint32_t)atomic_load(&e->tails[tx].value) & 0xffff;
}

/*
 * The guest broke a rule that costs it a frame, or a ring: counted, and said once until the next reset. `what` is a
 * whole sentence's end ("a ring that is not in RAM"). Loop.
 */
void e1000_complain(struct e1000 *e, const char *what);

/* ---- e1000_regs.c ---- */
void e1000_regs_init(struct e1000 *e);	     /* the regions; once, before the BARs are added */
void e1000_power_on(struct e1000 *e);	     /* registers to their values after that; control mutex */
bool e1000_regs_sane(const struct e1000 *e); /* could words that came from outside be the registers'? */
void e1000_load_address(struct e1000 *e);    /* RAL0/RAH0 from the EEPROM */
void e1000_software_reset(struct e1000 *e);  /* CTRL.RST; control mutex */

/* ---- e1000_intr.c ---- */
#define E1000_ITR_NS   256u  /* ITR counts these */
#define E1000_DELAY_NS 1024u /* the delay timers */

void e1000_intr_init(struct e1000 *e);
void e1000_intr_reset(struct e1000 *e);			/* loop */
void e1000_intr_cancel(struct e1000 *e);		/* loop: timers off, for good */
void e1000_intr_flush(struct e1000 *e);			/* loop: a flush that was posted is done now */
void e1000_intr_go_on(struct e1000 *e);			/* loop: cause, mask, pin and timers were loaded */
void e1000_cause(struct e1000 *e, uint32_t causes);	/* any thread */
void e1000_rx_cause(struct e1000 *e);			/* loop: RXT0, delayed as RDTR and RADV have it */
void e1000_tx_cause(struct e1000 *e, bool delayable);	/* loop: TXDW, delayed as TIDV and TADV have it */
uint32_t e1000_icr_read(struct e1000 *e);		/* vCPU */
void e1000_icr_clear(struct e1000 *e, uint32_t causes); /* vCPU */
void e1000_ims_change(struct e1000 *e, uint32_t set, uint32_t clear);

/* ---- e1000_phy.c ---- */
enum e1000_link {
	E1000_LINK_DOWN,
	E1000_LINK_NEGOTIATING,
	E1000_LINK_UP
};

#define E1000_NEGOTIATION_NS (1 * NSEC_PER_MSEC)

void e1000_phy_init(struct e1000 *e);
void e1000_phy_power_on(struct e1000 *e, bool cable);	/* loop */
void e1000_phy_cancel(struct e1000 *e);			/* loop: timer off */
void e1000_phy_reset(struct e1000 *e);			/* CTRL.PHY_RST; vCPU */
uint32_t e1000_mdic(struct e1000 *e, uint32_t command); /* what MDIC reads as after that write; vCPU */
void e1000_phy_look(struct e1000 *e);			/* the link is to be as it is by now; vCPU */
uint32_t e1000_status(const struct e1000 *e);
bool e1000_phy_loops(const struct e1000 *e);
bool e1000_phy_sane(const struct e1000 *e);	/* could state that came from outside be the PHY's? */
void e1000_phy_go_on(struct e1000 *e);		/* loop: registers and timer were loaded */
void e1000_set_cable(struct e1000 *e, bool in); /* any thread */

/* ---- e1000_eeprom.c; control mutex ---- */
void e1000_eeprom_init(struct e1000 *e);
uint32_t e1000_eecd_read(const struct e1000 *e);
void e1000_eecd_write(struct e1000 *e, uint32_t v);
uint32_t e1000_eerd(const struct e1000 *e, uint32_t command);

/* ---- e1000_stats.c ---- */
void e1000_count_rx(struct e1000 *e, size_t len, const uint8_t *to, bool passed); /* loop; len with CRC */
void e1000_count_tx(struct e1000 *e, unsigned frames, uint64_t bytes, size_t len, const uint8_t *to);
uint32_t e1000_stat_read(struct e1000 *e, unsigned off); /* and clear; control mutex */
void e1000_stats_reset(struct e1000 *e);		 /* control mutex */

static inline void e1000_stat(struct e1000 *e, unsigned off, uint64_t n)
{
	counter_add(&e->stat[(off - E1000_CRCERRS) / 4], n);
}

/* ---- e1000_filter.c; loop ---- */
/* Judge a frame by a copy of its first 18 bytes. NET_OK: info's status has PIF, VP and the tag, strip. */
enum net_drop e1000_filter(const struct e1000 *e, const uint8_t head[18], size_t len, struct e1000_rx_info *info);

/* ---- e1000_flow.c; loop ---- */
enum e1000_control {
	CONTROL_NONE,  /* a frame like others */
	CONTROL_TAKEN, /* it ends here */
	CONTROL_SEEN,  /* counted, and a frame like others */
	CONTROL_PASS,  /* counted, and passed whatever the filters say */
};

/* A frame's first 18 bytes, with CTRL.RFCE on: is it one of flow control? Counts. */
enum e1000_control e1000_flow(struct e1000 *e, const uint8_t head[18]);

/* ---- e1000_rxsum.c; loop ---- */
/* The checksums of a frame of len bytes, without CRC and without a tag that is stripped, into info. */
void e1000_rx_sum(const struct e1000 *e, const struct iovec *iov, unsigned cnt, size_t len, struct e1000_rx_info *info);

/* ---- e1000_rx.c; loop ---- */
int e1000_rx_init(struct e1000 *e);
void e1000_rx_destroy(struct e1000 *e);
int e1000_rx_lend(struct net_client *c, size_t want, struct net_window *w);
enum net_drop e1000_rx_take(struct net_client *c, size_t len, const struct frame_meta *m);
void e1000_rx_commit(struct net_client *c);
void e1000_rx_refresh(struct e1000 *e); /* registers changed: what was fetched goes back; receive if enabled */
void e1000_rx_drop_held(struct e1000 *e, enum net_drop why);
bool e1000_loops(const struct e1000 *e);   /* what is sent comes back (13.4.22 LBM; PHY register 0); any thread */
bool e1000_rx_sane(const struct e1000 *e); /* could state that came from outside be the receiver's? */
void e1000_rx_go_on(struct e1000 *e);	   /* it was loaded, head and held frame */
void e1000_rx_posted(struct e1000 *e);	   /* RDT was written */
void e1000_rx_loop(struct e1000 *e, const struct batch *b); /* frames that were looped back */

/* ---- e1000_tx.c; loop ---- */
int e1000_tx_init(struct e1000 *e);
void e1000_tx_destroy(struct e1000 *e);
void e1000_tx_run(struct e1000 *e);			 /* send what the guest posted */
void e1000_tx_room(struct e1000 *e);			 /* the peer has room again */
void e1000_tx_refresh(struct e1000 *e);			 /* registers changed */
void e1000_tx_reset(struct e1000 *e, enum net_drop why); /* what waits is dropped, contexts are forgotten */

/* ---- e1000_txdesc.c; loop ---- */
enum e1000_gather {
	GATHER_FRAME, /* a whole one, good or bad */
	GATHER_NONE,  /* contexts only, or the end of what is skipped: used up */
	GATHER_PART,  /* its end is not there yet */
	GATHER_FULL,  /* no place for it in this batch */
};

/* Read descriptors from *pos on until a frame is whole. *pos goes behind what was read. */
enum e1000_gather e1000_gather(struct e1000 *e, uint32_t *pos, struct e1000_tx_frame *f);
/* Make frame i of the batch of what was gathered. NET_OK, or why it is none. *solo: it lies in tx.flat. */
enum net_drop e1000_make_frame(struct e1000 *e, const struct e1000_tx_frame *g, unsigned i, bool *solo);

/* ---- e1000_state.c ---- */
extern const struct state_table e1000_state;

/* For the table of types. */
extern const struct type type_e1000_base, type_e1000, type_e1000_82544gc, type_e1000_82545em;

#endif
