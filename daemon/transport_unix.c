/*
 * transport_unix: streams between processes of one host. The kernel says who
 * is at the other end.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "socket.h"

#define RETRY_MS 5 /* a full backlog has no event to wait for */

struct unix_stream {
	struct socket s;
	struct sockaddr_un to;
	uint64_t deadline_ms;
};

struct unix_listener {
	struct socket_listener sl;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	/* What we bound: 0 for a socket passed in, whose file is not ours. */
	dev_t dev;
	ino_t ino;
};

static int
set_path(struct sockaddr_un *sa, const char *path)
{
	size_t len = path ? strlen(path) : 0;

	if (len == 0)
		return -EINVAL;
	if (len >= sizeof(sa->sun_path))
		return -ENAMETOOLONG;
	memset(sa, 0, sizeof(*sa));
	sa->sun_family = AF_UNIX;
	memcpy(sa->sun_path, path, len);
	return 0;
}

/* connect(2) on a Unix socket never waits: it is done, or refused, or the backlog is full (EAGAIN). */
static void
try_connect(struct socket *s)
{
	struct unix_stream *u = (struct unix_stream *)s;
	uint64_t now = loop_now_ms(s->loop);

	if (connect(s->fd, (const struct sockaddr *)&u->to, sizeof(u->to)) == 0) {
		socket_up(s);
		return;
	}
	if (errno != EAGAIN && errno != EINTR) {
		socket_fail(s, -errno, NULL);
		return;
	}
	if (now >= u->deadline_ms) {
		socket_fail(s, -ETIMEDOUT, NULL);
		return;
	}
	socket_deadline(s, u->deadline_ms - now < RETRY_MS ? u->deadline_ms - now : RETRY_MS);
}

static void
nothing(struct socket *s)
{
	(void)s;
}

static const struct socket_kind kind = { .writable = nothing, .late = try_connect, .settled = nothing };

static int
unix_connect(struct loop *l, const struct names_url *url, const struct transport_security *security, uint64_t timeout_ms,
    const struct transport_events *ev, void *arg, struct transport **ret)
{
	struct unix_stream *u = calloc(1, sizeof(*u));
	uint64_t now = loop_now_ms(l);
	int r;

	(void)security;
	if (!u)
		return -ENOMEM;
	r = set_path(&u->to, url->path);
	if (r < 0)
		goto fail;
	socket_init(&u->s, &transport_unix, &kind, l, ev, arg);
	u->deadline_ms = timeout_ms > UINT64_MAX - now ? UINT64_MAX : now + timeout_ms;
	r = socket_new(AF_UNIX);
	if (r >= 0)
		r = socket_take(&u->s, r);
	if (r < 0)
		goto fail;
	try_connect(&u->s);
	*ret = &u->s.t;
	return 0;
fail:
	free(u);
	return r;
}

/* The kernel of the other end is this one: what it took it also has. */
static size_t
unix_out_pending(struct transport *t)
{
	(void)t;
	return 0;
}

static void
unix_identity(struct transport *t, struct transport_identity *ret)
{
	struct socket *s = (struct socket *)(void *)t;
	struct ucred cred;
	socklen_t len = sizeof(cred);

	*ret = (struct transport_identity){ .address = "unix" };
	if (s->fd < 0 || getsockopt(s->fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 || cred.uid == (uid_t)-1)
		return;
	ret->is_local = true;
	ret->uid = cred.uid;
	ret->gid = cred.gid;
	ret->pid = (uint32_t)cred.pid;
}

/* --------------------------------------------------------------- listener */

static struct socket *
adopt(struct socket_listener *sl, int fd)
{
	struct unix_stream *u = calloc(1, sizeof(*u));

	if (!u) {
		close(fd);
		return NULL;
	}
	socket_init(&u->s, &transport_unix, &kind, sl->loop, NULL, NULL);
	if (socket_take(&u->s, fd) < 0) {
		free(u);
		return NULL;
	}
	return &u->s;
}

/* A socket file that nobody listens to is left over from a crash: remove it. 0, or -EADDRINUSE. */
static int
remove_stale(const struct sockaddr_un *sa)
{
	struct stat st;
	int fd, r;

	if (lstat(sa->sun_path, &st) < 0)
		return -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EADDRINUSE;
	fd = socket_new(AF_UNIX);
	if (fd < 0)
		return fd;
	r = connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) < 0 ? -errno : 0;
	close(fd);
	if (r != -ECONNREFUSED)
		return -EADDRINUSE;
	return unlink(sa->sun_path) < 0 ? -errno : 0;
}

