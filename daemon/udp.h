/*
 * udp: datagrams, by batches. One socket serves all who talk to its address;
 * what is sent in one loop pass goes out together at its end. Lossy as UDP is:
 * what the kernel does not take is gone. Knows nothing of what is inside.
 */
#ifndef UDP_H
#define UDP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "transport_resolve.h"

#define UDP_DATAGRAM_MAX 9216 /* longer ones are not for us */
#define UDP_BATCH 32          /* datagrams a system call */

struct loop;
struct udp;

struct udp_events {
	/* data dies with the call. The socket may be closed there. */
	void (*input)(void *arg, const union resolve_address *from, uint8_t *data, size_t len);
	/* Connected sockets only: the kernel knows that what we send does not arrive ("connection refused"). */
	void (*failed)(void *arg, int error);
};

/* Bound to an address (port 0: any), or fd, a bound socket passed in, which the caller keeps if this fails. 0 or a negative errno. */
int udp_bind(struct loop *l, const union resolve_address *local, int fd, const struct udp_events *ev, void *arg, struct udp **ret);
/* For this other end alone: what others send does not come in. */
int udp_connect(struct loop *l, const union resolve_address *far, const struct udp_events *ev, void *arg, struct udp **ret);
/* To whom it is connected; or to this one. Copied; goes out at the end of the pass. */
void udp_send(struct udp *u, const union resolve_address *to, const void *data, size_t len);
/* The address in force. False: the kernel has no memory to tell it. */
bool udp_local(const struct udp *u, union resolve_address *ret);
/* What was sent still goes out; no call-back after this. */
void udp_close(struct udp *u);

#endif
