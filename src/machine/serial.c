/* SPDX-License-Identifier: BSD-2-Clause */
/* 16550A; register names are the data sheet's. */
#include "machine/serial.h"

enum {
	RBR = 0,
	THR = 0,
	IER = 1,
	IIR = 2,
	FCR = 2,
	LCR = 3,
	MCR = 4,
	LSR = 5,
	MSR = 6,
	SCR = 7
};

#define IER_RDA	  0x01
#define IER_THRE  0x02
#define IER_LINE  0x04
#define IER_MODEM 0x08

#define IIR_NONE    0x01
#define IIR_MODEM   0x00
#define IIR_THRE    0x02
#define IIR_RDA	    0x04
#define IIR_LINE    0x06
#define IIR_TIMEOUT 0x0c
#define IIR_FIFOS   0xc0

#define FCR_ENABLE   0x01
#define FCR_CLEAR_RX 0x02
#define FCR_CLEAR_TX 0x04
#define FCR_KEPT     0xc9

#define LCR_BREAK 0x40
#define LCR_DLAB  0x80

#define MCR_DTR	 0x01
#define MCR_RTS	 0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08
#define MCR_LOOP 0x10

#define LSR_READY   0x01
#define LSR_OVERRUN 0x02
#define LSR_BREAK   0x10
#define LSR_THRE    0x20
#define LSR_TEMT    0x40

/* Output waits so long for more, so that a line is one write and not eighty. */
#define LINE_DELAY (2 * NSEC_PER_MSEC)

#define MSR_CTS 0x10
#define MSR_DSR 0x20
#define MSR_RI	0x40
#define MSR_DCD 0x80

const struct serial_place serial_places[4] = { { 0x3f8, 4 }, { 0x2f8, 3 }, { 0x3e8, 7 }, { 0x2e8, 6 } };

/* ---- interrupts ---- */

static unsigned fifo_depth(const struct serial *s)
{
	return s->fcr & FCR_ENABLE ? SERIAL_FIFO : 1;
}

static unsigned trigger_level(const struct serial *s)
{
	static const uint8_t levels[] = { 1, 4, 8, 14 };

	return s->fcr & FCR_ENABLE ? levels[s->fcr >> 6] : 1;
}

/* The highest one that is pending, as IIR shows it. */
static uint8_t pending(const struct serial *s)
{
	if (s->ier & IER_LINE && s->lsr_errors)
		return IIR_LINE;
	if (s->ier & IER_RDA && s->rx_len >= trigger_level(s))
		return IIR_RDA;
	/* The time of four characters without a new one: here, at once. */
	if (s->ier & IER_RDA && s->rx_len)
		return IIR_TIMEOUT;
	if (s->ier & IER_THRE && s->thr_interrupt)
		return IIR_THRE;
	if (s->ier & IER_MODEM && s->msr_delta)
		return IIR_MODEM;
	return IIR_NONE;
}

