/*
 * wire_run: the part of wire.h that every message passes through, written out
 * by hand: checking, walking and packing the items of a run. Private to wire*.c.
 */
#ifndef WIRE_RUN_H
#define WIRE_RUN_H

#include <stdint.h>

#include "wire.h"

/*
 * Check a Transfer or Deliver, every item included, and fill *ret, which
 * starts as zeroes. 0, -EBADMSG, or -EMSGSIZE for too many items.
 */
int wire_run_unpack(const uint8_t *p, const uint8_t *end, struct wire_run *ret);

#endif
