/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-net, guest to wire (virtio 1.2, 5.1.6.2).
 *
 * On a kick, chains are collected into a batch, each as a frame without its header, and handed to the peer; the ring is
 * published and the driver called once a batch. What the peer has no room for goes back to the ring (nothing is copied,
 * the ring is the queue), and is taken again when the peer has room. Frames that wait so are counted as held: they are
 * the first ones of the ring, so a number says which.
 *
 * Only the newest chains can be given back, so a chain that is no frame is never taken behind good ones: it waits for
 * its turn, is the first of its batch, and is dropped there.
 */
#include <errno.h>

#include "base/iov.h"
#include "nic/nic.h"
#include "nic/virtio_net.h"

/* With the header slot no more pieces than writev() takes. */
#define TX_PIECES (NET_IOV_MAX - 1)

/*
 * The header's copy, and where the frame begins: pieces are cut or skipped. The chain is long enough for a header. Of
 * that the first part alone says something: what follows is for received frames.
 */
static __attribute__((noinline)) unsigned peel_slow(struct iovec *iov, unsigned hdr_len, struct virtio_net_hdr *hdr)
{
	unsigned done = 0, skip = 0;

	while (done < hdr_len) {
		struct iovec *v = &iov[skip];
		unsigned n = (unsigned)MIN(v->iov_len, (size_t)hdr_len - done);

		if (done < sizeof(*hdr))
			vnet_copy((uint8_t *)hdr + done, v->iov_base, MIN(n, (unsigned)sizeof(*hdr) - done));
		done += n;
		v->iov_base = (uint8_t *)v->iov_base + n;
		v->iov_len -= n;
		skip += !v->iov_len;
	}
	return skip;
}

static inline unsigned peel(struct iovec *iov, unsigned hdr_len, struct virtio_net_hdr *hdr)
{
	if (unlikely(iov->iov_len <= hdr_len))
		return peel_slow(iov, hdr_len, hdr);
	vnet_copy(hdr, iov->iov_base, sizeof(*hdr));
	iov->iov_base = (uint8_t *)iov->iov_base + hdr_len;
	iov->iov_len -= hdr_len;
	return 0;
}

/* A frame in more pieces than can be written at once is copied; one in a batch. */
static __attribute__((noinline)) enum net_drop flatten(struct vnet_tx *t, struct frame *f)
{
	struct iov_cur cur = iov_cur(&t->iov[f->iov], f->cnt);

	t->iov[f->iov] = (struct iovec){ t->flat, iov_get(&cur, t->flat, f->len) };
	f->cnt = 1;
	return NET_OK;
}

/* Make a frame of the chain at iov[at]. */
static inline enum net_drop make_frame(struct vnet_pair *p, const struct vchain *c, unsigned at, struct frame *f)
{
	struct virtio_net_hdr hdr;
	unsigned skip = peel(&p->tx.iov[at], p->hdr_len, &hdr);
	enum net_drop why;

	*f = (struct frame){
		.iov = at + skip, .cnt = c->n_out - skip, .len = c->out_len - p->hdr_len, .token = c->head
	};
	if (unlikely(f->len < ETH_HDR_LEN))
		return NET_DROP_TOO_SHORT;
	if (unlikely(f->len > NET_FRAME_MAX))
		return NET_DROP_TOO_BIG;
	why = net_vnet_decode(&hdr, f->len, &f->meta);
	if (unlikely(why))
		return why;
	if (unlikely(frame_needs(&f->meta) & ~p->sends))
		return NET_DROP_VNET_HDR;
	return NET_OK;
}

static void drop(struct vnet_pair *p, uint16_t head, enum net_drop why)
{
	nic_tx_settle(&p->client, &p->tx.waiting, 1);
	net_drop_tx(&p->client, why);
	virtq_push(&p->txq->q, head, 0);
}

/* The guest broke a rule: what was collected before is dropped with what waited. */
static __attribute__((noinline)) int broke(struct vnet_pair *p, enum virtq_fault why)
{
	nic_tx_wait(&p->client, &p->tx.waiting, p->tx.batch.n);
	vnet_break(p->net, p->txq, why);
	return -EPROTO;
}

/*
 * Collect a batch of at most `most` frames. Returns the chains that were dealt with, dropped ones too; 0: the ring is
 * empty. Negative: the queue broke.
 */
