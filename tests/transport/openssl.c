/* Another implementation at the other end: openssl's s_client and s_server. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "certs.h"
#include "middle.h"
#include "suite.h"

#define ARGS_MAX 40

struct openssl {
	struct world *w;
	pid_t pid;
	int to, from; /* its standard input; what it says on both outputs */
	struct loop_watch watch;
	char said[65536];
	size_t len;
	bool is_done;
	struct cert own;
};

static void
on_said(void *arg, bool readable, bool writable)
{
	struct openssl *o = arg;
	ssize_t n;

	(void)readable, (void)writable;
	ck_assert_uint_lt(o->len + 1, sizeof(o->said));
	n = read(o->from, o->said + o->len, sizeof(o->said) - 1 - o->len);
	if (n > 0) {
		o->len += (size_t)n;
		/* Text only is looked for. */
		for (size_t i = 0; i < o->len; i++)
			if (!o->said[i])
				o->said[i] = '?';
		return;
	}
	o->is_done = true;
	loop_watch_want(&o->watch, false, false);
}

static bool
said(const struct openssl *o, const char *text)
{
	return strstr(o->said, text) != NULL;
}

static void
write_file(const struct world *w, const char *name, const char *text)
{
	char path[100];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", w->folder, name);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	ck_assert_int_eq(fclose(f), 0);
}

