/*
 * transport_mux: one UDP socket for all who talk to its address: whose a
 * datagram is, by where it comes from and by what its kind finds in it; and
 * how many strangers are answered. For the kinds over UDP. Knows nothing of
 * what is inside.
 */
#ifndef TRANSPORT_MUX_H
#define TRANSPORT_MUX_H

#include "hmap.h"
#include "list.h"
#include "loop.h"
#include "transport.h"
#include "transport_resolve.h"

struct mux;

/* Who one is at the other end of a UDP socket. */
struct mux_far {
	union resolve_address address;
	uint16_t port; /* the kind's own; 0 if it has none */
};

/* Embedded in a stream. */
struct mux_node {
	struct hmap_node by_far;
	struct mux *mux; /* NULL: in none */
	struct mux_far far;
};

struct mux_kind {
	/* Is it one of ours, and from which of the ports behind its UDP port? */
	bool (*sort)(uint8_t *data, size_t len, uint16_t *ret_port);
	void (*input)(struct mux_node *n, uint8_t *data, size_t len);
	/* From nobody that is here, to a listener that is not paused. hash stands for far; nobody can guess it. */
	void (*stranger)(struct mux *m, void *listener, const struct mux_far *far, uint64_t hash, uint8_t *data, size_t len);
	/* The host that was dialled says that nobody is there. May have been forged. */
	void (*unreachable)(struct mux_node *n, int error);
};

/* What streams and listeners made from now on go by; the kinds' `tune`. */
int mux_tune(struct loop *l, const struct transport_tuning *tuning);

/* For one that is dialled: it is entered. The mux lives until it leaves. 0 or a negative errno. */
int mux_dial(struct loop *l, const struct mux_kind *kind, const union resolve_address *far, struct mux_node *n);
/* Bind, or take fd as udp_bind does; it lives until mux_end, and until those who have entered have left. */
int mux_listen(struct loop *l, const struct mux_kind *kind, const struct names_url *url, int fd, void *listener, struct mux **ret);
/* Without its listener no stranger is heard; another one on the same address gets the same mux. */
void mux_end(struct mux *m);

/* An accepted one; hash as `stranger` got it. 0 or -ENOMEM. */
int mux_enter(struct mux *m, struct mux_node *n, const struct mux_far *far, uint64_t hash);
/* If it is in one. */
void mux_leave(struct mux_node *n);

/* Who has entered from there; or NULL. */
struct mux_node *mux_find(const struct mux *m, const struct mux_far *far, uint64_t hash);
/* What came from this one's far end is of somebody who begins there anew: as of a stranger. */
void mux_again(struct mux_node *n, uint8_t *data, size_t len);

void mux_send(struct mux *m, const union resolve_address *to, const void *data, size_t len);
/* May a stranger's datagram be answered, by tuning.answers? It counts. */
bool mux_may_answer(struct mux *m);
void mux_pause(struct mux *m, bool paused);
void mux_retune(struct mux *m, const struct transport_tuning *tuning);
const struct transport_tuning *mux_tuning(const struct mux *m);
struct loop *mux_loop(const struct mux *m);
/* As udp_local. */
bool mux_local(const struct mux *m, union resolve_address *ret);

#endif