static int collect(struct vnet_pair *p, unsigned most)
{
	struct vnet_tx *t = &p->tx;
	struct virtq *q = &p->txq->q;
	struct batch *b = &t->batch;
	unsigned at = 1, n = 0;
	struct vchain c;
	int r = 0;

	b->n = 0;
	for (; n < most; n++) {
		struct frame *f = &b->frame[b->n];
		enum net_drop why;

		if (unlikely(at + 1 >= VNET_TX_IOV))
			break;
		r = virtq_pop(q, &t->iov[at], VNET_TX_IOV - at, &c);
		if (r != 1)
			break;
		if (unlikely(c.n_in || c.out_len < p->hdr_len))
			return broke(p, c.n_in ? VIRTQ_FAULT_DIRECTION : VIRTQ_FAULT_HEADER);
		why = make_frame(p, &c, at, f);
		if (unlikely(why || f->cnt > TX_PIECES)) {
			if (b->n) {
				virtq_unpop(q, &c.head, 1);
				break;
			}
			if (why) {
				drop(p, c.head, why);
				continue;
			}
			flatten(t, f);
			b->n = 1;
			return (int)n + 1;
		}
		at += c.n_out + 1;
		b->n++;
	}
	return unlikely(r == -EPROTO) ? broke(p, q->fault) : (int)n;
}

/* Hand the batch to the peer. True: all of it went. */
static bool send_batch(struct vnet_pair *p)
{
	struct vnet_tx *t = &p->tx;
	struct batch *b = &t->batch;
	struct virtq *q = &p->txq->q;
	unsigned i, n;

	if (!b->n)
		return true;
	n = net_send(&p->client, b);
	for (i = 0; i < n; i++)
		virtq_push(q, (uint16_t)b->frame[i].token, 0);
	nic_tx_settle(&p->client, &p->tx.waiting, n);
	if (likely(n == b->n))
		return true;
	nic_tx_wait(&p->client, &p->tx.waiting, b->n - n);
	for (i = b->n; i-- > n;) {
		uint16_t head = (uint16_t)b->frame[i].token;

		virtq_unpop(q, &head, 1);
	}
	t->blocked = true;
	return false;
}

static void run(struct vnet_pair *p)
{
	unsigned left = p->net->prop.tx_burst; /* so that others on the loop get their turn */
	struct virtq *q = &p->txq->q;

	vnet_late_ask(p);
	virtq_kick_disable(q);
	while (left) {
		unsigned most = MIN(left, (unsigned)NET_BATCH);
		int n = collect(p, most);
		bool sent;

		if (n < 0)
			return;
		sent = send_batch(p);
		if (n == 1 && sent && vnet_late_may(p))
			vnet_late_flush(p);
		else
			vnet_flush(p, true);
		if (!sent)
			return;
		/* A batch that is not full was most likely ended by an empty ring: ask for a kick, and look again. */
		if ((unsigned)n < most && !vnet_more(p, true)) {
			if (unlikely(q->fault))
				vnet_break(p->net, p->txq, q->fault);
			return;
		}
		virtq_kick_disable(q);
		left -= most;
	}
	watch_again(&p->txq->watch);
}

bool vnet_tx_free(const struct vnet_pair *p)
{
	return !p->tx.blocked && !p->quiet && p->txq->q.running;
}

static void run_if_free(struct vnet_pair *p)
{
	if (vnet_tx_free(p))
		run(p);
}

static void on_time(struct timer *t)
{
	run_if_free(container_of(t, struct vnet_pair, tx.timer));
}

/* tx=timer: wait for more from the first kick on. One that comes meanwhile is not waited with. */
static bool waits_for_more(struct vnet_pair *p)
{
	struct timer *t = &p->tx.timer;

	if (!vnet_tx_free(p))
		return false;
	if (timer_armed(t)) {
		timer_cancel(t);
		return false;
	}
	virtq_kick_disable(&p->txq->q);
	return timer_arm(t, clock_now(CLOCK_VM_NS) + p->net->prop.tx_timer) == 0;
}

void vnet_tx_kick(struct vnet_pair *p)
{
	if (unlikely(p->net->prop.tx == TX_TIMER) && waits_for_more(p))
		return;
	run_if_free(p);
}

void vnet_tx_room(struct vnet_pair *p)
{
	p->tx.blocked = false;
	if (vnet_running(p))
		run_if_free(p);
}

void vnet_tx_init(struct vnet_pair *p)
{
	timer_init(&p->tx.timer, p->lane->loop, CLOCK_VM_NS, on_time);
}

void vnet_tx_stop(struct vnet_pair *p)
{
	timer_cancel(&p->tx.timer);
}

void vnet_tx_drop_waiting(struct vnet_pair *p, enum net_drop why)
{
	nic_tx_drop_waiting(&p->client, &p->tx.waiting, 0, why);
	p->tx.blocked = false;
}
