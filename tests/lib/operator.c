#include "operator.h"

#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "program.h"

static void run(const struct node *n, struct operated *ret, const char *fmt, va_list ap) __attribute__((format(printf, 3, 0)));

static void
slurp(const char *path, char *buf, size_t size)
{
	FILE *f = fopen(path, "r");
	size_t len;

	ck_assert_ptr_nonnull(f);
	len = fread(buf, 1, size - 1, f);
	buf[len] = '\0';
	fclose(f);
}

static void
run(const struct node *n, struct operated *ret, const char *fmt, va_list ap)
{
	const char *b = getenv("B");
	char arguments[600], out[64], err[64], command[1024];
	int status;

	vsnprintf(arguments, sizeof(arguments), fmt, ap);
	snprintf(out, sizeof(out), "%s/ctl.out", nodes_folder());
	snprintf(err, sizeof(err), "%s/ctl.err", nodes_folder());
	snprintf(command, sizeof(command), "%s/connectctl -s %s %s >%s 2>%s </dev/null", b != NULL ? b : "build", n->socket, arguments,
	    out, err);
	status = system(command);
	ck_assert(WIFEXITED(status));
	ret->code = WEXITSTATUS(status);
	slurp(out, ret->out, sizeof(ret->out));
	slurp(err, ret->err, sizeof(ret->err));
}

void
operator_runs(const struct node *n, struct operated *ret, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	run(n, ret, fmt, ap);
	va_end(ap);
}

void
operator_does(const struct node *n, const char *says, const char *fmt, ...)
{
	struct operated r;
	va_list ap;

	va_start(ap, fmt);
	run(n, &r, fmt, ap);
	va_end(ap);
	ck_assert_msg(r.code == 0 && strstr(r.out, says) != NULL, "%s: exit %d, %s%s", fmt, r.code, r.out, r.err);
}

void
operator_fails(const struct node *n, const char *says, const char *fmt, ...)
{
	struct operated r;
	va_list ap;

	va_start(ap, fmt);
	run(n, &r, fmt, ap);
	va_end(ap);
	ck_assert_msg(r.code == 1 && strstr(r.err, says) != NULL, "%s: exit %d, %s%s", fmt, r.code, r.out, r.err);
}

bool
operator_sees(const struct node *n, const char *text, const char *fmt, ...)
{
	struct operated r;
	va_list ap;

	va_start(ap, fmt);
	run(n, &r, fmt, ap);
	va_end(ap);
	ck_assert_msg(r.code == 0, "%s: %s", fmt, r.err);
	return strstr(r.out, text) != NULL;
}

void
operator_awaits(const struct node *n, const char *text, const char *command)
{
	uint64_t until = program_clock_ms() + PROGRAM_PATIENCE_MS;

	while (!operator_sees(n, text, "%s", command))
		ck_assert_msg(program_clock_ms() < until, "connectctl %s does not show %s", command, text);
}
