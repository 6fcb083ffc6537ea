/*
 * suite: one set of tests over every kind of transport. A world is a loop, a
 * listener of the kind under test and the ends of its streams, which count
 * their call-backs and check the bytes they read against a pattern.
 */
#ifndef SUITE_H
#define SUITE_H

#include <check.h>

#include "loop.h"
#include "transport.h"

enum { KIND_UNIX, KIND_TCP4, KIND_TCP6, KIND_TLS4, KIND_TLS6, KIND_SCTP4, KIND_SCTP6, KIND_DTLS4, KIND_DTLS6, KIND_MEM, KINDS };
#define KERNEL_KINDS KIND_MEM /* those before it have descriptors */

struct kind {
	const char *name;
	const struct transport_ops *ops;
	const char *url; /* to listen on; NULL: a path in the world's folder */
};
extern const struct kind kinds[KINDS];

static inline bool
kind_is_dtls(int kind)
{
	return kind == KIND_DTLS4 || kind == KIND_DTLS6;
}

/* Both ends show a certificate. */
static inline bool
kind_is_tls(int kind)
{
	return kind == KIND_TLS4 || kind == KIND_TLS6 || kind_is_dtls(kind);
}

/* Over UDP. */
static inline bool
kind_is_sctp(int kind)
{
	return kind == KIND_SCTP4 || kind == KIND_SCTP6 || kind_is_dtls(kind);
}

static inline bool
kind_is_v4(int kind)
{
	return kind == KIND_TCP4 || kind == KIND_TLS4 || kind == KIND_SCTP4 || kind == KIND_DTLS4;
}

#define ENDS_MAX 300

struct world;

struct end {
	struct transport *t;
	struct world *w;
	int ups, readables, writables, downs, error;
	char text[TRANSPORT_TEXT_MAX];
	bool hold;          /* readable reads nothing and switches reading off */
	uint64_t to_write;  /* pattern bytes to be written, as there is room */
	uint64_t in, out;   /* bytes read, written */
	uint64_t short_writes;
	bool eof;           /* read returned 0 */
	bool shakes_later;  /* may_shake says no, until this is taken back for one step */
	bool by_turns;
	int asked, shaken;  /* calls of may_shake, and of shaken */
	uint64_t shaken_ns;
	/* Called first in each call-back, if set; true: that was all. */
	bool (*hook)(struct end *e, char what); /* 'u' 'r' 'w' 'd' */
	void *hook_arg;
};

struct world {
	struct loop *loop;
	const struct kind *kind;
	struct transport_listener *tl;
	char url[TRANSPORT_TEXT_MAX]; /* in force */
	char folder[32];
	struct end accepted[ENDS_MAX], dialled[ENDS_MAX];
	unsigned n_accepted, n_dialled;
	int failures, failure; /* calls of failed; the last error */
	bool pause_on_failure;
	bool (*accept_hook)(struct world *w, struct end *e);
	/* TLS and DTLS: who dials is paris, who waits is berlin, and each is welcome; or what a test puts here. */
	struct transport_security dialling, waiting;
	int checks; /* calls of the usual check */
	const char *refusal; /* NULL: welcome */
	struct loop_timer guard, tick;
};

/* A world of this kind; listening unless told not to. */
struct world *world_new(int kind);
struct world *world_new_silent(int kind);
/* The usual check: counts, and refuses with w->refusal. */
bool world_check(void *arg, const struct transport_identity *id, char why[static TRANSPORT_TEXT_MAX]);
/* Listen on the world's URL (fd -1) or on a passed socket. */
int world_listen(struct world *w, int fd);
void world_listen_close(struct world *w);
/* Closes what is open, frees, and leaves nothing in the file system. */
void world_free(struct world *w);
/* A URL as the kind's tests use it; the text must live as long as the result. */
struct names_url world_url(const char *text);
/* Dial the world's listener; or another URL. */
struct end *world_dial(struct world *w);
struct end *world_dial_to(struct world *w, const char *url, uint64_t timeout_ms);
/* Dial, and wait until both ends are there: the last of dialled and of accepted. */
void world_pair(struct world *w, struct end **ret_dialled, struct end **ret_accepted);
/* From now on a pass comes now and then, for what no event tells of. */
void world_tick(struct world *w);
/* A few passes: whatever was going to happen on its own has happened. */
void world_settle(struct world *w);
/* Write pattern bytes until e->to_write is reached or there is no room. */
void end_pump(struct end *e);
void end_close(struct end *e, bool drain);

/* Run until cond; the world's guard ends a test that hangs. */
#define UNTIL(w, cond)                            \
	do {                                      \
		while (!(cond))                   \
			loop_step((w)->loop, true); \
	} while (0)

TCase *connect_tests(void);
TCase *bytes_tests(void);
TCase *close_tests(void);
TCase *listen_tests(void);
TCase *resolve_tests(void);
TCase *tls_tests(void);
TCase *openssl_tests(void);
TCase *sctp_tests(void);
TCase *dtls_tests(void);

#endif
