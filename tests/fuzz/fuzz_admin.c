/*
 * fuzz_admin: what a daemon may answer connectctl. The whole tool is run, verb
 * by verb, against a socket on which the input lies ready. What it prints for
 * people must be text that leaves a terminal as it was, whoever the daemon is.
 *
 * The first byte says which verb; the second what is put in front of the rest:
 * nothing, a good Hello, or that and an answer to the question, of which the
 * rest are the records, or one record, or the reason of a refusal.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "frame.h"
#include "wire.h"

#define main connectctl_main
int connectctl_main(int argc, char **argv);
#include "../../tools/connectctl.c"
#undef main

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int __real_connect(int fd, const struct sockaddr *addr, socklen_t len);
int __wrap_connect(int fd, const struct sockaddr *addr, socklen_t len);

static uint8_t answer[32 << 10];
static size_t answer_len;
static int far_end = -1;

/* Whoever connects finds the input, and then the end. */
int
__wrap_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	int pair[2];

	(void)addr, (void)len;
	if (far_end >= 0)
		close(far_end);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 || dup2(pair[0], fd) < 0 ||
	    write(pair[1], answer, answer_len) != (ssize_t)answer_len || shutdown(pair[1], SHUT_WR) < 0)
		abort();
	close(pair[0]);
	far_end = pair[1];
	return 0;
}

static void
add(const void *data, size_t len)
{
	memcpy(answer + answer_len, data, len);
	answer_len += len;
}

static void
add_frame(const struct wire_frame *f)
{
	answer_len += wire_pack(f, answer + answer_len);
}

static void
add_answer(const uint8_t *data, size_t size, unsigned how)
{
	static uint8_t records[16 << 10];
	struct wire_frame f = { .kind = WIRE_HELLO, .u.hello = { .magic = WIRE_MAGIC, .version_min = 1, .version_max = 1,
		.role = WIRE_ROLE_DAEMON, .name = wire_string("paris") } };

	answer_len = 0;
	if (how > 0)
		add_frame(&f);
	if (how < 2) {
		add(data, size);
		return;
	}
	f = (struct wire_frame){ .kind = WIRE_ADMIN_RESPONSE, .u.admin_response = { .id = 1, .last = true } };
	if (how == 2) {
		f.u.admin_response.records = wire_bytes(data, size);
	} else if (how == 3) {
		size_t head = frame_header(records, (uint32_t)size);

		memcpy(records + head, data, size);
		f.u.admin_response.records = wire_bytes(records, head + size);
	} else {
		f.u.admin_response.error = EACCES;
		f.u.admin_response.reason = wire_bytes(data, size);
	}
	add_frame(&f);
	f.u.admin_response.id = 2; /* some verbs ask twice */
	add_frame(&f);
}

/* Nothing but lines of text: no control characters, well-formed UTF-8. */
static void
check_text(const char *text, size_t len)
{
	for (size_t i = 0, n; i < len; i += n) {
		const unsigned char *p = (const unsigned char *)text + i;

		n = p[0] < 0x80 ? 1 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
		if (n == 1 ? (p[0] < 0x20 && p[0] != '\n') || p[0] == 0x7f : p[0] < 0xc2 || p[0] > 0xf4 || n > len - i)
			goto bad;
		for (size_t k = 1; k < n; k++)
			if ((p[k] & 0xc0) != 0x80)
				goto bad;
		if (n == 2 && p[0] == 0xc2 && p[1] < 0xa0)
			goto bad;
		continue;
	bad:
		fprintf(stderr, "at %zu of what was printed:\n", i);
		fwrite(text, 1, len, stderr);
		abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const verbs_run[][6] = { { "status" }, { "peers" }, { "queues", "h" }, { "clients" }, { "peek", "h0" }, { "producers" },
		{ "events" }, { "hold", "h0" }, { "purge", "--yes", "h0" }, { "key" }, { "renew" }, { "peer", "forget", "x" }, { "move", "a", "b" },
		{ "producers", "forget", "a", "b" } };
	char text[8][16] = { "connectctl", "--json" }, *argv[9];
	const char *const *verb;
	char *out = NULL, *err = NULL;
	size_t out_len, err_len;
	FILE *old_out = stdout, *old_err = stderr;
	int argc = 0;

	if (size < 2)
		return 0;
	verb = verbs_run[(data[0] & 127) % (sizeof(verbs_run) / sizeof(verbs_run[0]))];
	argv[argc++] = text[0];
	if (data[0] & 128)
		argv[argc++] = text[1];
	for (int i = 0; i < 6 && verb[i]; i++) {
		snprintf(text[2 + i], sizeof(text[0]), "%s", verb[i]);
		argv[argc++] = text[2 + i];
	}
	argv[argc] = NULL;
	add_answer(data + 2, size - 2, data[1] % 5);
	stdout = open_memstream(&out, &out_len);
	stderr = open_memstream(&err, &err_len);
	optind = 0;
	connectctl_main(argc, argv);
	fclose(stdout);
	fclose(stderr);
	stdout = old_out;
	stderr = old_err;
	check_text(out, out_len);
	check_text(err, err_len);
	free(out);
	free(err);
	close(far_end);
	far_end = -1;
	return 0;
}
