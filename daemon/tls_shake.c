/* tls_shake: the handshake, step by step. */
#include "tls_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Of AES-GCM one key should not see more (RFC 8446, 5.5: 2^24.5); of ChaCha20-Poly1305 it is far away. */
#define TIRED_GCM (UINT64_C(1) << 24)
#define TIRED_CHACHA (UINT64_C(1) << 40)

static enum tls_result
finish_handshake(struct tls *t)
{
	const char *cipher = mbedtls_ssl_get_ciphersuite(&t->ssl);
	int payload = t->is_datagrams ? tls_datagram_payload(t) : mbedtls_ssl_get_max_out_record_payload(&t->ssl);

	t->done = true;
	if (t->late_alert) {
		(void)mbedtls_ssl_send_alert_message(&t->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, (unsigned char)t->late_alert);
		t->over = TLS_FAILED;
		return TLS_FAILED;
	}
	/* Not to be reached: nothing is resumed, and a certificate is required. */
	if (!t->is_checked || payload <= 0)
		return tls_over(t, TLS_FAILED, -EPROTO, "the handshake ended without a certificate");
	t->payload_max = (size_t)payload < sizeof(t->context->stage) ? (size_t)payload : sizeof(t->context->stage);
	snprintf(t->peer.version, sizeof(t->peer.version), "%s", mbedtls_ssl_get_version(&t->ssl));
	snprintf(t->peer.cipher, sizeof(t->peer.cipher), "%s", cipher ? cipher : "unknown");
	t->tired = strstr(t->peer.cipher, "CHACHA20") ? TIRED_CHACHA : TIRED_GCM;
	return TLS_READY;
}

/* One step of mbedTLS. */
static enum tls_result
step(struct tls *t, const uint8_t *in, size_t len, size_t *ret_used)
{
	int e;

	/* Whoever sends five bytes of something else, or fewer, need not be waited for. */
	if (t->fed == 0 && !t->is_datagrams && tls_record_length(in, len) == SIZE_MAX) {
		t->has_answered = false;
		return tls_fail(t, MBEDTLS_ERR_SSL_INVALID_RECORD);
	}
	tls_lend(t, in, len);
	do
		e = mbedtls_ssl_handshake_step(&t->ssl);
	while (e == TLS_COMPAT_TICKET);
	*ret_used = tls_take_back(t);
	t->fed += *ret_used;
	switch (e) {
	case 0:
		return tls_compat_is_shaken(&t->ssl) ? finish_handshake(t) : TLS_AGAIN;
	case MBEDTLS_ERR_SSL_WANT_READ:
		return TLS_MORE;
	case MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE:
		return tls_take_alert(t, tls_compat_alert(&t->ssl));
	case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY:
		return tls_over(t, TLS_FAILED, -ECONNRESET, "the other side closed during the TLS handshake");
	default:
		return tls_fail(t, e);
	}
}

enum tls_result
tls_step(struct tls *t, const uint8_t *in, size_t len, size_t *ret_used)
{
	enum tls_result r;

	*ret_used = 0;
	if (tls_is_to_be_judged(t))
		return TLS_JUDGE;
	if (t->over)
		return t->over;
	assert(!t->done);
	r = step(t, in, len, ret_used);
	/* Also if mbedTLS has refused it by itself: its owner may know a better reason. */
	return tls_is_to_be_judged(t) ? TLS_JUDGE : r;
}

enum tls_result
tls_feed(struct tls *t, const uint8_t *in, size_t len, size_t *ret_used)
{
	enum tls_result r;
	size_t used;

	*ret_used = 0;
	do {
		r = tls_step(t, in ? in + *ret_used : NULL, len - *ret_used, &used);
		*ret_used += used;
		if (r == TLS_JUDGE)
			r = tls_judge(t);
	} while (r == TLS_AGAIN);
	return r;
}

bool
tls_may_leave_the_loop(void)
{
	return TLS_COMPAT_HAS_LOCKS;
}
