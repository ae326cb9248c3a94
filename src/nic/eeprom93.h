/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A 93C46-class serial EEPROM (microwire), organised in words of 16 bits: what a NIC's driver reads its address and
 * set-up from, bit by bit, by four pins in a register of the NIC. Microchip 93AA46B/93LC46B (DS20001749), "Functional
 * Description" and "Instruction Set"; National's NM93C46 says the same.
 *
 * The part sees edges of SK alone, so one call a write of that register is all it needs. Programming takes no time: the
 * status behind it is "ready" whenever it is asked for.
 *
 * Nobody else touches it while a call runs: it is under whatever guards the register.
 */
#ifndef NIC_EEPROM93_H
#define NIC_EEPROM93_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EEPROM93_WORDS_MAX 256

enum eeprom93_phase {
	EEPROM93_IDLE,	/* selected or not, waiting for a start bit */
	EEPROM93_INPUT, /* opcode and address */
	EEPROM93_DATA,	/* the word of WRITE and WRAL */
	EEPROM93_READ,	/* words come out */
	EEPROM93_ARMED, /* an instruction that programs is complete: CS low carries it out */
	EEPROM93_DONE,	/* nothing more until CS is low */
};

struct eeprom93 {
	uint16_t word[EEPROM93_WORDS_MAX];
	uint8_t address_bits; /* 6: 64 words (93C46); 8: 256 words (93C66) */

	/*
	 * The rest is state between edges; values that are out of range do no harm, but only eeprom93_sane() ones
	 * occur.
	 */
	bool cs, sk, out; /* the pins as they were last; `out` is DO */
	bool writable;	  /* by EWEN */
	uint8_t phase;	  /* enum eeprom93_phase */
	uint8_t bits;	  /* so many were shifted in, or are left to be shifted out of `shift` */
	uint8_t opcode;	  /* 2 bits */
	uint16_t address;
	uint16_t shift;
};

/* An erased part (all ones) of 2^address_bits words (6 or 8), after power on. */
void eeprom93_init(struct eeprom93 *e, unsigned address_bits);
/* Power off and on: words stay, programming is disabled, an instruction under way is forgotten. */
void eeprom93_power_on(struct eeprom93 *e);

/*
 * The pins are driven so from now on. Returns the level of DO (high while the part does not drive it: the pin has a
 * pull-up). SK's edge in a call that changes CS too is not seen: there was no set-up time.
 */
bool eeprom93_pins(struct eeprom93 *e, bool cs, bool sk, bool di);

/* The level of DO. */
static inline bool eeprom93_do(const struct eeprom93 *e)
{
	return e->out;
}

static inline size_t eeprom93_words(const struct eeprom93 *e)
{
	return (size_t)1 << (e->address_bits == 8 ? 8 : 6);
}

/* Could state that came from outside be a part's? */
bool eeprom93_sane(const struct eeprom93 *e);

#endif