/* OUT2 gates the line on a PC; in loopback the pin is off. */
static void update_irq(struct serial *s)
{
	bool gate = (s->mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2;

	isa_irq_set(&s->irq, gate && pending(s) != IIR_NONE);
}

/* ---- data ---- */

static void receive(struct serial *s, uint8_t byte)
{
	if (s->rx_len >= fifo_depth(s)) {
		s->lsr_errors |= LSR_OVERRUN;
		return;
	}
	s->rx[(s->rx_head + s->rx_len++) % SERIAL_FIFO] = byte;
}

static void transmit(struct serial *s, uint8_t byte)
{
	if (s->mcr & MCR_LOOP)
		receive(s, byte);
	else if (s->chr && !chardev_write(s->chr, &byte, 1, &s->stalled))
		counter_add(&s->lost, 1);
	s->thr_interrupt = !s->stalled;
}

static uint8_t read_rbr(struct serial *s)
{
	uint8_t byte;

	if (!s->rx_len)
		return 0;
	byte = s->rx[s->rx_head];
	s->rx_head = (s->rx_head + 1) % SERIAL_FIFO;
	if (--s->rx_len == 0 && s->chr)
		chardev_want(s->chr);
	return byte;
}

static void clear_rx(struct serial *s)
{
	s->rx_len = s->rx_head = 0;
	if (s->chr)
		chardev_want(s->chr);
}

/* ---- registers ---- */

static uint8_t read_iir(struct serial *s)
{
	uint8_t v = pending(s);

	if (v == IIR_THRE)
		s->thr_interrupt = false;
	return v | (s->fcr & FCR_ENABLE ? IIR_FIFOS : 0);
}

static uint8_t read_lsr(struct serial *s)
{
	uint8_t v = s->lsr_errors | (s->rx_len ? LSR_READY : 0) | (s->stalled ? 0 : LSR_THRE | LSR_TEMT);

	s->lsr_errors = 0;
	return v;
}

/* The lines as they stand: our own outputs in loopback, else a peer that is always there. */
static uint8_t modem_lines(const struct serial *s)
{
	if (!(s->mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	return (s->mcr & MCR_RTS ? MSR_CTS : 0) | (s->mcr & MCR_DTR ? MSR_DSR : 0) | (s->mcr & MCR_OUT1 ? MSR_RI : 0) |
	       (s->mcr & MCR_OUT2 ? MSR_DCD : 0);
}

static void write_mcr(struct serial *s, uint8_t v)
{
	uint8_t before = modem_lines(s), changed;
	bool looped = s->mcr & MCR_LOOP;

	s->mcr = v & 0x1f;
	/* What came from outside meanwhile still waits there. */
	if (looped && !(v & MCR_LOOP) && s->chr)
		chardev_want(s->chr);
	changed = before ^ modem_lines(s);
	/* RI counts only when it ends. */
	if (changed & MSR_RI && !(before & MSR_RI))
		changed &= (uint8_t)~MSR_RI;
	s->msr_delta |= changed >> 4;
}

static void write_fcr(struct serial *s, uint8_t v)
{
	if ((s->fcr ^ v) & FCR_ENABLE)
		v |= FCR_CLEAR_RX | FCR_CLEAR_TX;
	s->fcr = v & FCR_ENABLE ? v & FCR_KEPT : 0;
	if (v & FCR_CLEAR_RX)
		clear_rx(s);
	if (v & FCR_CLEAR_TX && !s->stalled)
		s->thr_interrupt = true;
}

static void write_ier(struct serial *s, uint8_t v)
{
	uint8_t set = v & (uint8_t)~s->ier;

	s->ier = v & 0x0f;
	/* Enabling it while the register is empty raises it at once. */
	if (set & IER_THRE && !s->stalled)
		s->thr_interrupt = true;
}

static uint8_t read_reg(struct serial *s, unsigned reg)
{
	bool dlab = s->lcr & LCR_DLAB;
	uint8_t v;

	switch (reg) {
	case RBR:
		return dlab ? s->dll : read_rbr(s);
	case IER:
		return dlab ? s->dlm : s->ier;
	case IIR:
		return read_iir(s);
	case LCR:
		return s->lcr;
	case MCR:
		return s->mcr;
	case LSR:
		return read_lsr(s);
	case MSR:
		v = modem_lines(s) | s->msr_delta;
		s->msr_delta = 0;
		return v;
	default:
		return s->scr;
	}
}

static void write_reg(struct serial *s, unsigned reg, uint8_t v)
{
	bool dlab = s->lcr & LCR_DLAB;

	switch (reg) {
	case THR:
		if (dlab)
			s->dll = v;
		else
			transmit(s, v);
		break;
	case IER:
		if (dlab)
			s->dlm = v;
		else
			write_ier(s, v);
		break;
	case FCR:
		write_fcr(s, v);
		break;
	case LCR:
		/* A break looped back is received as one. */
		if (s->mcr & MCR_LOOP && v & LCR_BREAK & ~s->lcr) {
			s->lsr_errors |= LSR_BREAK;
			receive(s, 0);
		}
		s->lcr = v;
		break;
	case MCR:
		write_mcr(s, v);
		break;
	case SCR:
		s->scr = v;
		break;
	default: /* LSR and MSR are for reading */
		break;
	}
}

static uint64_t serial_read(void *opaque, uint64_t off, unsigned size)
{
	struct serial *s = opaque;
	uint8_t v = read_reg(s, (unsigned)off & 7);

	(void)size;
	update_irq(s);
	return v;
}

static void serial_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
	struct serial *s = opaque;

	(void)size;
	write_reg(s, (unsigned)off & 7, (uint8_t)value);
	update_irq(s);
}

static const struct region_ops serial_ops = { .read = serial_read, .write = serial_write, .min = 1, .max = 1 };

/* ---- the character device's side: main thread ---- */

static size_t on_capacity(void *opaque)
{
	struct serial *s = opaque;
	size_t n;

	mutex_lock(&s->lock);
	n = s->mcr & MCR_LOOP ? 0 : fifo_depth(s) - MIN(s->rx_len, fifo_depth(s));
	mutex_unlock(&s->lock);
	return n;
}

static void on_input(void *opaque, const uint8_t *p, size_t n)
{
	struct serial *s = opaque;

	mutex_lock(&s->lock);
	for (size_t i = 0; i < n; i++)
		receive(s, p[i]);
	update_irq(s);
	mutex_unlock(&s->lock);
}

static void on_room(void *opaque)
{
	struct serial *s = opaque;

	mutex_lock(&s->lock);
	if (s->stalled) {
		s->stalled = false;
		s->thr_interrupt = true;
		update_irq(s);
	}
	mutex_unlock(&s->lock);
}

static void on_quit(void *opaque)
{
	struct serial *s = opaque;

	if (s->quit)
		s->quit(s->opaque);
}

/* ---- life ---- */

void serial_init(struct serial *s, const struct irq_chip *irq, unsigned gsi, struct chardev *chr)
{
	*s = (struct serial){ .irq = { .chip = irq, .gsi = gsi }, .chr = chr };
	mutex_init(&s->lock);
	s->region = (struct region){
		.name = "serial",
		.size = SERIAL_PORTS,
		.ops = &serial_ops,
		.opaque = s,
		.policy = REGION_DEVICE,
		.lock = &s->lock,
	};
	serial_reset(s);
}

int serial_start(struct serial *s, struct loop *main_loop, void (*quit)(void *opaque), void *opaque, struct error *err)
{
	struct chardev_client client = {
		.capacity = on_capacity,
		.input = on_input,
		.room = on_room,
		.quit = on_quit,
		.opaque = s,
		.delay_ns = LINE_DELAY,
	};
	int rc;

	s->quit = quit;
	s->opaque = opaque;
	if (!s->chr)
		return 0;
	rc = chardev_attach(s->chr, "-serial", &client, main_loop, err);
	s->attached = rc == 0;
	return rc;
}

void serial_reset(struct serial *s)
{
	mutex_lock(&s->lock);
	s->ier = s->lcr = s->mcr = s->scr = s->fcr = 0;
	s->lsr_errors = s->msr_delta = 0;
	s->dll = 12; /* 9600 baud */
	s->dlm = 0;
	s->thr_interrupt = false;
	s->rx_len = s->rx_head = 0;
	update_irq(s);
	mutex_unlock(&s->lock);
	if (s->attached)
		chardev_want(s->chr);
}

void serial_destroy(struct serial *s)
{
	if (s->attached)
		chardev_detach(s->chr);
	s->attached = false;
	chardev_close(s->chr);
	s->chr = NULL;
	mutex_destroy(&s->lock);
}
