/*
 * fuzz_tls: the TLS between nodes. Two real ends in memory, with somebody
 * between them who flips, cuts, doubles, drops and makes up bytes and records,
 * as the input says; or one end alone that hears only the input. What arrives
 * at the other end as plaintext must be a prefix of what was sealed.
 */
#include <stdlib.h>
#include <string.h>

#include "tls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Each run draws the same, so that a finding can be repeated. */
int __wrap_mbedtls_ctr_drbg_random(void *drbg, unsigned char *buf, size_t len);

#define BUFFER (4 * TLS_RECORD_MAX)
#define PLAIN 4096

static struct input {
	const uint8_t *p;
	size_t left;
} in;

/* One end, and what is on its way to it. */
struct end {
	struct tls *tls;
	uint8_t *buf;
	size_t len;
	bool is_ready, is_over, is_closed;
	size_t sealed, opened; /* bytes of plain[] */
};

static struct tls_context *contexts[2];
static uint8_t plain[PLAIN];
static unsigned n_checks;

static uint64_t rng;

int
__wrap_mbedtls_ctr_drbg_random(void *drbg, unsigned char *buf, size_t len)
{
	(void)drbg;
	for (size_t i = 0; i < len; i++) {
		rng = rng * 6364136223846793005u + 1442695040888963407u;
		buf[i] = (uint8_t)(rng >> 56);
	}
	return 0;
}

static uint64_t
take(size_t n)
{
	uint64_t x = 0;

	for (; n > 0 && in.left > 0; n--, in.left--)
		x = x << 8 | *in.p++;
	return x;
}

static void
make_contexts(void)
{
	static const char *const names[] = { "berlin", "oslo" };
	struct tls_made made;
	char why[TLS_TEXT_MAX];

	for (size_t i = 0; i < 2; i++) {
		struct tls_material m = { 0 };

		if (tls_make_identity(names[i], why, &made) != 0)
			abort();
		m.key = (struct tls_blob){ made.key, strlen(made.key) };
		m.certificate = (struct tls_blob){ made.certificate, strlen(made.certificate) };
		if (tls_context_new(&m, why, &contexts[i]) != 0)
			abort();
	}
	for (size_t i = 0; i < sizeof(plain); i++)
		plain[i] = (uint8_t)(i * 7 + i / 256);
}

static bool
check(void *arg, const struct tls_peer *peer, char why[static TLS_TEXT_MAX])
{
	(void)arg;
	n_checks++;
	strcpy(why, "not this one");
	return peer->has_certificate;
}

static void
put(struct end *e, const void *data, size_t len)
{
	if (len > BUFFER - e->len)
		len = BUFFER - e->len;
	if (len > 0)
		memcpy(e->buf + e->len, data, len);
	e->len += len;
}

static void
drop(struct end *e, size_t n)
{
	memmove(e->buf, e->buf + n, e->len - n);
	e->len -= n;
}

static void
over(struct end *e, enum tls_result r)
{
	if ((r == TLS_ALERT || r == TLS_FAILED) && (tls_why(e->tls)[0] == '\0' || tls_error(e->tls) >= 0))
		abort(); /* it ended, and nobody knows why */
	for (const char *p = r == TLS_ALERT || r == TLS_FAILED ? tls_why(e->tls) : ""; *p; p++)
		if ((unsigned char)*p < 0x20)
			abort();
	e->is_over = true;
}

static void
hear(struct end *e, bool honest)
{
	enum tls_result r = TLS_READY;
	size_t used, len;
	uint8_t *text;

	while (!e->is_over && !e->is_ready) {
		r = tls_feed(e->tls, e->buf, e->len, &used);
		if (used > e->len)
			abort();
		drop(e, used);
		if (r == TLS_READY)
			e->is_ready = true;
		else if (r != TLS_MORE)
			over(e, r);
		else if (used == 0 || e->len == 0)
			return;
	}
	while (!e->is_over && e->len > 0) {
		/* Of exactly its size, so that a read behind it shows. */
		uint8_t *copy = malloc(e->len);

		memcpy(copy, e->buf, e->len);
		r = tls_open(e->tls, copy, e->len, &used, &text, &len);
		if (used > e->len)
			abort();
		if (r == TLS_READY) {
			if (!honest || len > PLAIN - e->opened || memcmp(text, plain + e->opened, len) != 0)
				abort(); /* nobody said that */
			e->opened += len;
		}
		free(copy);
		drop(e, used);
		if (r != TLS_READY && r != TLS_MORE)
			over(e, r);
		else if (used == 0)
			return;
	}
}

