/*
 * tls_datagram: DTLS 1.2. mbedTLS keeps flights and sends them again; here is
 * what it is given and asked, and what is told of a datagram by looking at it.
 */
#include "tls_internal.h"

#include <assert.h>
#include <string.h>

#define RECORD 13    /* bytes of header: type, version, epoch, number, length */
#define MESSAGE 12   /* of a handshake message: type, length, number, fragment's place and length */
#define FED_MAX (8 * TLS_HANDSHAKE_MAX) /* the same messages may come again and again */
#define OUT_BYTES 65536 /* that wait: more than a flight and an alert */

/* ------------------------------------------------------------ input, output */

/* Each call is a datagram. What there is no room for is lost. */
static int
send_datagram(void *arg, const unsigned char *data, size_t len)
{
	struct tls *t = arg;
	uint8_t *to;

	t->has_answered = true;
	if (len > UINT16_MAX || t->out_len + len > OUT_BYTES || tls_reserve(t, len + 2) < 0)
		return (int)len;
	to = t->out + t->out_len;
	to[0] = (uint8_t)(len >> 8);
	to[1] = (uint8_t)len;
	memcpy(to + 2, data, len);
	t->out_len += len + 2;
	return (int)len;
}

static int
receive_datagram(void *arg, unsigned char *buf, size_t len)
{
	struct tls *t = arg;
	size_t n = t->in_len;

	t->in_len = 0;
	t->in_used += n;
	if (n == 0 || n > len)
		return MBEDTLS_ERR_SSL_WANT_READ;
	if (!t->done && t->fed + n > FED_MAX)
		return MBEDTLS_ERR_SSL_BUFFER_TOO_SMALL;
	memcpy(buf, t->in, n);
	t->has_answered = false;
	return (int)n;
}

const uint8_t *
tls_next(struct tls *t, size_t *ret_len)
{
	const uint8_t *at;

	if (t->out_len == 0) {
		/* An idle stream holds none. */
		tls_sent(t, 0);
		*ret_len = 0;
		return NULL;
	}
	at = t->out + t->out_head;
	*ret_len = (size_t)at[0] << 8 | at[1];
	/* The memory goes with the next call. */
	t->out_head += *ret_len + 2;
	t->out_len -= *ret_len + 2;
	return at + 2;
}

/* -------------------------------------------------------------------- waits */

static void
set_wait(void *arg, uint32_t between_ms, uint32_t ms)
{
	struct tls *t = arg;

	(void)between_ms;
	t->wait_ms = ms;
	t->is_wait_new = true;
	t->has_waited = false;
}

/* By what its owner said, not by a clock: timers may be early, and it would never be asked again. */
static int
get_wait(void *arg)
{
	const struct tls *t = arg;

	return t->wait_ms == 0 ? -1 : t->has_waited ? 2 : 0;
}

bool
tls_wait_changed(struct tls *t, uint64_t *ret_ms)
{
	bool changed = t->is_wait_new;

	t->is_wait_new = false;
	*ret_ms = t->wait_ms;
	return changed;
}

void
tls_waited(struct tls *t)
{
	t->has_waited = t->wait_ms != 0;
}

/* ------------------------------------------------------- what a datagram is */

bool
tls_is_datagram(const uint8_t *d, size_t len)
{
	return len > RECORD && d[0] >= MBEDTLS_SSL_MSG_CHANGE_CIPHER_SPEC && d[0] <= MBEDTLS_SSL_MSG_APPLICATION_DATA && d[1] == 0xfe &&
	    (size_t)(d[11] << 8 | d[12]) <= len - RECORD;
}

static bool
is_in_the_clear(const uint8_t *d)
{
	return d[3] == 0 && d[4] == 0;
}

bool
tls_is_sealed(const uint8_t *d, size_t len)
{
	return tls_is_datagram(d, len) && !is_in_the_clear(d) && d[0] == MBEDTLS_SSL_MSG_APPLICATION_DATA;
}

bool
tls_is_hello(const uint8_t *d, size_t len, uint8_t ret_random[static TLS_RANDOM])
{
	if (!tls_is_datagram(d, len) || !is_in_the_clear(d) || d[0] != MBEDTLS_SSL_MSG_HANDSHAKE ||
	    len < RECORD + MESSAGE + 2 + TLS_RANDOM || d[RECORD] != MBEDTLS_SSL_HS_CLIENT_HELLO)
		return false;
	memcpy(ret_random, d + RECORD + MESSAGE + 2, TLS_RANDOM);
	return true;
}

/* An alert: as it was not sealed, nobody has to believe it. */
static const uint8_t in_vain[] = { MBEDTLS_SSL_MSG_ALERT, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, MBEDTLS_SSL_ALERT_LEVEL_FATAL,
	MBEDTLS_SSL_ALERT_MSG_BAD_RECORD_MAC };

