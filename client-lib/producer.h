/*
 * producer: the sending half of a handle. One flow per destination and
 * priority, opened at the first message; its messages are numbered here and
 * stay until what became of them is known. producer.c holds the flows and what
 * is sent, producer_wait.c the calls that wait, producer_named.c the producers
 * with a name, outcome.c what the daemon says about messages, pump.c puts them
 * on the wire.
 */
#ifndef PRODUCER_H
#define PRODUCER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "connectd.h"
#include "dict.h"
#include "flow.h"
#include "hmap.h"
#include "list.h"
#include "names.h"
#include "sendq.h"
#include "wire.h"

#define PRODUCER_FLOWS 256      /* above, flows that are idle are closed */
#define PRODUCER_FLOWS_MAX 4096 /* flow objects of one handle; beyond, -EAGAIN */
#define PRODUCER_IDS 1024       /* flows open in one session at most */
#define PRODUCER_ID 16          /* bytes of the id of a producer without a name */
#define PRODUCER_NAME_MAX 32    /* of one with a name */
#define PRODUCER_NAMED 64       /* producers with a name on one handle: their flows are never closed */
#define PRODUCER_WINDOW 65536
#define PRODUCER_WINDOW_BYTES (16u << 20)
#define PRODUCER_EXPIRE_MS 50   /* between two looks for expired messages */

/* Which list of struct producers a flow is in. */
enum producer_where {
	PRODUCER_ALONE,    /* none: waits for the daemon, or for a session */
	PRODUCER_READY,    /* can go on */
	PRODUCER_BLOCKED,  /* by the session window */
	PRODUCER_UNOPENED, /* no id is free */
	PRODUCER_IDLE      /* nothing is open */
};

struct producer_flow {
	struct list all;   /* in producers.flows */
	struct list turn;
	enum producer_where where;
	struct hmap_node by_name;
	char dest[NAMES_DEST_MAX + 1];
	size_t dest_len;
	unsigned priority;
	uint8_t producer[PRODUCER_NAME_MAX];
	size_t producer_len;
	bool named;
	bool known;         /* a named producer: the daemon said where it stands */
	int over;           /* a named producer: taken over or refused, a negative errno; 0: it is not */
	uint64_t epoch;     /* a named producer: which of its instances this is */
	uint64_t settled;   /* a named producer: the highest number confirmed */
	uint32_t id;        /* in this session; 0: not open */
	struct flow_out out;
	struct sendq queue;
	bool durable;       /* as the daemon said: its queue keeps messages on disk unless they say memory */
	uint32_t settles;   /* the level at which a Confirm settles; below, messages stay to be sent again */
	uint64_t accepted;  /* up to here messages of this session know that they are accepted */
	uint64_t sent_max;  /* highest number ever put on a wire */
	uint64_t maybe_max; /* up to here they may have reached an earlier boot of the daemon */
	uint64_t boot;      /* of the daemon it was last open with; 0: none */
	uint64_t left_at;   /* when that session ended */
	uint64_t promised;  /* bytes of the body under way that the session window still holds for it */
};

struct producers {
	struct list flows;
	size_t n_flows, n_named;
	struct hmap by_name;
	struct producer_flow *last; /* the one found last */
	struct producer_flow *by_id[PRODUCER_IDS];
	uint32_t next_id, n_ids, max_ids;
	struct list ready[WIRE_PRIORITIES];
	struct list blocked, unopened;
	struct list idle;     /* longest idle first */
	uint64_t instance;
	struct dict_out types;
	struct credit window; /* of the session: bytes only */
	uint32_t chunk;
	size_t unconfirmed;   /* messages without their final call */
	size_t held;          /* messages, with those kept only to be sent again */
	uint64_t held_bytes;
	uint32_t window_messages;
	uint64_t window_bytes;
	uint64_t expire_at;   /* next look for expired messages; UINT64_MAX: none */
};

/* Is there room in the window for another message? */
static inline bool
producers_have_room(const struct producers *p)
{
	return p->held < p->window_messages && p->held_bytes < p->window_bytes;
}

void producers_init(struct connectd *c);
/* Every open message ends with -ECANCELED; its sender hears of it unless `quiet`. */
void producers_cancel(struct connectd *c, bool quiet);
void producers_done(struct connectd *c);

/* A session is there, or gone. */
void producers_up(struct connectd *c);
void producers_down(struct connectd *c);

/* Look for messages whose time to live passed before they were sent. */
void producers_expire(struct connectd *c, uint64_t now);

/* The flow to a destination, of a named producer or at a priority; NULL: none. */
struct producer_flow *producer_find(struct producers *p, const char *dest, size_t len, bool named, unsigned priority);

/* A new one without a producer's id. NULL: out of memory. */
struct producer_flow *producer_new(struct connectd *c, const char *dest, size_t len, bool named, unsigned priority);

/* Its messages are gone already. */
void producer_free(struct connectd *c, struct producer_flow *f);

/* producer_named.c: the daemon serves this named producer no longer. */
void producer_over(struct connectd *c, struct producer_flow *f, uint32_t verdict, const char *reason);

/* Has it messages, or is it one that must be open whether it has or not? */
static inline bool
producer_wants(const struct producer_flow *f)
{
	return !sendq_empty(&f->queue) || (f->named && f->out.state == FLOW_OUT_CLOSED && f->over == 0);
}

/* Put the flow where it belongs: in line if it has something to do. */
void producer_ready(struct connectd *c, struct producer_flow *f);
void producer_move(struct connectd *c, struct producer_flow *f, enum producer_where where);

/* Its id is free again. */
void producer_drop_id(struct connectd *c, struct producer_flow *f);

/* Close flows that are idle and too many; with need_id also one more, if that frees an id. */
void producers_trim(struct connectd *c, bool need_id);

/*
 * A message got to a level, or is over: tell its sender. producer_finish makes
 * the final call; producer_final does so unless it was made, and the entry's
 * reference goes.
 */
void producer_tell(struct connectd *c, const struct sendq_entry *e, enum connectd_level level);
void producer_finish(struct connectd *c, const struct sendq_entry *e, enum connectd_level level, int result,
    const char *reason);
void producer_final(struct connectd *c, const struct sendq_entry *e, enum connectd_level level, int result,
    const char *reason);

/* pump.c: put messages on the wire while there is room. True if anything was. */
bool producers_pump(struct connectd *c);

/* outcome.c: frames from the daemon. 0, or -EPROTO with a sentence recorded. */
int producer_flow_state(struct connectd *c, const struct wire_flow_state *s);
int producer_confirm(struct connectd *c, const struct wire_confirm *w);
int producer_progress(struct connectd *c, const struct wire_progress *w);
int producer_reject(struct connectd *c, const struct wire_reject *w);
int producer_credit(struct connectd *c, const struct wire_credit *w);

#endif
