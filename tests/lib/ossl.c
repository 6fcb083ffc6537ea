#include "ossl.h"

#include <arpa/inet.h>
#include <check.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "program.h"

#define ARGS_MAX 48

static struct ossl *run(const char *verb, bool talks, const char *fmt, va_list ap) __attribute__((format(printf, 3, 0)));

static struct ossl *
run(const char *verb, bool talks, const char *fmt, va_list ap)
{
	static unsigned count;
	struct ossl *o = calloc(1, sizeof(*o));
	char options[700], text[800], *args[ARGS_MAX], *save = NULL;
	int n = 0, ends[2], errors;

	ck_assert_ptr_nonnull(o);
	ck_assert_int_lt(vsnprintf(options, sizeof(options), fmt, ap), (int)sizeof(options));
	snprintf(text, sizeof(text), "openssl %s %s", verb, options);
	for (char *a = strtok_r(text, " ", &save); a != NULL; a = strtok_r(NULL, " ", &save)) {
		ck_assert_int_lt(n, ARGS_MAX - 1);
		args[n++] = a;
	}
	args[n] = NULL;
	snprintf(o->path, sizeof(o->path), "%s/ossl%u", nodes_folder(), count++);
	errors = open(o->path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	ck_assert_int_ge(errors, 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	o->pid = fork();
	ck_assert_int_ge(o->pid, 0);
	if (o->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(ends[1], STDIN_FILENO);
		dup2(talks ? ends[1] : errors, STDOUT_FILENO);
		dup2(errors, STDERR_FILENO);
		execvp(args[0], args);
		_exit(127);
	}
	close(ends[1]);
	close(errors);
	o->raw = raw_of(ends[0]);
	return o;
}

struct ossl *
ossl_client(const struct node *n, const char *fmt, ...)
{
	char verb[64];
	struct ossl *o;
	va_list ap;

	/* Quiet: only what is inside the stream, and no commands in what is sent. */
	snprintf(verb, sizeof(verb), "s_client -quiet -connect 127.0.0.1:%s", strrchr(n->url, ':') + 1);
	va_start(ap, fmt);
	o = run(verb, true, fmt, ap);
	va_end(ap);
	return o;
}

struct ossl *
ossl_server(const char *fmt, ...)
{
	struct ossl *o;
	const char *at;
	va_list ap;

	va_start(ap, fmt);
	o = run("s_server -accept 127.0.0.1:0", false, fmt, ap);
	va_end(ap);
	ck_assert_msg(ossl_await(o, "ACCEPT 127.0.0.1:"), "%s", o->said);
	at = strstr(o->said, "ACCEPT ") + strlen("ACCEPT ");
	snprintf(o->url, sizeof(o->url), "tls://%.*s", (int)strcspn(at, "\n"), at);
	return o;
}

/* One that was free a moment ago. */
static unsigned
free_port(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, len), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	close(fd);
	return ntohs(a.sin_port);
}

struct ossl *
ossl_listener(const char *fmt, ...)
{
	unsigned port = free_port();
	char verb[64];
	struct ossl *o;
	va_list ap;

	snprintf(verb, sizeof(verb), "s_server -quiet -accept 127.0.0.1:%u", port);
	va_start(ap, fmt);
	o = run(verb, true, fmt, ap);
	va_end(ap);
	snprintf(o->url, sizeof(o->url), "tls://127.0.0.1:%u", port);
	return o;
}

bool
ossl_said(struct ossl *o, const char *text)
{
	FILE *f = fopen(o->path, "r");
	size_t len;

	ck_assert_ptr_nonnull(f);
	len = fread(o->said, 1, sizeof(o->said) - 1, f);
	fclose(f);
	o->said[len] = '\0';
	return strstr(o->said, text) != NULL;
}

bool
ossl_await(struct ossl *o, const char *text)
{
	uint64_t until = program_clock_ms() + PROGRAM_PATIENCE_MS;

	while (!ossl_said(o, text)) {
		siginfo_t info = { 0 };

		if (waitid(P_PID, (id_t)o->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == o->pid)
			return ossl_said(o, text);
		ck_assert_msg(program_clock_ms() < until, "openssl does not say %s, but: %.2000s", text, o->said);
		poll(NULL, 0, 5); /* nobody tells of new lines */
	}
	return true;
}

void
ossl_done(struct ossl *o)
{
	kill(o->pid, SIGKILL);
	waitpid(o->pid, NULL, 0);
	raw_close(o->raw);
	unlink(o->path);
	free(o);
}
