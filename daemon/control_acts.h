/* control_acts: what the verbs that change something share; for control_acts*.c only. */
#ifndef CONTROL_ACTS_H
#define CONTROL_ACTS_H

#include "control_internal.h"

/* A verb under way. */
struct act {
	struct control *control; /* NULL: the asker has gone */
	uint64_t ticket;         /* it counts when that is synced */
	char text[480];          /* what will be said */
	/* Of a purge and a move. */
	uint64_t messages, bytes, in_doubt, up_to, told_ms;
	bool is_over;
	/* Of what the state folder keeps. */
	bool is_written;
	int error;
	/* The request goes: free what is here, or have it freed later. NULL: free is enough. */
	void (*end)(struct act *act);
};

/* rq->act; NULL: out of memory, and the asker was told. */
struct act *act_new(struct control *c, struct asker *a, struct request *rq);
/* Say why not: OVER. */
enum progress act_refuse(const struct asker *a, const struct request *rq, int error, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* What act_finish will say. */
void act_say(struct act *act, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Say it: OVER. */
enum progress act_finish(struct control *c, const struct asker *a, const struct request *rq);
/* The store writes what was appended; act->ticket is set. */
void act_hurry(struct control *c, struct act *act);
/* The store confirms nothing any more. */
bool act_has_failed(const struct control *c);
/* act_finish when the ticket is synced: what was said cannot be undone by a crash. */
enum progress act_finish_synced(struct control *c, const struct asker *a, const struct request *rq);

/* ---- control_acts_queue.c */
enum progress control_act_hold(struct control *c, struct asker *a, struct request *rq); /* release, too */
enum progress control_act_purge(struct control *c, struct asker *a, struct request *rq);
enum progress control_act_move(struct control *c, struct asker *a, struct request *rq);

/* ---- control_acts_reload.c */
enum progress control_act_reload(struct control *c, struct asker *a, struct request *rq);

/* ---- control_acts_backup.c */
enum progress control_act_backup(struct control *c, struct asker *a, struct request *rq);

/* ---- control_acts_peer.c */
enum progress control_act_forget_peer(struct control *c, struct asker *a, struct request *rq);
enum progress control_act_adopt_peer(struct control *c, struct asker *a, struct request *rq);
enum progress control_act_renew(struct control *c, struct asker *a, struct request *rq);

#endif
