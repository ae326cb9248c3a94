/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The 93C46 behind 9346CR (data sheet: 9346CR, and chapter 6 for the contents), what is loaded from it, and the lock of
 * the Config registers, which is a mode of the same register.
 */
#include "nic/rtl8139.h"

enum {
	CR93_CS = 1 << 3,
	CR93_SK = 1 << 2,
	CR93_DI = 1 << 1,
	CR93_DO = 1 << 0,
};

enum {
	WORD_ID,
	WORD_VENDOR,
	WORD_DEVICE,
	WORD_SUBVENDOR,
	WORD_SUBSYSTEM,
	WORD_LATENCY, /* Max_Lat, Min_Gnt */
	WORD_MSR,     /* Config3 in the upper byte */
	WORD_MAC,
	WORD_CONFIG0 = 10, /* and Config1 */
	WORD_PMC,
	WORD_CONFIG4 = 13, /* in the upper byte */
};

#define EEPROM_ID  0x8129
#define CONFIG1_ON 0x0d /* registers in memory and in I/O, power management */
#define CONFIG3_ON 0x01
#define CONFIG5_ON 0x01

void rtl_eeprom_init(struct rtl8139 *r, const uint8_t mac[6])
{
	const struct pci_class *c = pci_class(&r->pci);
	uint16_t *w = r->eeprom.word;

	eeprom93_init(&r->eeprom, 6);
	w[WORD_ID] = EEPROM_ID;
	w[WORD_VENDOR] = c->vendor;
	w[WORD_DEVICE] = c->device;
	w[WORD_SUBVENDOR] = c->subsystem_vendor;
	w[WORD_SUBSYSTEM] = c->subsystem;
	w[WORD_LATENCY] = 0x4020;
	w[WORD_MSR] = CONFIG3_ON << 8 | 0x10;
	for (unsigned i = 0; i < 3; i++)
		w[WORD_MAC + i] = (uint16_t)(mac[2 * i] | mac[2 * i + 1] << 8);
	w[WORD_CONFIG0] = CONFIG1_ON << 8;
	w[WORD_PMC] = 0x0003;
	w[WORD_CONFIG4] = 0;
}

void rtl_eeprom_load(struct rtl8139 *r)
{
	const uint16_t *w = r->eeprom.word;

	for (unsigned i = 0; i < 3; i++)
		rtl_set_reg(r, R_IDR0 + 2 * i, 2, w[WORD_MAC + i]);
	r->reg[R_CONFIG0] = (uint8_t)w[WORD_CONFIG0];
	r->reg[R_CONFIG1] = (uint8_t)(w[WORD_CONFIG0] >> 8 | 0x0c);
	r->reg[R_CONFIG3] = (uint8_t)(w[WORD_MSR] >> 8);
	r->reg[R_CONFIG4] = (uint8_t)(w[WORD_CONFIG4] >> 8);
	r->reg[R_CONFIG5] = CONFIG5_ON;
}

void rtl_eeprom_write(struct rtl8139 *r, uint8_t v)
{
	bool program = v >> 6 == EEM_PROGRAM;

	r->reg[R_9346CR] = v & 0xce;
	eeprom93_pins(&r->eeprom, program && v & CR93_CS, program && v & CR93_SK, program && v & CR93_DI);
	if (v >> 6 != EEM_AUTOLOAD)
		return;
	r->reg[R_9346CR] = 0; /* it is done at once */
	rtl_eeprom_load(r);
	rtl_adopt(r, 0);
}

uint8_t rtl_eeprom_read(const struct rtl8139 *r)
{
	return (uint8_t)(r->reg[R_9346CR] | (rtl_eem(r) == EEM_PROGRAM && eeprom93_do(&r->eeprom) ? CR93_DO : 0));
}
