/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The microwire EEPROM, as a machine that takes a step at each rising edge of SK while CS is high.
 *
 *	start bit (1)  opcode (2)  address (6 or 8)  [data (16)]
 *
 * READ answers at the edge of the last address bit with a zero, and with a data bit at each edge behind it, word after
 * word. What programs is carried out when CS falls behind the last bit; an edge more, and it is not carried out at all.
 */
#include <string.h>

#include "nic/eeprom93.h"

enum {
	OP_EXTENDED, /* told apart by the two upper bits of the address */
	OP_WRITE,
	OP_READ,
	OP_ERASE,
};

enum {
	EXT_EWDS,
	EXT_WRAL,
	EXT_ERAL,
	EXT_EWEN,
};

#define ERASED 0xffff

static unsigned address_bits(const struct eeprom93 *e)
{
	return e->address_bits == 8 ? 8 : 6;
}

static uint16_t *word_at(struct eeprom93 *e, unsigned address)
{
	return &e->word[address & (eeprom93_words(e) - 1)];
}

static unsigned extended(const struct eeprom93 *e)
{
	return e->address >> (address_bits(e) - 2) & 3;
}

void eeprom93_power_on(struct eeprom93 *e)
{
	e->cs = e->sk = false;
	e->out = true;
	e->writable = false;
	e->phase = EEPROM93_IDLE;
	e->bits = e->opcode = 0;
	e->address = e->shift = 0;
}

void eeprom93_init(struct eeprom93 *e, unsigned bits)
{
	memset(e, 0, sizeof(*e));
	e->address_bits = (uint8_t)bits;
	memset(e->word, 0xff, sizeof(e->word));
	eeprom93_power_on(e);
}

/* ---- instructions ---- */

static void fill(struct eeprom93 *e, uint16_t value)
{
	for (size_t i = 0; i < eeprom93_words(e); i++)
		e->word[i] = value;
}

/* Carry out what is complete: CS has fallen. */
static void program(struct eeprom93 *e)
{
	if (!e->writable)
		return;
	if (e->opcode == OP_WRITE)
		*word_at(e, e->address) = e->shift;
	else if (e->opcode == OP_ERASE)
		*word_at(e, e->address) = ERASED;
	else
		fill(e, extended(e) == EXT_WRAL ? e->shift : ERASED);
}

static void expect(struct eeprom93 *e, enum eeprom93_phase phase)
{
	e->phase = (uint8_t)phase;
	e->bits = 0;
	e->shift = 0;
}

static void extended_instruction(struct eeprom93 *e)
{
	switch (extended(e)) {
	case EXT_EWEN:
	case EXT_EWDS:
		e->writable = extended(e) == EXT_EWEN;
		expect(e, EEPROM93_DONE);
		break;
	case EXT_WRAL:
		expect(e, EEPROM93_DATA);
		break;
	default:
		expect(e, EEPROM93_ARMED);
	}
}

/* Opcode and address are there. */
static void instruction(struct eeprom93 *e)
{
	e->opcode = (uint8_t)(e->shift >> address_bits(e) & 3);
	e->address = (uint16_t)(e->shift & (eeprom93_words(e) - 1));
	switch (e->opcode) {
	case OP_READ:
		expect(e, EEPROM93_READ);
		e->out = false; /* the dummy bit */
		break;
	case OP_WRITE:
		expect(e, EEPROM93_DATA);
		break;
	case OP_ERASE:
		expect(e, EEPROM93_ARMED);
		break;
	default:
		extended_instruction(e);
	}
}

/* ---- edges ---- */

static void shift_in(struct eeprom93 *e, bool di)
{
	e->shift = (uint16_t)(e->shift << 1 | di);
	e->bits++;
}

static void shift_out(struct eeprom93 *e)
{
	if (!e->bits) {
		e->shift = *word_at(e, e->address);
		e->address = (uint16_t)((e->address + 1u) & (eeprom93_words(e) - 1));
		e->bits = 16;
	}
	e->out = e->shift >> 15;
	e->shift = (uint16_t)(e->shift << 1);
	e->bits--;
}

static void rising_edge(struct eeprom93 *e, bool di)
{
	switch (e->phase) {
	case EEPROM93_IDLE:
		if (di)
			expect(e, EEPROM93_INPUT);
		break;
	case EEPROM93_INPUT:
		shift_in(e, di);
		if (e->bits >= 2 + address_bits(e))
			instruction(e);
		break;
	case EEPROM93_DATA:
		shift_in(e, di);
		if (e->bits >= 16)
			e->phase = EEPROM93_ARMED;
		break;
	case EEPROM93_READ:
		shift_out(e);
		break;
	case EEPROM93_ARMED:
		e->phase = EEPROM93_DONE;
		break;
	default:
		break;
	}
}

bool eeprom93_pins(struct eeprom93 *e, bool cs, bool sk, bool di)
{
	bool rises = sk && !e->sk;

	if (cs != e->cs) {
		if (e->phase == EEPROM93_ARMED && !cs)
			program(e);
		expect(e, EEPROM93_IDLE);
		e->out = true; /* not driven, or "ready" */
	} else if (cs && rises) {
		rising_edge(e, di);
	}
	e->cs = cs;
	e->sk = sk;
	return e->out;
}

bool eeprom93_sane(const struct eeprom93 *e)
{
	return (e->address_bits == 6 || e->address_bits == 8) && e->phase <= EEPROM93_DONE && e->bits <= 16 &&
	       e->opcode <= 3 && e->address < eeprom93_words(e);
}
