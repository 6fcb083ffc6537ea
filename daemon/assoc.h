/*
 * assoc: SCTP associations (RFC 9260) as byte streams, over anything that
 * carries packets: UDP, or DTLS records in UDP. One stream of each
 * association is used, and the edges of its messages mean nothing. No I/O:
 * packets come in by assoc_input and go out by a call-back. The only file that
 * includes usrsctp, whose state is one for the whole process: all loops with
 * associations must be of one thread.
 *
 * usrsctp.so exports names of its own, sctp_* and many others, and would call
 * ours instead if we had one of them: hence assoc.
 */
#ifndef ASSOC_H
#define ASSOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#define ASSOC_PORT 5000   /* of SCTP, for who listens; whom a packet is for is known from what carries it */
#define ASSOC_HEADER 12   /* of a packet: ports, tag, checksum */
#define ASSOC_PROOF_MS 10000 /* so long such a proof is good */
#define ASSOC_PIECE (64 * 1024) /* bytes of a message at most */

struct loop;
struct assoc;

struct assoc_settings {
	uint32_t packet;         /* bytes of a packet at most */
	uint32_t buffer;         /* bytes each way that wait: not yet acknowledged, not yet read */
	uint32_t heartbeat_ms;   /* of an idle association; 0: none */
	uint32_t rto_min_ms, rto_max_ms;
	uint32_t retransmissions; /* of one packet; then the other end is gone */
};

struct assoc_events {
	/* Carry this to the other end. May come from inside any function here: only queue or send there. */
	void (*output)(void *arg, const uint8_t *packet, size_t len);
	/* Something may be different: state, bytes to read, room to write. From the loop. May free the association. */
	void (*changed)(void *arg);
};

/* What can be said of a packet without knowing its association. */
struct assoc_packet {
	uint16_t from_port, to_port;
	uint32_t tag;    /* which its receiver has chosen; as it is on the wire */
	bool is_initial; /* could begin an association, or ask about one that is not there */
	bool is_proof;   /* says that it got our answer, and begins one */
};
/* Whole, and with the right checksum? (Which is taken out, and put back.) */
bool assoc_packet_parse(uint8_t *packet, size_t len, struct assoc_packet *ret);

/* Start one. DIALLING until `changed`. 0 or a negative errno. */
int assoc_dial(struct loop *l, const struct assoc_settings *settings, const struct assoc_events *ev, void *arg, struct assoc **ret);
/*
 * A sound packet that belongs to no association here, by whom it comes from.
 * It is answered (through ev->output, before this returns; ports in it are changed) and nothing is
 * kept, until one proves that it gets our answers: then 1 and *ret, which is
 * up, and what is its own now (assoc_set_events) must be set at once. 0: no
 * association; or -ENOMEM. id stands for whom it comes from, and is never on
 * the wire: the proof is bound to it, so it must not be guessed.
 */
int assoc_stranger(struct loop *l, const struct assoc_settings *settings, uint64_t id, const struct assoc_events *ev, void *arg,
    uint8_t *packet, size_t len, struct assoc **ret);
void assoc_set_events(struct assoc *a, const struct assoc_events *ev, void *arg);
/* A sound packet that came from the other end; ports in it are changed. */
void assoc_input(struct assoc *a, uint8_t *packet, size_t len);

enum assoc_state {
	ASSOC_DIALLING,
	ASSOC_UP,
	ASSOC_ENDED, /* the other end has sent all it wanted to send */
	ASSOC_BROKEN /* assoc_error says why */
};
/* What was received before the end is still there to be read. */
enum assoc_state assoc_state(struct assoc *a);
/* A negative errno; of one that is broken. */
int assoc_error(const struct assoc *a);
/* Broken because the other end has begun anew, without an end before. */
bool assoc_restarted(const struct assoc *a);

/* Would a read say something? */
bool assoc_readable(struct assoc *a);
/* Bytes; -EAGAIN; 0: orderly end; another negative errno: broken. */
ssize_t assoc_read(struct assoc *a, void *buf, size_t len);
bool assoc_writable(struct assoc *a);
/* Bytes taken, perhaps 0; or a negative errno: broken. */
ssize_t assoc_writev(struct assoc *a, const struct iovec *iov, int n);
/* Bytes taken that the other end has not acknowledged: 0 if there are none, else about so many. */
size_t assoc_pending(struct assoc *a);
/* Send what was taken, then end in order; ENDED or BROKEN when that is done. */
void assoc_shutdown(struct assoc *a);
bool assoc_is_over(struct assoc *a); /* both ends are done, or it is broken */
/* If it is not over, the other end is told that it is broken off. */
void assoc_free(struct assoc *a);

struct assoc_stats {
	uint32_t packet;          /* bytes at most */
	uint32_t rtt_ms;          /* 0: not measured yet */
	uint64_t retransmissions; /* of data */
};
void assoc_stats(struct assoc *a, struct assoc_stats *ret);

#endif
