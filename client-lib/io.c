#include "io.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

struct io {
	int epoll, timer, sock;
	bool want_write;
	pid_t owner;
};

static int
io_watch(struct io *io, int op, int fd, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.fd = fd };

	return epoll_ctl(io->epoll, op, fd, &e);
}

struct io *
io_new(void)
{
	struct io *io = calloc(1, sizeof(*io));
	int err;

	if (io == NULL)
		return NULL;
	io->owner = getpid();
	io->sock = -1;
	io->epoll = epoll_create1(EPOLL_CLOEXEC);
	io->timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (io->epoll >= 0 && io->timer >= 0 && io_watch(io, EPOLL_CTL_ADD, io->timer, EPOLLIN) == 0)
		return io;
	err = errno;
	io_free(io);
	errno = err;
	return NULL;
}

void
io_free(struct io *io)
{
	if (io == NULL)
		return;
	/* No EPOLL_CTL_DEL: a child shares the set with its parent. */
	if (io->sock >= 0)
		close(io->sock);
	if (io->timer >= 0)
		close(io->timer);
	if (io->epoll >= 0)
		close(io->epoll);
	free(io);
}

bool
io_forked(const struct io *io)
{
	return getpid() != io->owner;
}

int
io_fd(const struct io *io)
{
	return io->epoll;
}

int
io_connect(struct io *io, const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	size_t len = strlen(path);
	int err;

	if (len == 0)
		return -ENOENT;
	if (len >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	memcpy(sun.sun_path, path, len);
	io->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (io->sock < 0)
		return -errno;
	if (connect(io->sock, (const struct sockaddr *)&sun, sizeof(sun)) == 0 &&
	    io_watch(io, EPOLL_CTL_ADD, io->sock, EPOLLIN) == 0)
		return 0;
	err = errno;
	io_disconnect(io);
	return -err;
}

void
io_disconnect(struct io *io)
{
	if (io->sock >= 0)
		close(io->sock);
	io->sock = -1;
	io->want_write = false;
}

ssize_t
io_read(struct io *io, void *buf, size_t len)
{
	ssize_t n;

	do
		n = recv(io->sock, buf, len, 0);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

ssize_t
io_writev(struct io *io, const struct iovec *iov, int n)
{
	/* sendmsg promises not to write through it, but is older than const. */
	struct msghdr msg = { .msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n };
	ssize_t sent;

	do
		sent = sendmsg(io->sock, &msg, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : sent;
}

void
io_want_write(struct io *io, bool on)
{
	if (io->sock < 0 || io->want_write == on)
		return;
	io->want_write = on;
	io_watch(io, EPOLL_CTL_MOD, io->sock, on ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

void
io_timer(struct io *io, uint64_t ms)
{
	struct itimerspec t = { 0 };

	if (ms != UINT64_MAX) {
		t.it_value.tv_sec = ms / 1000 > INT_MAX ? INT_MAX : (time_t)(ms / 1000);
		t.it_value.tv_nsec = (long)(ms % 1000) * 1000000;
		if (ms == 0)
			t.it_value.tv_nsec = 1; /* all zero would disarm it */
	}
	timerfd_settime(io->timer, 0, &t, NULL);
}

uint64_t
io_now(const struct io *io)
{
	struct timespec ts;

	(void)io;
	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

int
io_wait(struct io *io, int timeout_ms)
{
	struct epoll_event e[2];
	int n = epoll_wait(io->epoll, e, 2, timeout_ms);

	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++) {
		uint64_t fired;

		if (e[i].data.fd == io->timer && read(io->timer, &fired, sizeof(fired)) < 0 && errno != EAGAIN)
			return -errno;
	}
	return n > 0;
}

void
io_random(struct io *io, void *buf, size_t len)
{
	uint8_t *p = buf;

	(void)io;
	while (len > 0) {
		ssize_t n = getrandom(p, len, 0);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			abort(); /* the kernel has no such failure for small reads */
		}
		p += n;
		len -= (size_t)n;
	}
}
