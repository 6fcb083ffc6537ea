/* tls: the stream; see tls.h. */
#include "tls_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECORD_HANDSHAKE MBEDTLS_SSL_MSG_HANDSHAKE
#define OUT_FIRST 2048

/* ------------------------------------------------------------------- output */

int
tls_reserve(struct tls *t, size_t len)
{
	size_t need = t->out_len + len, cap = 2 * t->out_cap;
	uint8_t *out;

	if (t->out_head > 0) {
		memmove(t->out, t->out + t->out_head, t->out_len);
		t->out_head = 0;
	}
	if (need <= t->out_cap)
		return 0;
	if (cap < OUT_FIRST)
		cap = OUT_FIRST;
	if (cap < need)
		cap = need;
	out = realloc(t->out, cap);
	if (!out)
		return -ENOMEM;
	t->out = out;
	t->out_cap = cap;
	return 0;
}

/* Always takes all, so that mbedTLS never has to ask again. */
static int
bio_send(void *arg, const unsigned char *data, size_t len)
{
	struct tls *t = arg;
	uint8_t *to;

	if (t->out_head + t->out_len + len > t->out_cap && tls_reserve(t, len) < 0)
		return MBEDTLS_ERR_SSL_ALLOC_FAILED;
	to = t->out + t->out_head + t->out_len;
	memcpy(to, data, len);
	/* An alert before a version was agreed on has none in 2.28, and nobody would know it for one. */
	if (!t->done && len > TLS_HEADER && to[1] == 0)
		to[1] = to[2] = 3;
	t->out_len += len;
	t->has_answered = true;
	return (int)len;
}

static int
bio_recv(void *arg, unsigned char *buf, size_t len)
{
	struct tls *t = arg;
	size_t n = t->in_len - t->in_used;

	if (n == 0)
		return MBEDTLS_ERR_SSL_WANT_READ;
	if (n > len)
		n = len;
	if (!t->done && t->fed + t->in_used + n > TLS_HANDSHAKE_MAX)
		return MBEDTLS_ERR_SSL_BUFFER_TOO_SMALL;
	memcpy(buf, t->in + t->in_used, n);
	t->in_used += n;
	t->has_answered = false;
	if (n >= sizeof(t->last)) {
		memcpy(t->last, buf + n - sizeof(t->last), sizeof(t->last));
	} else {
		memmove(t->last, t->last + n, sizeof(t->last) - n);
		memcpy(t->last + sizeof(t->last) - n, buf, n);
	}
	return (int)n;
}

static void
drop_out(struct tls *t)
{
	free(t->out);
	t->out = NULL;
	t->out_head = t->out_len = t->out_cap = 0;
}

const uint8_t *
tls_out(const struct tls *t, size_t *ret_len)
{
	*ret_len = t->out_len;
	return t->out_len > 0 ? t->out + t->out_head : NULL;
}

void
tls_sent(struct tls *t, size_t n)
{
	assert(n <= t->out_len);
	t->out_head += n;
	t->out_len -= n;
	if (t->out_len == 0)
		drop_out(t); /* an idle stream holds none */
}

uint8_t *
tls_take_out(struct tls *t, size_t *ret_len)
{
	uint8_t *out = t->out;

	*ret_len = t->out_len;
	if (t->out_len == 0)
		return NULL;
	if (t->out_head > 0)
		memmove(out, out + t->out_head, t->out_len);
	t->out = NULL;
	drop_out(t);
	return out;
}

/* ------------------------------------------------------------------- stream */

struct tls *
tls_make(struct tls_context *c, const mbedtls_ssl_config *conf, bool dialling, tls_check *check, void *arg)
{
	struct tls *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->context = tls_context_ref(c);
	t->dialling = dialling;
	t->check = check;
	t->arg = arg;
	mbedtls_ssl_init(&t->ssl);
	mbedtls_x509_crt_init(&t->shown);
	if (mbedtls_ssl_setup(&t->ssl, conf) != 0)
		goto fail;
	/* No name is checked here, but by the caller; a client of 3.6 must say that it means it. */
	if (dialling && mbedtls_ssl_set_hostname(&t->ssl, NULL) != 0)
		goto fail;
	mbedtls_ssl_set_verify(&t->ssl, tls_verify, t);
	return t;
fail:
	tls_free(t);
	return NULL;
}

struct tls *
tls_new(struct tls_context *c, bool dialling, tls_check *check, void *arg)
{
	struct tls *t = tls_make(c, dialling ? &c->dialling : &c->accepting, dialling, check, arg);

	if (t)
		mbedtls_ssl_set_bio(&t->ssl, t, bio_send, bio_recv, NULL);
	return t;
}

void
tls_free(struct tls *t)
{
	if (!t)
		return;
	mbedtls_ssl_free(&t->ssl);
	mbedtls_x509_crt_free(&t->shown);
	tls_context_unref(t->context);
	free(t->out);
	free(t);
}

void
tls_lend(struct tls *t, const uint8_t *in, size_t len)
{
	t->in = in;
	t->in_len = len;
	t->in_used = 0;
}

size_t
tls_take_back(struct tls *t)
{
	size_t used = t->in_used;

	tls_lend(t, NULL, 0);
	return used;
}