size_t
tls_in_vain(uint8_t ret[static 32])
{
	memcpy(ret, in_vain, sizeof(in_vain));
	return sizeof(in_vain);
}

bool
tls_is_in_vain(const uint8_t *d, size_t len)
{
	return len == sizeof(in_vain) && memcmp(d, in_vain, len) == 0;
}

/* ------------------------------------------------------------------- stream */

struct tls *
tls_new_datagrams(struct tls_context *c, bool dialling, uint32_t mtu, tls_check *check, void *arg)
{
	struct tls *t = tls_make(c, dialling ? &c->dialling_datagrams : &c->accepting_datagrams, dialling, check, arg);

	if (!t)
		return NULL;
	t->is_datagrams = true;
	t->mtu = mtu;
	mbedtls_ssl_set_mtu(&t->ssl, (uint16_t)mtu);
	mbedtls_ssl_set_bio(&t->ssl, t, send_datagram, receive_datagram, NULL);
	mbedtls_ssl_set_timer_cb(&t->ssl, t, set_wait, get_wait);
	return t;
}

void
tls_set_owner(struct tls *t, tls_check *check, void *arg)
{
	t->check = check;
	t->arg = arg;
}

enum tls_result
tls_hello(struct tls *t, const void *who, size_t len, const uint8_t *datagram, size_t datagram_len)
{
	int e = mbedtls_ssl_set_client_transport_id(&t->ssl, who, len), state;

	tls_lend(t, datagram, datagram_len);
	do {
		state = tls_compat_state(&t->ssl);
		if (e == 0 && state < MBEDTLS_SSL_SERVER_CERTIFICATE)
			e = mbedtls_ssl_handshake_step(&t->ssl);
		state = tls_compat_state(&t->ssl);
	} while (e == 0 && state < MBEDTLS_SSL_SERVER_CERTIFICATE);
	t->fed = tls_take_back(t);
	if (e == 0 && state == MBEDTLS_SSL_SERVER_CERTIFICATE)
		return TLS_READY;
	/* What comes next is from somebody else. */
	t->fed = 0;
	if (mbedtls_ssl_session_reset(&t->ssl) != 0)
		return TLS_FAILED;
	return TLS_MORE;
}

/* mbedTLS's own answer is for the handshake, where it tries with 508 bytes when no answer has come twice. */
int
tls_datagram_payload(const struct tls *t)
{
	return (int)t->mtu - mbedtls_ssl_get_record_expansion(&t->ssl);
}

size_t
tls_packet_max(const struct tls *t)
{
	return t->payload_max;
}

void
tls_seal_packet(struct tls *t, const uint8_t *packet, size_t len)
{
	if (!t->done || t->over || len > t->payload_max)
		return;
	t->sealed++;
	(void)mbedtls_ssl_write(&t->ssl, packet, len);
}

/*
 * Nothing in the clear has a meaning when the handshake is over, but mbedTLS would
 * look at it, and fail if it is a hello that is cut short. (Behind it there may be
 * a Finished that came again, which asks for ours.) NULL: there is nothing else.
 */
static const uint8_t *
sealed_part(const uint8_t *d, size_t *len)
{
	const uint8_t *sealed = NULL, *end = d + *len;
	size_t n;

	for (; d < end; d += n) {
		if (!tls_is_datagram(d, (size_t)(end - d)))
			return NULL;
		n = RECORD + ((size_t)d[11] << 8 | d[12]);
		if (!is_in_the_clear(d) && !sealed)
			sealed = d;
		if (is_in_the_clear(d) && sealed)
			return NULL;
	}
	*len = sealed ? (size_t)(end - sealed) : 0;
	return sealed;
}

enum tls_result
tls_open_packet(struct tls *t, const uint8_t *datagram, size_t len, uint8_t **ret_packet, size_t *ret_len)
{
	int e;

	assert(t->done);
	if (t->over)
		return t->over;
	if (t->ended)
		return TLS_END;
	if (datagram) {
		datagram = sealed_part(datagram, &len);
		if (!datagram)
			return TLS_MORE;
	}
	tls_lend(t, datagram, len);
	e = mbedtls_ssl_read(&t->ssl, t->context->stage, sizeof(t->context->stage));
	tls_take_back(t);
	if (e > 0) {
		t->opened++;
		*ret_packet = t->context->stage;
		*ret_len = (size_t)e;
		return TLS_READY;
	}
	switch (e) {
	case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY:
		t->ended = true;
		return TLS_END;
	case MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE:
		return tls_take_alert(t, tls_compat_alert(&t->ssl));
	case 0:
	case MBEDTLS_ERR_SSL_WANT_READ:
	case MBEDTLS_ERR_SSL_TIMEOUT:
		return TLS_MORE;
	default:
		/* Sound, and of the other side's key, but no good. */
		return tls_fail(t, e);
	}
}
