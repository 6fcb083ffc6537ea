/* intake_internal: one flow's receiving end, shared by intake*.c only. */
#ifndef INTAKE_INTERNAL_H
#define INTAKE_INTERNAL_H

#include "intake.h"

#define INTAKE_TOLD_MAX 32     /* ranges gathered before they are told */

struct intake_flow {
	struct hmap_node node; /* in the book */
	struct intake_env *env;
	struct intake_book *book;

	/* What it is. */
	uint8_t producer[INTAKE_PRODUCER_MAX];
	size_t producer_len;
	char queue[NAMES_DEST_MAX + 1];
	uint32_t priority;
	bool named;        /* producer is a name, and outlives sessions */
	uint64_t instance; /* of the handle that has it open, or had last */
	uint64_t epoch;    /* of a named one: counts its instances */

	struct flow_in in;
	uint32_t number;   /* in the store; 0: not kept there */
	uint64_t stored;   /* what is durable up to here is synced */
	uint64_t answer_at; /* FlowState is sent once that ticket is synced; 0: it was sent */
	struct list answering;
	struct inlet inlet;       /* open while a session has the flow */
	struct sender sender;     /* what outcomes are told to */
	struct message *partial;  /* a body of which in.partial_have bytes are here */
	uint64_t partial_reserved; /* of it in the pool of large and orphaned bodies */
	bool partial_started;     /* counted in the inlet */
	bool partial_large;       /* needs room of its own: above WIRE_LARGE, or the credit does not cover it */
	bool partial_wants;       /* the session waits for Credit.number */
	bool partial_granted;     /* a large one's reservation was told */
	struct store_body *partial_body; /* of a large one that is kept in the store: written as it comes */
	uint64_t partial_window;  /* bytes of it that count in the session's window */

	/* Its session. */
	struct intake *intake; /* NULL: none */
	uint32_t id;
	bool is_outbound;      /* outcomes are told */
	struct list dirty;
	bool confirm_due;
	bool store_failed;     /* in this session: what is to be stored is swallowed, and nothing granted */

	/* Outcomes not told yet: of one level, code and reason. */
	enum wire_level told_level;
	enum wire_reject_code told_code;
	char told_reason[WIRE_REASON_MAX];
	uint64_t told[INTAKE_TOLD_MAX][2];
	size_t n_told;

	/* Without a session. */
	struct list lingering;
	struct list orphan;
	uint64_t away_since_ms; /* with a session: there since */
	bool closed; /* its opener is done with it: goes once nothing points here */
};

/* The book's flow with this key, or NULL. */
struct intake_flow *intake_flow_find(const struct intake_env *env, const struct intake_book *b, struct wire_bytes producer,
    const char *queue, uint32_t priority);
/* 0; -ENOBUFS: the book is full of flows that cannot go; -ENOMEM. */
int intake_flow_new(struct intake_env *env, struct intake_book *b, struct wire_bytes producer,
    const char *queue, uint32_t priority, struct intake_flow **ret);
void intake_flow_free(struct intake_flow *fl);
/* Nothing points to it. */
bool intake_flow_is_free(const struct intake_flow *fl);
/*
 * Nobody will open it again: out of the store, under a key that no opener has;
 * its memory goes once nothing points there.
 */
void intake_flow_forget(struct intake_flow *fl);

/* Tie to a session and a queue; the flow is not tied to any. */
void intake_flow_attach(struct intake_flow *fl, struct intake *in, uint32_t id, struct queue *q);
/* The session is gone or done with it: it lingers, or goes if closed. */
void intake_flow_detach(struct intake_flow *fl);

/* It has no session: from now on its mark may age. */
void intake_flow_linger(struct intake_flow *fl);
/* Up to here everything is as safe as it asked for. */
uint64_t intake_flow_confirmed(const struct intake_flow *fl);
/* What a confirm means. */
enum wire_level intake_flow_level(const struct intake_flow *fl);
/* More of the partial body, which the store writes ahead if it is to keep it. 0, -ENOMEM, -EIO. */
int intake_flow_write_ahead(struct intake_flow *fl, struct wire_bytes more);
/* It will not become a message. */
void intake_flow_drop_ahead(struct intake_flow *fl);
/* Tell the opener how the flow stands. */
void intake_flow_answer(struct intake_flow *fl);
/* It is a named producer's, or not. */
void intake_flow_name(struct intake_flow *fl, bool named);
/* Tell the store who it is, or what has changed of that. 0 or a negative errno. */
int intake_flow_define(struct intake_flow *fl);

/* Something has to be said at the end of this pass. */
void intake_flow_dirty(struct intake_flow *fl);
/* Say it: Confirm, Progress, Credit. */
void intake_flow_say(struct intake_flow *fl);

/* Raise the flow's credit by what queue and memory have room for; false: not worth saying yet. */
bool intake_flow_grant(struct intake_flow *fl);

/* Drop the partial body and give back what was reserved. */
void intake_flow_drop_partial(struct intake_flow *fl);
/* Room for `bytes` of large bodies, if need be at the cost of orphaned ones. */
bool intake_flow_reserve(struct intake_flow *fl, uint64_t bytes);

#endif
