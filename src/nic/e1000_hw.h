/* SPDX-License-Identifier: BSD-2-Clause */
/* The 8254x's registers and descriptors, by chapters 3 and 13 of its manual: offsets, bits, layouts. */
#ifndef NIC_E1000_HW_H
#define NIC_E1000_HW_H

#include "base/util.h"

#define BIT32(n) (1u << (n))

#define E1000_BAR_SIZE	0x20000
#define E1000_IO_SIZE	64
#define E1000_REG_END	0xa000 /* behind the last register that holds anything */
#define E1000_REG_WORDS (E1000_REG_END / 4)

/* ---- offsets (13.4 to 13.7) ---- */
enum {
	E1000_CTRL = 0x0000,
	E1000_CTRL_DUP = 0x0004,
	E1000_STATUS = 0x0008,
	E1000_EECD = 0x0010,
	E1000_EERD = 0x0014,
	E1000_CTRL_EXT = 0x0018,
	E1000_FLA = 0x001c,
	E1000_MDIC = 0x0020,
	E1000_FCAL = 0x0028,
	E1000_FCAH = 0x002c,
	E1000_FCT = 0x0030,
	E1000_VET = 0x0038,
	E1000_ICR = 0x00c0,
	E1000_ITR = 0x00c4,
	E1000_ICS = 0x00c8,
	E1000_IMS = 0x00d0,
	E1000_IMC = 0x00d8,
	E1000_RCTL = 0x0100,
	E1000_FCTTV = 0x0170,
	E1000_TXCW = 0x0178,
	E1000_RXCW = 0x0180,
	E1000_TCTL = 0x0400,
	E1000_TIPG = 0x0410,
	E1000_TBT = 0x0448,
	E1000_AIT = 0x0458,
	E1000_LEDCTL = 0x0e00,
	E1000_PBA = 0x1000,
	E1000_FCRTL = 0x2160,
	E1000_FCRTH = 0x2168,
	E1000_RDFH = 0x2410,
	E1000_RDFT = 0x2418,
	E1000_RDFHS = 0x2420,
	E1000_RDFTS = 0x2428,
	E1000_RDFPC = 0x2430,
	E1000_RDBAL = 0x2800,
	E1000_RDBAH = 0x2804,
	E1000_RDLEN = 0x2808,
	E1000_RDH = 0x2810,
	E1000_RDT = 0x2818,
	E1000_RDTR = 0x2820,
	E1000_RXDCTL = 0x2828,
	E1000_RADV = 0x282c,
	E1000_RSRPD = 0x2c00,
	E1000_TXDMAC = 0x3000,
	E1000_TDFH = 0x3410,
	E1000_TDFT = 0x3418,
	E1000_TDFHS = 0x3420,
	E1000_TDFTS = 0x3428,
	E1000_TDFPC = 0x3430,
	E1000_TDBAL = 0x3800,
	E1000_TDBAH = 0x3804,
	E1000_TDLEN = 0x3808,
	E1000_TDH = 0x3810,
	E1000_TDT = 0x3818,
	E1000_TIDV = 0x3820,
	E1000_TXDCTL = 0x3828,
	E1000_TADV = 0x382c,
	E1000_TSPMT = 0x3830,
	E1000_RXCSUM = 0x5000,
	E1000_MTA = 0x5200,
	E1000_RA = 0x5400,
	E1000_VFTA = 0x5600,
	E1000_WUC = 0x5800,
	E1000_WUFC = 0x5808,
	E1000_WUS = 0x5810,
	E1000_MANC = 0x5820,
	E1000_IPAV = 0x5838,
	E1000_IP4AT = 0x5840,
	E1000_IP6AT = 0x5880,
	E1000_WUPL = 0x5900,
	E1000_WUPM = 0x5a00,
	E1000_FFLT = 0x5f00,
	E1000_FFMT = 0x9000,
	E1000_FFVT = 0x9800,
};

/* Statistics (13.7): those that this device ever counts; the others are there and read as 0. */
enum {
	E1000_CRCERRS = 0x4000, /* the first one */
	E1000_MPC = 0x4010,
	E1000_RLEC = 0x4040,
	E1000_XONRXC = 0x4048,
	E1000_XOFFRXC = 0x4050,
	E1000_FCRUC = 0x4058,
	E1000_PRC64 = 0x405c,
	E1000_GPRC = 0x4074,
	E1000_BPRC = 0x4078,
	E1000_MPRC = 0x407c,
	E1000_GPTC = 0x4080,
	E1000_GORCL = 0x4088,
	E1000_GORCH = 0x408c,
	E1000_GOTCL = 0x4090,
	E1000_GOTCH = 0x4094,
	E1000_RNBC = 0x40a0,
	E1000_RUC = 0x40a4,
	E1000_ROC = 0x40ac,
	E1000_TORL = 0x40c0,
	E1000_TORH = 0x40c4,
	E1000_TOTL = 0x40c8,
	E1000_TOTH = 0x40cc,
	E1000_TPR = 0x40d0,
	E1000_TPT = 0x40d4,
	E1000_PTC64 = 0x40d8,
	E1000_MPTC = 0x40f0,
	E1000_BPTC = 0x40f4,
	E1000_TSCTC = 0x40f8,
	E1000_TSCTFC = 0x40fc, /* the last one */
};

