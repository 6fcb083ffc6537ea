/* relay: see relay.h. */
#include "relay.h"

#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATHS_MAX 16 /* diallers; the oldest gives way */
#define DATAGRAM 10000

enum command { CMD_TARGET, CMD_MOVE, CMD_HOLE, CMD_HARM, CMD_HARMED, CMD_PASSED };

struct path {
	struct sockaddr_in dialler;
	int fd; /* towards the target; -1: none */
};

struct server {
	int control, front;
	struct sockaddr_in target;
	struct path paths[PATHS_MAX];
	unsigned next;
	bool hole;
	uint32_t harm;
	uint64_t random, harmed, passed;
	struct {
		uint8_t data[DATAGRAM];
		size_t len; /* 0: none */
		struct path *path;
		bool back;
	} held;
};

static uint32_t
dice(struct server *s)
{
	s->random = s->random * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(s->random >> 33);
}

static bool
hits(struct server *s)
{
	bool hit = dice(s) % 1000 < s->harm;

	s->harmed += hit;
	return hit;
}

static void
put(struct server *s, struct path *p, bool back, const uint8_t *data, size_t len)
{
	s->passed++;
	/* Nobody being there any more is no fault of the relay. */
	if (back)
		(void)!sendto(s->front, data, len, 0, (struct sockaddr *)&p->dialler, sizeof(p->dialler));
	else if (p->fd >= 0)
		(void)!send(p->fd, data, len, 0);
}

static void
pass(struct server *s, struct path *p, bool back, uint8_t *data, size_t len)
{
	if (s->hole || len == 0 || hits(s))
		return;
	if (hits(s))
		data[dice(s) % len] ^= (uint8_t)(1 + dice(s) % 255);
	if (s->held.len == 0 && hits(s)) {
		memcpy(s->held.data, data, len);
		s->held.len = len;
		s->held.path = p;
		s->held.back = back;
		return;
	}
	put(s, p, back, data, len);
	if (hits(s))
		put(s, p, back, data, len);
	if (s->held.len > 0)
		put(s, s->held.path, s->held.back, s->held.data, s->held.len);
	s->held.len = 0;
}

static void
open_path(struct server *s, struct path *p)
{
	if (p->fd >= 0)
		close(p->fd);
	p->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p->fd < 0 || connect(p->fd, (struct sockaddr *)&s->target, sizeof(s->target)) < 0)
		_exit(1);
}

static struct path *
path_of(struct server *s, const struct sockaddr_in *from)
{
	struct path *p;

	for (int i = 0; i < PATHS_MAX; i++)
		if (s->paths[i].fd >= 0 && s->paths[i].dialler.sin_port == from->sin_port)
			return &s->paths[i];
	p = &s->paths[s->next++ % PATHS_MAX];
	p->dialler = *from;
	open_path(s, p);
	return p;
}

static void
reopen(struct server *s)
{
	for (int i = 0; i < PATHS_MAX; i++)
		if (s->paths[i].fd >= 0)
			open_path(s, &s->paths[i]);
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
		s->target = between_address((uint16_t)value);
		reopen(s);
		break;
	case CMD_MOVE:
		reopen(s);
		break;
	case CMD_HOLE:
		s->hole = value;
		break;
	case CMD_HARM:
		s->harm = value;
		break;
	case CMD_HARMED:
		answer = s->harmed;
		break;
	case CMD_PASSED:
		answer = s->passed;
		break;
	}
	return between_answer(s->control, answer);
}

static void
serve(struct server *s)
{
	static uint8_t data[DATAGRAM];

	for (;;) {
		struct pollfd fds[2 + PATHS_MAX];
		struct sockaddr_in from;
		socklen_t len = sizeof(from);
		ssize_t n;

		fds[0] = (struct pollfd){ .fd = s->control, .events = POLLIN };
		fds[1] = (struct pollfd){ .fd = s->front, .events = POLLIN };
		for (int i = 0; i < PATHS_MAX; i++)
			fds[2 + i] = (struct pollfd){ .fd = s->paths[i].fd, .events = POLLIN };
		if (poll(fds, 2 + PATHS_MAX, -1) < 0 && errno != EINTR)
			_exit(1);
		if (fds[0].revents != 0 && !obey(s))
			_exit(0);
		n = recvfrom(s->front, data, sizeof(data), MSG_DONTWAIT, (struct sockaddr *)&from, &len);
		if (n > 0)
			pass(s, path_of(s, &from), false, data, (size_t)n);
		for (int i = 0; i < PATHS_MAX; i++) {
			n = s->paths[i].fd >= 0 ? recv(s->paths[i].fd, data, sizeof(data), MSG_DONTWAIT) : 0;
			if (n > 0)
				pass(s, &s->paths[i], true, data, (size_t)n);
		}
	}
}

/* ---------------------------------------------------------------- the test */

void
relay_start(struct relay *r, const char *target)
{
	struct server *s = calloc(1, sizeof(*s));

	ck_assert_ptr_nonnull(s);
	s->random = 4711;
	s->target = between_address(between_port(target));
	for (int i = 0; i < PATHS_MAX; i++)
		s->paths[i].fd = -1;
	s->front = between_socket(SOCK_DGRAM, target, r->url);
	if (between_fork(&r->between, &s->control))
		serve(s);
	close(s->front);
	free(s);
}

void
relay_stop(struct relay *r)
{
	between_stop(&r->between);
}

void
relay_target(struct relay *r, const char *target)
{
	between_tell(&r->between, CMD_TARGET, between_port(target));
}

void
relay_move(struct relay *r)
{
	between_tell(&r->between, CMD_MOVE, 0);
}

void
relay_hole(struct relay *r, bool on)
{
	between_tell(&r->between, CMD_HOLE, on);
}

void
relay_harm(struct relay *r, uint32_t of_1000)
{
	between_tell(&r->between, CMD_HARM, of_1000);
}

uint64_t
relay_harmed(struct relay *r)
{
	return between_tell(&r->between, CMD_HARMED, 0);
}

uint64_t
relay_passed(struct relay *r)
{
	return between_tell(&r->between, CMD_PASSED, 0);
}
