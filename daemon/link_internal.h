/* link_internal: a configured peer, shared by link*.c only. */
#ifndef LINK_INTERNAL_H
#define LINK_INTERNAL_H

#include "backoff.h"
#include "flow.h"
#include "link.h"

#define LINK_CANDIDATES_MAX 4 /* connections of one peer that are still meeting */
#define LINK_PROBE_MS 5000    /* an old session answers within, or is dead */
#define LINK_KEY_MS 60000     /* how often it is looked whether a key has done enough */
#define LINK_RETRY_MS 1000    /* a refused flow, a full dead-letter queue */

/* The one session that carries flows. */
struct live {
	struct link *link;
	struct session *session;
	bool dialled; /* by this end */
	uint64_t nonce;
	struct state_peer peer;
	uint64_t decision; /* that made it the one */
	struct intake intake;
	struct log_limit denied; /* what it asked for and may not have */
};

/* A connection on its way to become the one session (link_meet.c). */
enum meeting {
	MEETING_HELLO,     /* waits for the other's Hello */
	MEETING_KNOWN,     /* for its Known */
	MEETING_ACCEPT,    /* the other end decides */
	MEETING_PROBING,   /* is the session we have still alive? */
	MEETING_RECORDING, /* writing down whom we met */
	MEETING_OVER
};

struct candidate {
	struct list node;
	struct link *link;
	struct session *session; /* NULL: gone while recording */
	enum meeting step;
	bool dialled;
	uint64_t nonce;
	struct state_peer peer;
	bool other_folder; /* not the state folder that was met before */
	bool peer_holds;   /* it told which session it holds */
	uint64_t held_nonce;
	bool held_dialled_by_peer;
	uint64_t decision;  /* the Accept that it got, or gave */
	uint64_t greeted;   /* our last decision when its Hello came */
	struct loop_call again; /* after a probe */
};

/* The sending end of a flow: an outbound queue at one priority (link_flow.c). */
struct outflow {
	struct outqueue *from;
	enum wire_priority priority;
	uint32_t id; /* 0: none */
	struct flow_out out;
	struct entry *cursor;  /* next held entry to send; NULL: take a new one */
	struct entry *current; /* body under way */
	uint64_t accepted;     /* by the FlowState of this session: need not be sent again */
	uint64_t kept_there;   /* the last durable message that a durable queue there has confirmed */
	bool durable;          /* the queue there, by the same FlowState */
	uint64_t promised;     /* bytes of it that the session's window still holds for it */
	struct list ready;     /* in link.ready, link.no_window or link.parked */
	enum wire_verdict verdict;
	char reason[WIRE_REASON_MAX + 1];
	enum wire_reject_code reject_code; /* of the message the flow is halted at */
	uint64_t reject_number;            /* 0: not halted */
	uint64_t recorded;                 /* what was refused is among the dead letters for good once this ticket is synced */
};

/* An outbound queue, of which the link is the only consumer. */
struct outqueue {
	struct consumer consumer;
	struct list node; /* in link.outqueues */
	struct link *link;
	struct queue *queue;
	struct outflow flows[WIRE_PRIORITIES];
};

struct link {
	struct core *core;
	const struct conf_peer *peer; /* or its family's */
	char name[NAMES_NODE_MAX + 1];
	char context[NAMES_NODE_MAX + 8];
	struct router_peer router_peer;
	bool decides; /* this end has the smaller name */

	enum link_state state;
	uint64_t since_ms;
	struct backoff backoff;
	struct loop_timer dial_timer;
	struct loop_timer key_timer; /* while a session is up that has a key */
	uint64_t dial_at_ms;
	size_t next_address;
	char last_error[200];
	const char *trouble; /* the kind of last_error, for programs: static; NULL: there is none */
	bool is_by_peer;     /* it was the other end's word */
	uint64_t down_ms;    /* without a session since */
	bool draining;      /* we are stopping */
	bool peer_draining; /* it said so */

	struct list candidates;
	size_t n_candidates;
	struct candidate *dialling;
	struct live *live;
	uint64_t decision; /* the other end's highest that was seen, and in which of its starts */
	struct state_peer decider;
#ifdef PLANT_TWO_SESSIONS
	struct intake_book second_book;
#endif

	struct intake_book book;

	/* Operators' doings (link_operator.c). */
	unsigned n_paused;
	struct link_change *change; /* being written; NULL: none */
	bool is_refused;            /* `refused` was, since the last session came up or change was made */
	struct state_peer refused;
	bool awaits_adopted;        /* nobody else is let in before it has come */

	struct list outqueues;
	struct outflow **by_id;
	uint32_t *free_ids;  /* given back in this session */
	uint32_t cap_ids, max_ids, n_free_ids, top_id; /* top_id: the first that was never taken in it */
	uint32_t hand;       /* where the search for a flow that may give its id up goes on */
	struct outflow gone; /* stands for flows whose queue went while they were being opened */
	struct list ready[WIRE_PRIORITIES];
	struct list no_window; /* wait for the session's window */
	struct list parked;    /* wait for the retry timer */
	struct list recording; /* wait for the store */
	struct list no_id;     /* wait for an id: all are in use */
	struct loop_call pump;
	struct loop_timer retry, look_for_ids;
	uint64_t window, window_granted, window_used;