#define E1000_STATS ((E1000_TSCTFC - E1000_CRCERRS) / 4 + 1)

#define E1000_RA_ENTRIES 16
#define E1000_MTA_WORDS	 128
#define E1000_VFTA_WORDS 128

/* ---- bits ---- */
#define CTRL_FD	      BIT32(0)
#define CTRL_SLU      BIT32(6)
#define CTRL_SPEED(v) ((v) >> 8 & 3)
#define CTRL_SPEED_1G (2u << 8)
#define CTRL_FRCSPD   BIT32(11)
#define CTRL_FRCDPX   BIT32(12)
#define CTRL_RST      BIT32(26)
#define CTRL_RFCE     BIT32(27)
#define CTRL_VME      BIT32(30)
#define CTRL_PHY_RST  BIT32(31)

#define CTRL_EXT_EE_RST BIT32(13)

#define STATUS_FD	BIT32(0)
#define STATUS_LU	BIT32(1)
#define STATUS_SPEED(s) ((uint32_t)(s) << 6)
#define STATUS_ASDV(s)	((uint32_t)(s) << 8)

#define EECD_SK	  BIT32(0)
#define EECD_CS	  BIT32(1)
#define EECD_DI	  BIT32(2)
#define EECD_DO	  BIT32(3)
#define EECD_FWE  (3u << 4)
#define EECD_REQ  BIT32(6)
#define EECD_GNT  BIT32(7)
#define EECD_PRES BIT32(8)

#define EERD_START BIT32(0)
#define EERD_DONE  BIT32(4)

#define MDIC_OP_WRITE 1
#define MDIC_OP_READ  2
#define MDIC_READY    BIT32(28)
#define MDIC_INTR     BIT32(29)
#define MDIC_ERROR    BIT32(30)

#define ICR_TXDW    BIT32(0)
#define ICR_TXQE    BIT32(1)
#define ICR_LSC	    BIT32(2)
#define ICR_RXDMT0  BIT32(4)
#define ICR_RXO	    BIT32(6)
#define ICR_RXT0    BIT32(7)
#define ICR_MDAC    BIT32(9)
#define ICR_TXD_LOW BIT32(15)
#define ICR_SRPD    BIT32(16)
#define ICR_ALL	    0x0001ffffu

#define RCTL_EN	      BIT32(1)
#define RCTL_UPE      BIT32(3)
#define RCTL_MPE      BIT32(4)
#define RCTL_LPE      BIT32(5)
#define RCTL_LBM      (3u << 6)
#define RCTL_RDMTS(v) ((v) >> 8 & 3)
#define RCTL_MO(v)    ((v) >> 12 & 3)
#define RCTL_BAM      BIT32(15)
#define RCTL_BSIZE(v) ((v) >> 16 & 3)
#define RCTL_VFE      BIT32(18)
#define RCTL_CFIEN    BIT32(19)
#define RCTL_CFI      BIT32(20)
#define RCTL_DPF      BIT32(22)
#define RCTL_PMCF     BIT32(23)
#define RCTL_BSEX     BIT32(25)
#define RCTL_SECRC    BIT32(26)

#define RDTR_FPD BIT32(31)

#define TCTL_EN	 BIT32(1)
#define TCTL_PSP BIT32(3)

#define TXDCTL_LWTHRESH(v) ((v) >> 25 & 0x7f) /* in units of 8 descriptors */

#define RXCSUM_PCSS(v) ((v)&0xff)
#define RXCSUM_IPOFL   BIT32(8)
#define RXCSUM_TUOFL   BIT32(9)

#define RAH_AV	    BIT32(31)
#define RAH_ASEL(v) ((v) >> 16 & 3)

/* ---- descriptors: 16 bytes, an address first ---- */
#define E1000_DESC 16u

/* Receive (3.2.3), the second word: length, checksum, status, errors, special. */
#define RXD_DD	  BIT32(0)
#define RXD_EOP	  BIT32(1)
#define RXD_IXSM  BIT32(2)
#define RXD_VP	  BIT32(3)
#define RXD_TCPCS BIT32(5)
#define RXD_IPCS  BIT32(6)
#define RXD_PIF	  BIT32(7)
#define RXD_TCPE  BIT32(5)
#define RXD_IPE	  BIT32(6)

/* Transmit (3.3.3, 3.3.7), the second word; the command's bits within it. */
#define TXD_EOP		 BIT(24)
#define TXD_IC		 BIT(26) /* legacy */
#define TXD_TSE		 BIT(26) /* else */
#define TXD_RS		 BIT(27)
#define TXD_RPS		 BIT(28)
#define TXD_DEXT	 BIT(29)
#define TXD_VLE		 BIT(30)
#define TXD_IDE		 BIT(31)
#define TXD_TYPE(d)	 ((d) >> 20 & 15)
#define TXD_TYPE_CONTEXT 0
#define TXD_TYPE_DATA	 1
#define TXD_POPTS(d)	 ((uint8_t)((d) >> 40))
#define TXD_SPECIAL(d)	 ((uint16_t)((d) >> 48))
#define TXD_STATUS	 12 /* where the status byte is */
#define TXD_DD		 1
#define POPTS_IXSM	 1
#define POPTS_TXSM	 2
#define TUCMD_TCP	 BIT(24)
#define TUCMD_IP	 BIT(25)

#endif
