/*
 * hostile: a local program that speaks the protocol itself, and badly: half
 * bodies, wrong ids, frames out of order, numbers out of nowhere, mixed with
 * enough good ones to get somewhere. It only touches queues of its own.
 */
#ifndef HOSTILE_H
#define HOSTILE_H

/* Begin to bother the daemon at this socket. i: which of them. */
#define HOSTILE_MAX 2
void hostile_start(int i, const char *path, const char *const *dests, int n_dests);
void hostile_end(int i);

#endif
