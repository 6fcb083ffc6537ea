/*
 * ledger: what the programs of a cluster saw, held against what was promised.
 * Knows only unique message numbers, who sent them where, and when which
 * daemon died.
 */
#ifndef LEDGER_H
#define LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEDGER_DAEMONS 4

void ledger_start(void);

/* A daemon is killed or stopped now: what it had in memory may be gone. */
void ledger_daemon_died(int daemon);
/* A producer was killed now: nobody hears what became of what it had open. */
void ledger_producer_died(int producer);

/*
 * A message is about to be sent. Returns its number, which goes into the body.
 * `line`: who sends, over which handle, to which queue, at which priority:
 * within it order is promised. refusable: the destination must refuse it.
 */
uint64_t ledger_sent(int producer, uint32_t line, int from, int to, bool refusable);
/* It may end on its way: a time to live, a full queue that drops or refuses. */
void ledger_mortal(uint64_t number);
/* Queues of this daemon were purged: that may be the end of whatever was sent from or to it by now. */
void ledger_purged(int daemon);
/* The library did not take it after all. */
void ledger_not_sent(uint64_t number);
/* An outcome was told. */
void ledger_told(uint64_t number, int level, bool final, int result);
/* consumer: one handle's subscription. flagged: told that it may have been seen. */
void ledger_delivered(uint64_t number, uint32_t consumer, int at, bool flagged, uint32_t attempt);
/* The consumer has acked it, as far as it can know. */
void ledger_acked(uint64_t number);

/* Everything has come to rest. */
void ledger_end(void);
/* Messages that still wait for a final outcome, of producers that live. */
size_t ledger_open(void);

/* Trace the messages that ledger_open counts. */
void ledger_trace_open(void);

size_t ledger_messages(void);

#endif
