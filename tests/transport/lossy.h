/*
 * lossy: somebody between the ends of SCTP, plain or in DTLS, who loses, doubles, reorders and
 * damages datagrams; and plain sockets that speak as much SCTP as a test says.
 */
#ifndef LOSSY_H
#define LOSSY_H

#include <netinet/in.h>

#include "suite.h"

#define LOSSY_DATAGRAM 2048
#define LOSSY_KEPT 64

struct lossy_kept {
	bool is_back; /* to who dialled */
	size_t len;
	uint8_t data[LOSSY_DATAGRAM];
};

struct lossy {
	struct world *w;
	char url[64]; /* to be dialled */
	int front, back;
	struct loop_watch watch[2];
	struct sockaddr_in dialler;
	unsigned loss, twice, late, damage; /* of 1000 */
	bool is_shut;                     /* nothing passes */
	uint64_t random;
	struct lossy_kept held; /* for the one after it; len 0: none */
	struct lossy_kept kept[LOSSY_KEPT]; /* the first ones */
	unsigned n_kept;
	unsigned passed, lost, doubled, reordered, damaged;
	size_t longest;
};

/* Between who dials lo->url (one) and the world's listener. */
struct lossy *lossy_new(struct world *w);
void lossy_free(struct lossy *lo);
/* Dial through it, and be up at both ends. */
void lossy_pair(struct lossy *lo, struct end **ret_dialled, struct end **ret_accepted);
/* From now on everything comes from another port. */
void lossy_move(struct lossy *lo);
/* What was kept is sent again, as it came. */
void lossy_replay(struct lossy *lo);

extern const struct transport_tuning lossy_usual;
/* A world of this kind whose streams go by that. */
struct world *lossy_tuned(int kind, const struct transport_tuning *t);

/* ---------------------------------------------------------- packets by hand */

struct raw {
	int fd;
	uint16_t port; /* of SCTP */
	uint32_t my_tag, tag; /* the other's */
	uint8_t in[LOSSY_DATAGRAM];
	ssize_t len;
	uint8_t cookie[LOSSY_DATAGRAM];
	size_t cookie_len;
};

/* A socket towards a URL's 127.0.0.1 port. */
struct raw raw_udp(const char *url, uint16_t port, uint32_t my_tag);
void raw_close(struct raw *r);
/* One chunk, in a packet with this tag. */
void raw_send(struct raw *r, uint32_t tag, uint8_t type, const void *body, size_t len);
void raw_init(struct raw *r);
/* Until a packet has come: the type of its first chunk. */
int raw_receive(struct world *w, struct raw *r);
/* INIT, INIT ACK: r has a cookie. */
void raw_get_cookie(struct world *w, struct raw *r);
void raw_echo(struct raw *r);

#endif
