/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * e1000: the EEPROM (chapter 5): a 93C46, 64 words, by its pins in EECD (13.4.3) or word by word with EERD (13.4.4).
 * Software asks for the pins by EECD.REQ; nobody else wants them, so GNT follows at once.
 */
#include "nic/e1000.h"

#define EEPROM_SUM 0xbaba /* of all words up to 3fh (5.6.35) */

enum {
	WORD_ADDRESS = 0x00,
	WORD_COMPATIBILITY = 0x03,
	WORD_CONTROL_1 = 0x0a,
	WORD_SUBSYSTEM = 0x0b,
	WORD_SUBSYSTEM_VENDOR = 0x0c,
	WORD_DEVICE = 0x0d,
	WORD_VENDOR = 0x0e,
	WORD_CONTROL_2 = 0x0f,
	WORD_FIRST_UNUSED = 0x10,
	WORD_SUM = 0x3f,
};

/* Signature 01, ids are loaded, power management (word 0Ah). */
#define CONTROL_1 0x400b
/* PAUSE may be advertised both ways (word 0Fh). */
#define CONTROL_2 0x3000

void e1000_eeprom_init(struct e1000 *e)
{
	const struct pci_class *c = pci_class(&e->pci);
	uint16_t *w = e->eeprom.word, sum = 0;

	eeprom93_init(&e->eeprom, 6);
	for (unsigned i = 0; i < 3; i++)
		w[WORD_ADDRESS + i] = (uint16_t)(e->prop.mac.addr[2 * i] | e->prop.mac.addr[2 * i + 1] << 8);
	w[WORD_COMPATIBILITY] = 0;
	w[WORD_CONTROL_1] = CONTROL_1;
	w[WORD_SUBSYSTEM] = c->subsystem;
	w[WORD_SUBSYSTEM_VENDOR] = c->subsystem_vendor;
	w[WORD_DEVICE] = c->device;
	w[WORD_VENDOR] = c->vendor;
	w[WORD_CONTROL_2] = CONTROL_2;
	for (unsigned i = WORD_FIRST_UNUSED; i < WORD_SUM; i++)
		w[i] = 0;
	for (unsigned i = 0; i < WORD_SUM; i++)
		sum = (uint16_t)(sum + w[i]);
	w[WORD_SUM] = (uint16_t)(EEPROM_SUM - sum);
}

uint32_t e1000_eecd_read(const struct e1000 *e)
{
	uint32_t v = e1000_get(e, E1000_EECD) | EECD_PRES;

	if (v & EECD_REQ)
		v |= EECD_GNT;
	return eeprom93_do(&e->eeprom) ? v | EECD_DO : v;
}

void e1000_eecd_write(struct e1000 *e, uint32_t v)
{
	eeprom93_pins(&e->eeprom, v & EECD_CS, v & EECD_SK, v & EECD_DI);
}

/* A word that is not there reads as all ones. */
uint32_t e1000_eerd(const struct e1000 *e, uint32_t command)
{
	unsigned at = command >> 8 & 0xff;
	uint32_t data = at < eeprom93_words(&e->eeprom) ? e->eeprom.word[at] : 0xffff;

	return (command & 0xff00) | EERD_DONE | data << 16;
}
