/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A virtio device for tests of transports: it copies what it is given from the readable to the writable part of each
 * chain. What a driver writes to its configuration is there to be read.
 */
#ifndef TEST_COPIER_H
#define TEST_COPIER_H

#include "virtio/device.h"

#define COPIER_ID  42
#define QUEUES	   3
#define QSIZE	   64
#define CONFIG_LEN 13

struct copier {
	struct virtio_device v;
	uint8_t config[CONFIG_LEN];
	bool rejects;		/* property: realize fails */
	unsigned starts, stops; /* of the loop */
};

static inline struct copier *to_copier(struct virtio_device *v)
{
	return container_of(v, struct copier, v);
}

extern const struct type type_copier;

#endif
