/*
 * assoc_internal: what the files of assoc share. usrsctp's `struct socket` is
 * not ours: what includes this must not include socket.h.
 */
#ifndef ASSOC_INTERNAL_H
#define ASSOC_INTERNAL_H

#include <usrsctp.h>

#include "assoc.h"
#include "hmap.h"
#include "loop.h"

#define AHEAD_BYTES 256 /* read before they are asked for; a notification fits */

/* Per loop: its associations, and the clock that it gives to usrsctp. */
struct assoc_home {
	struct loop_attached attached;
	struct loop *loop; /* NULL: it is gone */
	size_t n;
	struct list changed; /* struct assoc.changed */
	struct loop_call call;
	struct loop_timer timer;
	uint64_t interval_ms; /* of the timer */
	uint8_t piece[ASSOC_PIECE];
};

struct assoc {
	uint64_t id; /* AF_CONN address */
	struct hmap_node by_id;
	struct assoc_home *home;
	uint16_t inside; /* the port that usrsctp knows for ASSOC_PORT, of an accepted one; 0: of one that was dialled */
	struct socket *so;
	const struct assoc_events *ev;
	void *arg;
	struct list changed; /* in its home's, or in none */
	enum assoc_state state;
	int error;
	bool restarted, over;
	uint8_t ahead[AHEAD_BYTES];
	size_t ahead_at, ahead_len;
	uint32_t packet, heartbeat_ms;
	bool is_ending; /* by us */
	/* Of what went out: the first time, and again. */
	bool has_tsn;
	uint32_t tsn;   /* the highest */
	uint32_t acked; /* up to there all has arrived */
	uint64_t written, sent, chunks, retransmissions;
};

/* Its home in this loop, with usrsctp running; NULL: no memory. */
struct assoc_home *assoc_home(struct loop *l);
/* In the table, by its id, from here on. 0 or -ENOMEM. */
int assoc_enter(struct assoc_home *h, struct assoc *a);
void assoc_leave(struct assoc *a);
bool assoc_is_taken(uint64_t id);
uint64_t assoc_next_id(void);
/* A packet that comes: what does it acknowledge? */
void assoc_note_acked(struct assoc *a, const uint8_t *packet, size_t len);
/* `changed` follows. */
void assoc_mark(struct assoc *a);
/* usrsctp's clock is right, and will be for what begins now. To be called before anything is done with it. */
void assoc_wake(struct assoc_home *h);
/*
 * What is looked up by usrsctp before there is an association is searched for
 * among all that are accepted on the same port, for each of them among all
 * addresses. So inside there are many ports for one.
 */
uint16_t assoc_inside(uint64_t id);
/* Change the port of the receiver, from ASSOC_PORT; false: it is another. */
bool assoc_enter_port(uint8_t *packet, uint16_t inside);
/* The socket that all dial who have this port inside, with these settings for the next that comes; NULL: no memory. */
struct socket *assoc_listener(uint16_t inside, const struct assoc_settings *settings);
/* What was accepted there and is nobody's is broken off. */
void assoc_refuse(uint16_t inside);
/* What is sent to this id goes there, though no association has it; ev NULL: no longer. */
void assoc_divert(uint64_t id, const struct assoc_events *ev, void *arg);
int assoc_configure(struct socket *so, const struct assoc_settings *settings);
uint32_t assoc_checksum(const uint8_t *packet, size_t len);

static inline void *
assoc_address(uint64_t id)
{
	return (void *)(uintptr_t)id;
}

#endif