/* openssl VERB ARG...; key and certificate are in the files key and pem of the world's folder. */
static struct openssl *
run(struct world *w, enum cert_key key, const char *command)
{
	struct openssl *o = calloc(1, sizeof(*o));
	char text[400], *args[ARGS_MAX], *save = NULL;
	int n = 0, in[2], out[2];

	ck_assert_ptr_nonnull(o);
	o->w = w;
	cert_make(&(struct cert_wish){ .name = "rome", .key = key }, &o->own);
	write_file(w, "key", o->own.key);
	write_file(w, "pem", o->own.pem);
	snprintf(text, sizeof(text), "openssl %s", command);
	for (char *a = strtok_r(text, " ", &save); a; a = strtok_r(NULL, " ", &save)) {
		ck_assert_int_lt(n, ARGS_MAX - 1);
		args[n++] = a;
	}
	args[n] = NULL;
	ck_assert_int_eq(pipe2(in, O_CLOEXEC) + pipe2(out, O_CLOEXEC), 0);
	o->pid = fork();
	ck_assert_int_ge(o->pid, 0);
	if (o->pid == 0) {
		if (chdir(w->folder) < 0 || dup2(in[0], 0) < 0 || dup2(out[1], 1) < 0 || dup2(out[1], 2) < 0)
			_exit(126);
		execvp(args[0], args);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	o->to = in[1];
	o->from = out[0];
	ck_assert_int_eq(loop_watch_init(&o->watch, w->loop, o->from, on_said, o), 0);
	loop_watch_want(&o->watch, true, false);
	return o;
}

static struct openssl *
client(struct world *w, enum cert_key key, const char *options)
{
	char command[300];

	snprintf(command, sizeof(command), "s_client -connect 127.0.0.1:%u %s", world_url(w->url).port, options);
	return run(w, key, command);
}

#define WITH_KEY "-cert pem -key key "

static void
done(struct openssl *o)
{
	char path[100];

	kill(o->pid, SIGKILL);
	waitpid(o->pid, NULL, 0);
	loop_watch_done(&o->watch);
	close(o->to);
	close(o->from);
	snprintf(path, sizeof(path), "%s/key", o->w->folder);
	unlink(path);
	snprintf(path, sizeof(path), "%s/pem", o->w->folder);
	unlink(path);
	free(o);
}

/* What openssl's end wrote. */
struct heard {
	char text[4096];
	size_t len;
};

static bool
hear(struct end *e, char what)
{
	struct heard *h = e->hook_arg;
	ssize_t n;

	if (what != 'r')
		return what == 'u';
	n = e->t->ops->read(e->t, h->text + h->len, sizeof(h->text) - 1 - h->len);
	if (n > 0)
		h->len += (size_t)n;
	return true;
}

static void
talk(struct world *w, struct openssl *o, struct end *e, struct heard *h)
{
	static char text[] = "guten tag\n";
	struct iovec hello = { text, 10 };

	ck_assert_int_eq(write(o->to, "buon giorno\n", 12), 12);
	UNTIL(w, strstr(h->text, "buon giorno\n"));
	ck_assert_int_eq(e->t->ops->writev(e->t, &hello, 1), 10);
	UNTIL(w, said(o, "guten tag"));
}

/* ------------------------------------------------------------- it dials us -- */

START_TEST(client_talks)
{
	static const struct {
		const char *options;
		enum cert_key key;
		const char *cipher; /* a part of its name, as we tell it */
	} cases[] = {
		{ WITH_KEY "-quiet -ciphersuites TLS_CHACHA20_POLY1305_SHA256", CERT_P256, "CHACHA20-POLY1305" },
		{ WITH_KEY "-quiet -tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256", CERT_P384, "AES-128-GCM" },
		{ WITH_KEY "-quiet -tls1_2 -cipher ECDHE-ECDSA-AES256-GCM-SHA384", CERT_RSA2048, "AES-256-GCM" },
		{ WITH_KEY "-quiet -tls1_2 -groups X25519:P-256", CERT_RSA2048, "CHACHA20-POLY1305" },
		{ WITH_KEY "-quiet -tls1_2 -groups P-384:P-256", CERT_P256, "CHACHA20-POLY1305" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct world *w = world_new(KIND_TLS4);
		struct end *a = &w->accepted[0];
		struct heard heard = { .len = 0 };
		struct tls_certificate c;
		struct transport_identity id;
		struct openssl *o;
		char why[TLS_TEXT_MAX];

		a->hook = hear;
		a->hook_arg = &heard;
		o = client(w, cases[i].key, cases[i].options);
		UNTIL(w, a->ups || a->downs || o->is_done);
		ck_assert_msg(a->ups, "%s: %s %s", cases[i].options, a->text, o->said);
		talk(w, o, a, &heard);
		a->t->ops->identity(a->t, &id);
		ck_assert_int_eq(tls_certificate_read(cert_text(o->own.pem), why, &c), 0);
		ck_assert_mem_eq(id.tls.certificate.key, c.key, PIN_BYTES);
		ck_assert(tls_certificate_names(&id.tls.certificate, "rome"));
		ck_assert_msg(strstr(id.tls.cipher, cases[i].cipher), "%s", id.tls.cipher);
		/* Its process dies: that is no close_notify. */
		kill(o->pid, SIGKILL);
		UNTIL(w, a->downs);
		ck_assert_int_eq(a->error, -ECONNRESET);
		done(o);
		world_free(w);
	}
}
END_TEST

/* DTLS and no SCTP: it is who it is, but has no association. */
START_TEST(datagrams)
{
	static const char *const ciphers[] = { "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384" };

	for (size_t i = 0; i < sizeof(ciphers) / sizeof(*ciphers); i++) {
		struct world *w = world_new_silent(KIND_DTLS4);
		struct end *a = &w->accepted[0];
		struct transport_identity id;
		struct openssl *o;
		char options[200];

		w->waiting.handshake_ms = 1000;
		ck_assert_int_eq(world_listen(w, -1), 0);
		snprintf(options, sizeof(options), WITH_KEY "-dtls1_2 -mtu 1200 -cipher %s", ciphers[i]);
		o = client(w, CERT_P256, options);
		snprintf(options, sizeof(options), "Cipher is %s", ciphers[i]);
		UNTIL(w, said(o, options) || o->is_done);
		ck_assert_msg(said(o, options), "%s: %s", a->text, o->said);
		ck_assert_int_eq(w->checks, 1);
		a->t->ops->identity(a->t, &id);
		ck_assert(tls_certificate_names(&id.tls.certificate, "rome"));
		ck_assert_int_eq(write(o->to, "buon giorno\n", 12), 12);
		UNTIL(w, a->downs);
		ck_assert_int_eq(a->error, -ETIMEDOUT);
		ck_assert_str_eq(a->text, "no association in time");
		ck_assert_int_eq(a->ups, 0);
		/* It is told that it is over. */
		end_close(a, false);
		UNTIL(w, o->is_done);
		done(o);
		world_free(w);
	}
}
END_TEST

START_TEST(datagrams_refused)
{
	static const struct {
		const char *options;
		enum cert_key key;
		const char *text;  /* what we say; NULL: nothing, it is not even accepted */
		const char *alert; /* what it says */
	} cases[] = {
		{ "-dtls1_2", CERT_P256, "the other side shows no certificate", "handshake failure" },
		{ WITH_KEY "-dtls1_2", CERT_P521, "the other side's certificate: curve secp521r1, not P-256 or P-384",
		    "unsupported certificate" },
		{ WITH_KEY "-dtls1_2 -cipher AES128-GCM-SHA256", CERT_P256, NULL, "handshake failure" },
		{ WITH_KEY "-dtls1 -cipher DEFAULT@SECLEVEL=0", CERT_P256, NULL, "protocol version" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct world *w = world_new(KIND_DTLS4);
		struct end *a = &w->accepted[0];
		struct openssl *o = client(w, cases[i].key, cases[i].options);

		UNTIL(w, o->is_done && (a->downs || !cases[i].text));
		ck_assert_msg(said(o, cases[i].alert), "%s: %s: %s", cases[i].options, a->text, o->said);
		if (cases[i].text)
			ck_assert_str_eq(a->text, cases[i].text);
		else
			ck_assert_uint_eq(w->n_accepted, 0);
		ck_assert_int_eq(a->ups, 0);
		done(o);
		world_free(w);
	}
}
END_TEST

/* Ended by its user, with a close_notify; and by us, which it takes for an orderly end. */
START_TEST(ends_in_order)
{
	for (int i = 0; i < 2; i++) {
		struct world *w = world_new(KIND_TLS4);
		struct end *a = &w->accepted[0];
		struct openssl *o = client(w, CERT_P256, WITH_KEY);

		UNTIL(w, a->ups || a->downs);
		if (i) {
			ck_assert_int_eq(write(o->to, "Q\n", 2), 2);
			UNTIL(w, a->downs);
			ck_assert_int_eq(a->error, 0);
			ck_assert_str_eq(a->text, "closed by the other side");
		} else {
			end_close(a, true);
			UNTIL(w, o->is_done);
			ck_assert_msg(!said(o, "unexpected eof"), "%s", o->said);
		}
		done(o);
		world_free(w);
	}
}
END_TEST

START_TEST(client_refused)
{
	static const struct {
		const char *options;
		enum cert_key key;
		const char *text; /* what we say */
		const char *alert; /* what it says; NULL: it depends */
	} cases[] = {
		{ "", CERT_P256, "the other side shows no certificate", NULL },
		{ "-tls1_2", CERT_P256, "the other side shows no certificate", "handshake failure" },
		{ WITH_KEY "-tls1_2 -cipher DEFAULT@SECLEVEL=0", CERT_RSA1024,
		    "the other side's certificate: weak key: RSA of 1024 bits, not of 2048 or more", "unsupported certificate" },
		{ WITH_KEY "-tls1_2", CERT_P521, "the other side's certificate: curve secp521r1, not P-256 or P-384",
		    "unsupported certificate" },
		{ WITH_KEY "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA", CERT_P256, "no cipher suite, group or signature in common",
		    "handshake failure" },
		{ WITH_KEY "-tls1_2 -cipher AES128-GCM-SHA256", CERT_P256, "no cipher suite, group or signature in common",
		    "handshake failure" },
		{ WITH_KEY "-tls1_2 -groups P-521", CERT_P256, "no cipher suite, group or signature in common", "handshake failure" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct world *w = world_new(KIND_TLS4);
		struct end *a = &w->accepted[0];
		struct openssl *o = client(w, cases[i].key, cases[i].options);

		UNTIL(w, a->downs || a->ups);
		ck_assert_int_eq(a->ups, 0);
		ck_assert_msg(strcmp(a->text, cases[i].text) == 0, "%s: %s %s", cases[i].options, a->text, o->said);
		ck_assert_int_eq(w->checks, 0);
		end_close(a, false);
		UNTIL(w, o->is_done);
		ck_assert_msg(!cases[i].alert || said(o, cases[i].alert), "%s: %s", cases[i].options, o->said);
		done(o);
		world_free(w);
	}
}
END_TEST

/* It connects, ends, and connects with the session of before, five times: each time it has to prove itself. */
START_TEST(nothing_is_resumed)
{
	struct world *w = world_new(KIND_TLS4);
	struct openssl *o = client(w, CERT_P256, WITH_KEY "-tls1_2 -reconnect");

	UNTIL(w, w->n_accepted == 6 && w->accepted[5].ups);
	ck_assert_int_eq(w->checks, 6);
	UNTIL(w, said(o, "New, "));
	ck_assert(!said(o, "Reused, "));
	done(o);
	world_free(w);
}
END_TEST

START_TEST(nothing_is_negotiated_again)
{
	struct world *w = world_new(KIND_TLS4);
	struct end *a = &w->accepted[0];
	struct openssl *o = client(w, CERT_P256, WITH_KEY "-tls1_2");

	UNTIL(w, a->ups || a->downs);
	ck_assert_int_eq(write(o->to, "R\n", 2), 2);
	UNTIL(w, a->downs);
	ck_assert_str_eq(a->text, "the other side wants to negotiate again");
	done(o);
	world_free(w);
}
END_TEST

/* ------------------------------------------------------------- we dial it -- */

/* A port that was free a moment ago. */
static unsigned
free_port(void)
{
	char url[TRANSPORT_TEXT_MAX];
	int fd = raw_listen(url);

	close(fd);
	return world_url(url).port;
}

static struct openssl *
server(struct world *w, enum cert_key key, const char *options)
{
	unsigned port = free_port();
	char command[300];
	struct openssl *o;

	snprintf(command, sizeof(command), "s_server -accept 127.0.0.1:%u " WITH_KEY "%s", port, options);
	snprintf(w->url, sizeof(w->url), "tls://127.0.0.1:%u", port);
	o = run(w, key, command);
	UNTIL(w, said(o, "ACCEPT") || o->is_done);
	ck_assert_msg(!o->is_done, "%s", o->said);
	return o;
}

START_TEST(server_talks)
{
	static const char *const options[] = { "-Verify 3", "-Verify 3 -tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256" };

	for (size_t i = 0; i < 2; i++) {
		struct world *w = world_new_silent(KIND_TLS4);
		struct openssl *o = server(w, CERT_RSA2048, options[i]);
		struct heard heard = { .len = 0 };
		struct end *d = world_dial(w);

		d->hook = hear;
		d->hook_arg = &heard;
		UNTIL(w, d->ups || d->downs);
		ck_assert_msg(d->ups, "%s %s", d->text, o->said);
		talk(w, o, d, &heard);
		/* It saw ours. */
		ck_assert_msg(said(o, "CN = paris") || said(o, "CN=paris"), "%s", o->said);
		end_close(d, true);
		UNTIL(w, said(o, "DONE"));
		done(o);
		world_free(w);
	}
}
END_TEST

START_TEST(server_refused)
{
	static const struct {
		const char *options;
		enum cert_key key;
		const char *text;
	} cases[] = {
		{ "-Verify 3 -tls1_2 -cipher DEFAULT@SECLEVEL=0", CERT_RSA1024,
		    "the other side's certificate: weak key: RSA of 1024 bits, not of 2048 or more" },
		/* It believes in nobody but its CAs. */
		{ "-Verify 3 -verify_return_error -tls1_2", CERT_P256, NULL },
		{ "-Verify 3 -verify_return_error", CERT_P256, NULL },
		{ "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA", CERT_P256,
		    "the other side gave up (alert: handshake failure): no cipher suite, group or signature in common, or it wants a certificate" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct world *w = world_new_silent(KIND_TLS4);
		struct openssl *o = server(w, cases[i].key, cases[i].options);
		struct end *d = world_dial(w);

		UNTIL(w, d->downs);
		if (cases[i].text)
			ck_assert_msg(strcmp(d->text, cases[i].text) == 0, "%s: %s", cases[i].options, d->text);
		else
			ck_assert_msg(strncmp(d->text, "the other side refused our certificate (alert: ", 47) == 0, "%s: %s", cases[i].options, d->text);
		done(o);
		world_free(w);
	}
}
END_TEST

TCase *
openssl_tests(void)
{
	TCase *t = tcase_create("openssl");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, client_talks);
	tcase_add_test(t, datagrams);
	tcase_add_test(t, datagrams_refused);
	tcase_add_test(t, ends_in_order);
	tcase_add_test(t, client_refused);
	tcase_add_test(t, nothing_is_resumed);
	tcase_add_test(t, nothing_is_negotiated_again);
	tcase_add_test(t, server_talks);
	tcase_add_test(t, server_refused);
	return t;
}