/* What this end has to say goes to the other, as the input wants it. */
static void
pass(struct end *from, struct end *to)
{
	size_t len, n;
	const uint8_t *out = tls_out(from->tls, &len);
	uint64_t b = take(1);
	size_t at = to->len;

	n = b < 200 ? len : len > 0 ? take(2) % len + 1 : 0;
	put(to, out, n);
	tls_sent(from->tls, n);
	n = to->len - at;
	if (n == 0)
		return;
	switch (b % 16) {
	case 1:
		to->buf[at + take(2) % n] ^= (uint8_t)(1u << take(1) % 8);
		return;
	case 2:
		to->len = at + take(2) % n;
		return;
	case 3:
		put(to, to->buf + at, n);
		return;
	case 4:
		to->buf[at + take(1) % (n < 12 ? n : 12)] = (uint8_t)take(1);
		return;
	case 5:
		drop(to, take(1) % (to->len < 64 ? to->len : 64));
		return;
	default:
		return;
	}
}

static void
invent(struct end *to)
{
	uint8_t junk[64];
	size_t n = take(1) % sizeof(junk);

	for (size_t i = 0; i < n; i++)
		junk[i] = (uint8_t)take(1);
	put(to, junk, n);
}

static void
seal(struct end *from, const struct end *to)
{
	size_t n = take(2) % 1500;
	struct iovec iov = { plain + from->sealed, n < PLAIN - from->sealed ? n : PLAIN - from->sealed };
	ssize_t r;

	(void)to;
	if (!from->is_ready || from->is_over || iov.iov_len == 0)
		return;
	r = tls_seal(from->tls, &iov, 1, 0);
	if (r > (ssize_t)iov.iov_len)
		abort();
	if (r > 0)
		from->sealed += (size_t)r;
}

static void
act(struct end *a, struct end *b)
{
	uint64_t x = take(1);

	if (x < 120)
		pass(a, b);
	else if (x < 200)
		hear(a, true);
	else if (x < 230)
		seal(a, b);
	else if (x < 240)
		invent(b);
	else if (x < 245) {
		tls_close(a->tls);
		a->is_closed = true;
	} else if (x < 250 && !a->is_over) {
		enum tls_result r = tls_input_ended(a->tls);

		if (r == TLS_END && a->is_ready && !b->is_closed)
			abort(); /* cut short, and taken for the end */
		over(a, r);
	} else {
		pass(a, b);
		hear(b, true);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct end ends[2] = { { 0 } };
	uint64_t how;

	if (!contexts[0])
		make_contexts();
	in = (struct input){ data, size };
	how = take(1);
	n_checks = 0;
	rng = 1;
	for (size_t i = 0; i < 2; i++) {
		ends[i].tls = tls_new(contexts[i], i == 0, check, NULL);
		ends[i].buf = malloc(BUFFER);
	}
	hear(&ends[0], true); /* the dialling end begins */
	if (how & 1) {
		/* Alone with the input. */
		struct end *e = &ends[how >> 1 & 1];

		while (in.left > 0 && !e->is_over) {
			size_t n = how & 4 ? in.left : take(1) + 1;

			n = n > in.left ? in.left : n;
			put(e, in.p, n);
			in.p += n;
			in.left -= n;
			hear(e, false);
		}
		if (e->is_ready)
			abort(); /* a handshake without a key */
	} else {
		for (unsigned i = 0; how & 2 && i < 6; i++) {
			/* The handshake goes well, and what comes behind it may not. */
			size_t len;
			const uint8_t *out = tls_out(ends[i & 1].tls, &len);

			put(&ends[!(i & 1)], out, len);
			tls_sent(ends[i & 1].tls, len);
			hear(&ends[!(i & 1)], true);
		}
		for (unsigned i = 0; i < 200 && in.left > 0; i++)
			act(&ends[i & 1], &ends[!(i & 1)]);
		hear(&ends[0], true);
		hear(&ends[1], true);
		if (ends[0].opened > ends[1].sealed || ends[1].opened > ends[0].sealed)
			abort();
	}
	if (n_checks > 2)
		abort();
	for (size_t i = 0; i < 2; i++) {
		if (ends[i].is_ready && !tls_peer(ends[i].tls)->has_certificate)
			abort();
		tls_free(ends[i].tls);
		free(ends[i].buf);
	}
	return 0;
}
