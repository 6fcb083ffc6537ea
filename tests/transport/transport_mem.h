/*
 * transport_mem: a transport without a kernel: pairs of bounded pipes inside
 * one loop. For tests of what sits on transports, and itself held to the same
 * suite. mem://name:port; names live as long as their listener.
 */
#ifndef TRANSPORT_MEM_H
#define TRANSPORT_MEM_H

#include "transport.h"

#define MEM_PIPE_BYTES 16384 /* one direction holds this much */

extern const struct transport_ops transport_mem;

#endif
