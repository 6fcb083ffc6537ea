/*
 * middle: somebody between the ends, who passes bytes on, slowly, damaged or
 * not at all, and counts records. And plain sockets that speak no TLS.
 */
#ifndef MIDDLE_H
#define MIDDLE_H

#include "suite.h"

struct middle_way {
	struct middle *m;
	int fd;
	struct loop_watch watch;
	uint8_t buf[65536]; /* read from fd, not yet written to the other */
	size_t at, len;
	bool is_over; /* nothing more comes from it */
};

struct middle {
	struct world *w;
	char url[64]; /* to be dialled */
	int listening;
	struct loop_watch watch;
	struct loop_timer turn;
	struct middle_way way[2]; /* 0: of who dialled */
	size_t step;          /* bytes written at once */
	bool is_shut;         /* nothing passes from who dialled */
	uint64_t damage_at;   /* of way 0; 0: none */
	uint64_t passed[2];
	bool ended[2];        /* the end of what came that way was passed on */
	bool is_reset;
	unsigned records;     /* headers seen on way 0 */
	uint64_t next_record; /* where the next begins */
	uint8_t header[5];
};

/* Between who dials m->url and the world's listener; one connection. */
struct middle *middle_new(struct world *w);
void middle_free(struct middle *m);
/* The end of way 0, in order for TCP, without what would still come. */
void middle_end(struct middle *m);
/* Look again at what may pass. */
void middle_turn(struct middle *m);

/* Connected to a URL's 127.0.0.1 port; or listening, and the URL with the port. Blocking. */
int raw_connect(const char *url);
int raw_listen(char url[static TRANSPORT_TEXT_MAX]);

#endif