size_t
tls_record_length(const uint8_t *in, size_t len)
{
	size_t n;

	if ((len > 0 && (in[0] < MBEDTLS_SSL_MSG_CHANGE_CIPHER_SPEC || in[0] > MBEDTLS_SSL_MSG_APPLICATION_DATA)) ||
	    (len > 1 && in[1] != 3))
		return SIZE_MAX;
	if (len < TLS_HEADER)
		return 0;
	n = TLS_HEADER + ((size_t)in[3] << 8 | in[4]);
	return n > TLS_RECORD_MAX ? SIZE_MAX : n;
}

bool
tls_has_record(const uint8_t *in, size_t len)
{
	size_t n = tls_record_length(in, len);

	return n == SIZE_MAX || (n > 0 && n <= len);
}

enum tls_result
tls_open(struct tls *t, uint8_t *in, size_t len, size_t *ret_used, uint8_t **ret_plain, size_t *ret_len)
{
	size_t n = tls_record_length(in, len);
	int e;

	*ret_used = 0;
	if (t->over)
		return t->over;
	if (t->ended)
		return TLS_END;
	if (n == SIZE_MAX) {
		t->has_answered = false;
		return tls_fail(t, MBEDTLS_ERR_SSL_INVALID_RECORD);
	}
	if (n == 0 || n > len)
		return TLS_MORE;
	/* Of TLS 1.2: every answer to it costs output, and nobody of ours asks for it. (Those of 1.3 look like data.) */
	if (in[0] == RECORD_HANDSHAKE) {
		(void)mbedtls_ssl_send_alert_message(
		    &t->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, MBEDTLS_SSL_ALERT_MSG_NO_RENEGOTIATION);
		return tls_over(t, TLS_FAILED, -EPROTO, "the other side wants to negotiate again");
	}
	/* Plaintext goes where its record was: mbedTLS has a copy by then. */
	tls_lend(t, in, n);
	e = mbedtls_ssl_read(&t->ssl, in, n);
	*ret_used = tls_take_back(t);
	t->opened++;
	if (e > 0) {
		*ret_plain = in;
		*ret_len = (size_t)e;
		return TLS_READY;
	}
	switch (e) {
	case 0:
	case MBEDTLS_ERR_SSL_WANT_READ:
	case TLS_COMPAT_TICKET:
		/* It was about something else. What eats nothing would come again for ever. */
		if (*ret_used == 0)
			return tls_fail(t, MBEDTLS_ERR_SSL_INVALID_RECORD);
		*ret_plain = in;
		*ret_len = 0;
		return TLS_READY;
	case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY:
		t->ended = true;
		return TLS_END;
	case MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE:
		return tls_take_alert(t, tls_compat_alert(&t->ssl));
	default:
		return tls_fail(t, e);
	}
}

enum tls_result
tls_input_ended(struct tls *t)
{
	if (t->over)
		return t->over;
	if (t->ended)
		return TLS_END;
#ifdef PLANT_CUT_IS_END
	if (t->done)
		return TLS_END;
#endif
	return tls_over(t, TLS_FAILED, -ECONNRESET,
	    t->done ? "cut short: the stream ended without the other side's close_notify" : "closed during the TLS handshake");
}

/* The next record's payload: of one piece where it lies, else gathered. */
static const uint8_t *
gather(struct tls *t, const struct iovec *iov, int n, size_t skip, size_t *ret_len)
{
	size_t len = 0;

	if (iov->iov_len - skip >= t->payload_max) {
		*ret_len = t->payload_max;
		return (const uint8_t *)iov->iov_base + skip;
	}
	for (int i = 0; i < n && len < t->payload_max; i++, skip = 0) {
		size_t piece = iov[i].iov_len - skip;

		if (piece > t->payload_max - len)
			piece = t->payload_max - len;
		if (piece > 0)
			memcpy(t->context->stage + len, (const uint8_t *)iov[i].iov_base + skip, piece);
		len += piece;
	}
	*ret_len = len;
	return t->context->stage;
}

ssize_t
tls_seal(struct tls *t, const struct iovec *iov, int n, size_t skip)
{
	size_t all = 0, done = 0;

	assert(t->done);
	if (t->over)
		return t->error;
	for (; n > 0 && skip >= iov->iov_len; iov++, n--)
		skip -= iov->iov_len;
	for (int i = 0; i < n && all < TLS_OUT_MARK; i++)
		all += iov[i].iov_len;
	/* Once, instead of growing step by step. */
	if (all > 0 && t->out_len < TLS_OUT_MARK)
		(void)tls_reserve(t, (all < TLS_OUT_MARK ? all : TLS_OUT_MARK + t->payload_max) + 256);
	while (n > 0 && t->out_len < TLS_OUT_MARK) {
		size_t len;
		const uint8_t *data;
		int e;

		if (skip == iov->iov_len) {
			iov++, n--, skip = 0;
			continue;
		}
		data = gather(t, iov, n, skip, &len);
		e = mbedtls_ssl_write(&t->ssl, data, len);
		if (e != (int)len) {
			tls_fail(t, e < 0 ? e : MBEDTLS_ERR_SSL_INTERNAL_ERROR);
			return t->error;
		}
		t->sealed++;
		done += len;
		for (size_t left = len; left > 0;) {
			size_t piece = iov->iov_len - skip < left ? iov->iov_len - skip : left;

			skip += piece;
			left -= piece;
			if (skip == iov->iov_len)
				iov++, n--, skip = 0;
		}
	}
	return (ssize_t)done;
}

void
tls_close(struct tls *t)
{
	if (t->done && !t->over)
		(void)mbedtls_ssl_close_notify(&t->ssl);
}

bool
tls_tired(const struct tls *t)
{
	return t->done && (t->sealed >= t->tired || t->opened >= t->tired);
}
