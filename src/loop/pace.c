/* SPDX-License-Identifier: BSD-2-Clause */
/* Is the traffic of a loop a stream or a conversation? See pace.h. */
#include "loop/pace.h"

void pace_init(struct pace *p)
{
	*p = (struct pace){ .agreement = PACE_SURE };
}

/* One small frame, and it answers the one before. */
static bool is_answer(struct pace *p)
{
	uint8_t direction = p->frames[1] != 0, last = p->last;

	if (p->frames[0] + p->frames[1] != 1)
		return false;
	p->last = direction;
	return direction != last && p->bytes <= PACE_SMALL;
}

bool pace_turn(struct pace *p)
{
	bool was = p->batch;

	/* A stream that has a pause now and then (an acknowledgement, a request for more) is still one. */
	if (is_answer(p))
		p->agreement = (uint8_t)MIN(p->agreement + 1, PACE_SURE);
	else
		p->agreement -= MIN(p->agreement, 2);
	if (p->agreement == 0)
		p->batch = true;
	else if (p->agreement == PACE_SURE)
		p->batch = false;
	p->frames[0] = p->frames[1] = 0;
	p->bytes = 0;
	return p->batch != was;
}