static int
bind_new(struct unix_listener *ul, const struct sockaddr_un *sa)
{
	const struct sockaddr *a = (const struct sockaddr *)sa;
	struct stat st;
	int fd = socket_new(AF_UNIX), r;

	if (fd < 0)
		return fd;
	/* Nobody else may connect before the owner has set mode and group. */
	if (fchmod(fd, 0600) < 0)
		goto fail;
	if (bind(fd, a, sizeof(*sa)) < 0) {
		if (errno != EADDRINUSE)
			goto fail;
		r = remove_stale(sa);
		if (r < 0) {
			close(fd);
			return r;
		}
		if (bind(fd, a, sizeof(*sa)) < 0)
			goto fail;
	}
	if (lstat(sa->sun_path, &st) < 0)
		goto fail;
	ul->dev = st.st_dev;
	ul->ino = st.st_ino;
	if (listen(fd, SOCKET_BACKLOG) < 0)
		goto fail;
	return fd;
fail:
	r = -errno;
	close(fd);
	return r;
}

/* The file may by now be a successor's. */
static void
unlink_own(struct unix_listener *ul)
{
	struct stat st;

	if (ul->ino != 0 && lstat(ul->path, &st) == 0 && st.st_dev == ul->dev && st.st_ino == ul->ino)
		unlink(ul->path);
}

static int
unix_listen(struct loop *l, const struct names_url *url, const struct transport_security *security, int fd,
    void (*accepted)(void *arg, struct transport *t), void (*failed)(void *arg, int error, const char *text), void *arg,
    struct transport_listener **ret)
{
	struct unix_listener *ul = calloc(1, sizeof(*ul));
	struct sockaddr_un sa;
	int r;

	(void)security;
	if (!ul)
		return -ENOMEM;
	r = set_path(&sa, url->path);
	if (r < 0)
		goto fail;
	memcpy(ul->path, sa.sun_path, sizeof(ul->path));
	r = fd >= 0 ? socket_check_passed(fd, AF_UNIX, AF_UNIX) : bind_new(ul, &sa);
	if (r < 0)
		goto fail;
	ul->sl = (struct socket_listener){ .tl = { &transport_unix },
		.loop = l,
		.fd = fd >= 0 ? fd : r,
		.adopt = adopt,
		.accepted = accepted,
		.failed = failed,
		.arg = arg };
	r = socket_listen(&ul->sl);
	if (r < 0) {
		if (fd < 0)
			close(ul->sl.fd);
		goto fail;
	}
	*ret = &ul->sl.tl;
	return 0;
fail:
	unlink_own(ul);
	free(ul);
	return r;
}

static void
unix_listen_url(struct transport_listener *tl, char buf[static TRANSPORT_TEXT_MAX])
{
	snprintf(buf, TRANSPORT_TEXT_MAX, "unix://%s", ((struct unix_listener *)(void *)tl)->path);
}

static void
unix_listen_close(struct transport_listener *tl)
{
	struct unix_listener *ul = (struct unix_listener *)(void *)tl;

	unlink_own(ul);
	socket_listen_close(&ul->sl);
}

const struct transport_ops transport_unix = {
	.connect = unix_connect,
	.listen = unix_listen,
	.read = socket_read,
	.writev = socket_writev,
	.want_read = socket_want_read,
	.out_pending = unix_out_pending,
	.identity = unix_identity,
	.close = socket_close,
	.listen_pause = socket_listen_pause,
	.listen_url = unix_listen_url,
	.listen_close = unix_listen_close,
};
