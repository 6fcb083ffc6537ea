#include "proxy.h"

#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAIRS_MAX 32
#define BUFFER (64 * 1024)

enum command { CMD_TARGET, CMD_CUT, CMD_HOLE, CMD_SPLIT, CMD_PASSED, CMD_PAIRS };

struct half { /* bytes read from one end that the other is to get */
	uint8_t buf[BUFFER];
	size_t from, to;
	bool ended;
};

struct pair {
	int fd[2]; /* -1: free */
	struct half half[2];
};

struct server {
	int control, listener;
	uint16_t port;
	bool hole;
	size_t split;
	uint64_t passed;
	struct pair pairs[PAIRS_MAX];
};

/* ------------------------------------------------------------- the process */

static void
pair_close(struct pair *p, bool reset)
{
	const struct linger hard = { .l_onoff = 1 };

	for (int i = 0; i < 2; i++) {
		if (reset)
			setsockopt(p->fd[i], SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
		close(p->fd[i]);
		p->fd[i] = -1;
	}
}

static void
take(struct server *s)
{
	struct sockaddr_in to = between_address(s->port);
	const int one = 1;
	int a = accept(s->listener, NULL, NULL), b;

	if (a < 0)
		return;
	for (size_t i = 0; i < PAIRS_MAX; i++) {
		struct pair *p = &s->pairs[i];

		if (p->fd[0] >= 0)
			continue;
		b = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (connect(b, (struct sockaddr *)&to, sizeof(to)) < 0) {
			close(b);
			break;
		}
		setsockopt(a, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		setsockopt(b, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		memset(p->half, 0, sizeof(p->half));
		p->fd[0] = a;
		p->fd[1] = b;
		return;
	}
	close(a);
}

/* Move bytes from end i to the other one. False: the pair is over. */
static bool
move(struct server *s, struct pair *p, int i, short revents_in, short revents_out)
{
	struct half *h = &p->half[i];
	ssize_t n;

	if ((revents_in & (POLLIN | POLLHUP | POLLERR)) != 0 && h->to == h->from) {
		n = recv(p->fd[i], h->buf, sizeof(h->buf), MSG_DONTWAIT);
		if (n == 0)
			h->ended = true;
		else if (n < 0)
			return errno == EAGAIN;
		h->from = 0;
		h->to = n > 0 ? (size_t)n : 0;
	}
	if ((revents_out & (POLLOUT | POLLHUP | POLLERR)) != 0 && h->to > h->from) {
		size_t len = h->to - h->from;

		n = send(p->fd[!i], h->buf + h->from, s->split > 0 && s->split < len ? s->split : len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN;
		h->from += (size_t)n;
		s->passed += (size_t)n;
	}
	return !h->ended || h->to > h->from;
}

static bool
obey(struct server *s)
{
	uint32_t command, value;
	uint64_t answer = 0;

	if (!between_heard(s->control, &command, &value))
		return false;
	switch ((enum command)command) {
	case CMD_TARGET:
		s->port = (uint16_t)value;
		break;
	case CMD_CUT:
		for (size_t i = 0; i < PAIRS_MAX; i++)
			if (s->pairs[i].fd[0] >= 0) {
				pair_close(&s->pairs[i], true);
				answer++;
			}
		break;
	case CMD_HOLE:
		s->hole = value != 0;
		break;
	case CMD_SPLIT:
		s->split = value;
		break;
	case CMD_PASSED:
		answer = s->passed;
		break;
	case CMD_PAIRS:
		/* Who waits at the door counts. */
		while (!s->hole && poll(&(struct pollfd){ .fd = s->listener, .events = POLLIN }, 1, 0) > 0)
			take(s);
		for (size_t i = 0; i < PAIRS_MAX; i++)
			answer += s->pairs[i].fd[0] >= 0;
		break;
	}
	return between_answer(s->control, answer);
}

static short
wanted(const struct server *s, const struct pair *p, int i)
{
	const struct half *in = &p->half[i], *out = &p->half[!i];

	if (s->hole)
		return 0;
	return (short)((in->to == in->from && !in->ended ? POLLIN : 0) | (out->to > out->from ? POLLOUT : 0));
}

static void
serve(struct server *s)
{
	struct pollfd fds[2 + 2 * PAIRS_MAX];

	for (;;) {
		fds[0] = (struct pollfd){ .fd = s->control, .events = POLLIN };
		/* In a hole even a new connection hears nothing. */
		fds[1] = (struct pollfd){ .fd = s->hole ? -1 : s->listener, .events = POLLIN };
		for (size_t i = 0; i < PAIRS_MAX; i++)
			for (int k = 0; k < 2; k++) {
				short events = s->pairs[i].fd[k] >= 0 ? wanted(s, &s->pairs[i], k) : 0;

				fds[2 + 2 * i + (size_t)k] = (struct pollfd){ .fd = events ? s->pairs[i].fd[k] : -1, .events = events };
			}
		if (poll(fds, 2 + 2 * PAIRS_MAX, -1) < 0 && errno != EINTR)
			_exit(1);
		if (fds[0].revents != 0 && !obey(s))
			_exit(0);
		if (fds[0].revents != 0)
			continue; /* what was polled may be gone */
		for (size_t i = 0; i < PAIRS_MAX; i++) {
			struct pair *p = &s->pairs[i];
			short a = fds[2 + 2 * i].revents, b = fds[3 + 2 * i].revents;

			if (p->fd[0] >= 0 && (a | b) != 0 && (!move(s, p, 0, a, b) || !move(s, p, 1, b, a)))
				pair_close(p, false);
		}
		if (fds[1].revents != 0)
			take(s);
	}
}

/* ---------------------------------------------------------------- the test */

void
proxy_start(struct proxy *p, const char *target)
{
	struct server *s = calloc(1, sizeof(*s));

	ck_assert_ptr_nonnull(s);
	s->port = between_port(target);
	s->listener = between_socket(SOCK_STREAM, "tcp", p->url);
	ck_assert_int_eq(listen(s->listener, 64), 0);
	for (size_t i = 0; i < PAIRS_MAX; i++)
		s->pairs[i].fd[0] = s->pairs[i].fd[1] = -1;
	if (between_fork(&p->between, &s->control))
		serve(s);
	close(s->listener);
	free(s);
}

void
proxy_stop(struct proxy *p)
{
	between_stop(&p->between);
}

void
proxy_target(struct proxy *p, const char *target)
{
	between_tell(&p->between, CMD_TARGET, between_port(target));
}

size_t
proxy_cut(struct proxy *p)
{
	return (size_t)between_tell(&p->between, CMD_CUT, 0);
}

void
proxy_hole(struct proxy *p, bool on)
{
	between_tell(&p->between, CMD_HOLE, on);
}

void
proxy_split(struct proxy *p, uint32_t bytes)
{
	between_tell(&p->between, CMD_SPLIT, bytes);
}

uint64_t
proxy_passed(struct proxy *p)
{
	return between_tell(&p->between, CMD_PASSED, 0);
}

size_t
proxy_pairs(struct proxy *p)
{
	return (size_t)between_tell(&p->between, CMD_PAIRS, 0);
}
