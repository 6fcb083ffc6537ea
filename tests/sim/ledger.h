/*
 * ledger: what the programs of a cluster saw, held against what was promised.
 * Knows only unique message numbers, who sent them where and how, and when
 * which daemon died.
 */
#ifndef LEDGER_H
#define LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEDGER_DAEMONS 4

void ledger_start(void);
/* Allocations fail: what was not accepted yet may be refused for that, and outcomes may end in it. */
void ledger_starved(void);

/* A daemon is killed or stopped now: what it had in memory may be gone. */
void ledger_daemon_died(int daemon);
/* It starts; by now everybody has read what it said before. */
void ledger_daemon_started(int daemon);
/* A producer was killed now: nobody hears what became of what it had open. */
void ledger_producer_died(int producer);

struct ledger_send {
	int producer;
	uint32_t line;   /* who sends, over which handle, to which queue, at which priority: within it order is promised */
	int from, to;
	unsigned levels; /* asked for, bits of CONNECTD_TELL */
	bool refusable;  /* the destination, or the daemon of the sender, must refuse it */
	bool mortal;     /* it may end on its way: a time to live, a full queue that drops or refuses */
	bool kept_from;  /* stored at its source, and so STORED once it is synced there */
	bool kept_to;    /* stored at its destination */
};
/* A message is about to be sent. Returns its number, which goes into the body. */
uint64_t ledger_sent(const struct ledger_send *s);
/* Queues of this daemon were purged: that may be the end of whatever was sent from or to it by now. */
void ledger_purged(int daemon);
/* The library did not take it after all. */
void ledger_not_sent(uint64_t number);
/* An outcome was told. */
void ledger_told(uint64_t number, int level, bool final, int result);

struct ledger_delivery {
	uint32_t consumer; /* one handle's subscription */
	int at;
	bool flagged;      /* told that it may have been seen */
	uint32_t attempt;
	uint64_t id[2];    /* stamped when the first daemon accepted it */
};
void ledger_delivered(uint64_t number, const struct ledger_delivery *d);

/* ---- named producers, whose messages are sent again by the next instance ---- */

/* Whether it got through is known once the name is opened again. */
void ledger_orphan(uint64_t number);
/* Its daemon says it is safe. */
void ledger_safe(uint64_t number);
/* It is sent again, under the number it had; nothing told of the time before counts. */
void ledger_again(uint64_t number);
/* Sent by an instance that was taken over before: nobody may ever take it. */
void ledger_zombie(uint64_t number, uint32_t instance);
/* Nobody hears of what it sent any more. */
void ledger_zombie_died(uint32_t instance);

/* Everything has come to rest. */
void ledger_end(void);
/* Messages that still wait for a final outcome, of producers that live. */
size_t ledger_open(void);

/* Trace the messages that ledger_open counts. */
void ledger_trace_open(void);

size_t ledger_messages(void);

#endif
