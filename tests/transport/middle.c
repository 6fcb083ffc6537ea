/* middle: see middle.h. */
#include "middle.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int
raw_connect(const char *url)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	a.sin_port = htons(world_url(url).port);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

int
raw_listen(char url[static TRANSPORT_TEXT_MAX])
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	ck_assert_int_eq(listen(fd, 5), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	snprintf(url, TRANSPORT_TEXT_MAX, "tls://127.0.0.1:%u", ntohs(a.sin_port));
	return fd;
}

static void
count_records(struct middle *m, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		uint64_t at = m->passed[0] + i;

		if (at < m->next_record)
			continue;
		m->header[at - m->next_record] = data[i];
		if (at < m->next_record + 4)
			continue;
		m->records++;
		m->next_record += 5 + ((uint64_t)m->header[3] << 8 | m->header[4]);
	}
}

static void
arm(struct middle *m)
{
	for (int i = 0; i < 2; i++) {
		struct middle_way *in = &m->way[i], *back = &m->way[1 - i];

		if (in->fd >= 0)
			loop_watch_want(&in->watch, in->len == 0 && !in->is_over && !(i == 0 && m->is_shut), back->len > 0);
	}
}

/* Pass on what came; one piece a turn, so that the ends really see pieces. */
static void
pass(struct middle *m, int i)
{
	struct middle_way *in = &m->way[i], *to = &m->way[1 - i];
	size_t n = in->len < m->step ? in->len : m->step;
	ssize_t done;

	if (i == 0 && m->damage_at > 0 && m->damage_at >= m->passed[0] && m->damage_at < m->passed[0] + n)
		in->buf[in->at + m->damage_at - m->passed[0]] ^= 4;
	done = to->fd < 0 ? (ssize_t)n : send(to->fd, in->buf + in->at, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (done < 0 && errno != EAGAIN)
		done = (ssize_t)n; /* nobody is there any more */
	if (done <= 0)
		return;
	if (i == 0)
		count_records(m, in->buf + in->at, (size_t)done);
	m->passed[i] += (uint64_t)done;
	in->at += (size_t)done;
	in->len -= (size_t)done;
}

static void
step(struct middle *m, int i)
{
	struct middle_way *in = &m->way[i], *to = &m->way[1 - i];

	if (in->fd < 0)
		return;
	if (in->len == 0 && !in->is_over && !(i == 0 && m->is_shut)) {
		ssize_t n = recv(in->fd, in->buf, sizeof(in->buf), MSG_DONTWAIT);

		in->at = 0;
		in->len = n > 0 ? (size_t)n : 0;
		in->is_over = n == 0 || (n < 0 && errno != EAGAIN);
		m->is_reset |= n < 0 && errno != EAGAIN;
	}
	if (in->len > 0)
		pass(m, i);
	if (in->is_over && in->len == 0 && !m->ended[i]) {
		m->ended[i] = true;
		shutdown(to->fd, SHUT_WR);
	}
	/* A small step is taken each pass. */
	if (in->len > 0 && m->step < SIZE_MAX)
		loop_timer_start(&m->turn, 0);
}

void
middle_turn(struct middle *m)
{
	step(m, 0);
	step(m, 1);
	arm(m);
}

static void
on_turn(void *arg)
{
	middle_turn(arg);
}

static void
on_way(void *arg, bool readable, bool writable)
{
	(void)readable, (void)writable;
	middle_turn(((struct middle_way *)arg)->m);
}

static void
on_dialled(void *arg, bool readable, bool writable)
{
	struct middle *m = arg;

	(void)readable, (void)writable;
	loop_watch_want(&m->watch, false, false);
	m->way[0].fd = accept(m->listening, NULL, NULL);
	ck_assert_int_ge(m->way[0].fd, 0);
	m->way[1].fd = raw_connect(m->w->url);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(loop_watch_init(&m->way[i].watch, m->w->loop, m->way[i].fd, on_way, &m->way[i]), 0);
	middle_turn(m);
}

struct middle *
middle_new(struct world *w)
{
	struct middle *m = calloc(1, sizeof(*m));
	char url[TRANSPORT_TEXT_MAX];

	ck_assert_ptr_nonnull(m);
	m->w = w;
	m->step = SIZE_MAX;
	for (int i = 0; i < 2; i++) {
		m->way[i].m = m;
		m->way[i].fd = -1;
	}
	m->listening = raw_listen(url);
	snprintf(m->url, sizeof(m->url), "%.60s", url);
	loop_timer_init(&m->turn, w->loop, on_turn, m);
	ck_assert_int_eq(loop_watch_init(&m->watch, w->loop, m->listening, on_dialled, m), 0);
	loop_watch_want(&m->watch, true, false);
	return m;
}

void
middle_end(struct middle *m)
{
	m->way[0].is_over = true;
	m->way[0].len = 0;
	middle_turn(m);
}

void
middle_free(struct middle *m)
{
	loop_timer_stop(&m->turn);
	loop_watch_done(&m->watch);
	close(m->listening);
	for (int i = 0; i < 2; i++) {
		if (m->way[i].fd < 0)
			continue;
		loop_watch_done(&m->way[i].watch);
		close(m->way[i].fd);
	}
	free(m);
}