	uint64_t sent_messages, received_messages, sent_bytes, received_bytes; /* of sessions gone by */
	uint64_t sent_here; /* messages sent on this session and before */
	uint64_t connects;
};

/* link.c: one function changes the state. */
void link_set_state(struct link *l, enum link_state st, const char *why);
/* The session decided on takes over; the one before it, if any, ends. Takes s out of c. */
void link_adopt(struct link *l, struct candidate *c);
/* No session and no dial under way: dial again after a while. code, error: why the last one ended. */
void link_retry(struct link *l, enum wire_close_code code, bool by_peer, const char *why);
/* The same: the other end has refused this one below the protocol, which knows no code for that. */
void link_retry_refused(struct link *l, const char *why);

/* What went wrong last, "" for nothing; trouble: its kind for programs, static. */
void link_note(struct link *l, const char *trouble, bool by_peer, const char *why);
/* The session ends now; what it still says does not count. */
void link_cut(struct link *l, enum wire_close_code code, const char *why);
/* For the flows of the node with this state folder; NULL: none was met. */
void link_init_book(struct link *l, struct intake_book *b, const struct state_peer *met);

/* link_settings.c */
/* Of loop_timer; arg is the link. */
void link_look_at_key(void *arg);

/* link_why.c */
/* Of struct consumer_ops. */
void outflows_why(const struct consumer *c, struct cause *ret);

/* link_operator.c */
/* This state of the peer was refused, and an operator may say otherwise. */
void link_refused(struct link *l, const struct state_peer *peer);
/* The link goes. */
void link_change_done(struct link *l);

/* link_meet.c */
/* Of struct transport_security: is it who this link is for? arg is the link. */
bool link_is_peer(void *arg, const struct transport_identity *id, char why[static TRANSPORT_TEXT_MAX]);
int meet_dial(struct link *l, const struct names_url *url);
void meet_accept(struct link *l, struct session *s, const struct wire_hello *hello);
void meet_end_all(struct link *l);
/* Whom this node trusts may have changed: those who may not meet it any more are told, what is being dialled is dialled anew. */
void meet_recheck(struct link *l);
/* Tell a session why it ends and think of it no more. */
void meet_dismiss(struct session *s, enum wire_close_code code, const char *reason);
/* The session they ask about is about to end. */
void meet_end_probes(struct link *l);
/* Candidates that this end may drop because the pair has its session now. */
void meet_settle(struct link *l);

/* link_send.c */
void outflows_send_init(struct link *l);
void outflows_send_done(struct link *l);
/* What it has taken and is not confirmed, by rising seq. */
static inline struct list *
outflow_held(struct outflow *of)
{
	return &of->from->consumer.held[of->priority];
}
static inline struct entry *
outflow_entry(struct list *n)
{
	return list_entry(n, struct entry, node);
}
/* The entry behind e among those held, or NULL. */
struct entry *outflow_next_held(struct outflow *of, struct entry *e);
/* It has something to send, or to settle. */
void outflow_ready(struct outflow *of);
/* Try again in a while: its reason is not ours to mend. */
void outflow_park(struct outflow *of);
/* Its queue goes: the other end need not keep it open, and its id is free once the other end knows. */
void outflow_close(struct outflow *of);
void outflow_give_id(struct outflow *of);
/* Of one that no flow stands for any more. */
void outflow_id_back(struct link *l, uint32_t id);
/* No session any more: all are free. */
void outflows_forget_ids(struct link *l);
void outflow_say_closed(struct link *l, uint32_t id, uint64_t number);
void outflow_say_abort(const struct outflow *of, uint64_t number);
/* The peer's window has grown. */
void outflows_window_wake(struct link *l);
/* The rest of the body under way will not be sent. */
void outflow_window_give_back(struct outflow *of);
void outflows_writable(struct link *l);
void outflows_synced(struct link *l);

/* link_flow.c */
int outflows_init(struct link *l); /* 0 or -ENOMEM */
void outflows_done(struct link *l);
void outflows_up(struct link *l, const struct wire_limits *limits);
void outflows_down(struct link *l);
/* FlowState, Confirm, Reject, Credit. As intake_frame. */
enum wire_close_code outflows_frame(struct link *l, const struct wire_frame *f, const char **ret_reason);
/* The peer may have what waits for it now, by other numbers: it is flagged when it is sent. */
void outflows_may_be_known(struct link *l);
/* Messages that only memory has, waiting or unconfirmed. */
uint64_t outflows_memory(const struct link *l);
void outflows_stats(const struct link *l, uint64_t *ret_waiting, uint64_t *ret_unconfirmed);

#endif
