#include "service.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "loop.h"

#define PASSED_FIRST 3 /* the first descriptor that systemd passes */
#define PASSED_MAX 256
#define SURE_S 5 /* how long systemd may be behind */
#define AGAIN_MS 100

struct passed {
	char *name;
	int fd; /* -1: taken */
};

struct service {
	const struct service_events *ev;
	void *arg;
	struct loop_watch signals;
	int signal_fd;
	struct loop_timer watchdog;
	struct loop_timer again; /* it could not be said that all is ready */
	uint64_t watchdog_ms;
	struct passed *passed;
	size_t n_passed;
};

/* ----------------------------------------------------------------- sd_notify -- */

/* Waits a while if need be. 0, also if nobody asks for it; or a negative errno. */
static int
notify(const char *text, bool waits)
{
	static const struct timeval patience = { .tv_sec = SURE_S };
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	size_t len = path ? strlen(path) : 0;
	int fd, r = 0;

	if (len < 2 || len >= sizeof(to.sun_path) || (path[0] != '/' && path[0] != '@'))
		return 0;
	memcpy(to.sun_path, path, len);
	if (path[0] == '@')
		to.sun_path[0] = '\0'; /* an abstract socket */
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | (waits ? 0 : SOCK_NONBLOCK), 0);
	if (fd < 0)
		return -errno;
	if (waits)
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&to,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
		r = -errno;
	close(fd);
	return r;
}

/* Without that the start fails. That there is no such socket does not pass. */
static void
tell_ready(struct service *s, bool waits)
{
	int r = notify("READY=1", waits);

	if (r < 0 && r != -ENOENT && r != -ECONNREFUSED && r != -EACCES)
		loop_timer_start(&s->again, AGAIN_MS);
}

static void
tell_again(void *arg)
{
	tell_ready(arg, false);
}

void
service_notify(struct service *s, const char *text)
{
	if (strcmp(text, "READY=1") == 0)
		tell_ready(s, true);
	else
		notify(text, false); /* what gets lost is said again, or missed by nobody */
}

static void
feed(void *arg)
{
	struct service *s = arg;

	service_notify(s, "WATCHDOG=1");
	loop_timer_start(&s->watchdog, s->watchdog_ms);
}

/* A number in the environment; 0: none. */
static uint64_t
env_number(const char *name)
{
	const char *text = getenv(name);
	char *end;
	unsigned long long n;

	if (!text || *text < '0' || *text > '9')
		return 0;
	errno = 0;
	n = strtoull(text, &end, 10);
	return *end == '\0' && errno == 0 ? n : 0;
}

static void
start_watchdog(struct service *s)
{
	uint64_t us = env_number("WATCHDOG_USEC"), pid = env_number("WATCHDOG_PID");

	if (us == 0 || (pid != 0 && pid != (uint64_t)getpid()))
		return;
	s->watchdog_ms = us / 3000 + 1;
	feed(s);
}

/* -------------------------------------------------------------------- signals -- */

static void
on_signal(void *arg, bool readable, bool writable)
{
	struct service *s = arg;
	struct signalfd_siginfo info;

	(void)readable, (void)writable;
	if (read(s->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (info.ssi_signo == SIGHUP)
		s->ev->reload(s->arg);
	else
		s->ev->stop(s->arg);
}

static int
take_signals(struct service *s, struct loop *l)
{
	sigset_t set;
	int r;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return -errno;
	s->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (s->signal_fd < 0)
		return -errno;
	r = loop_watch_init(&s->signals, l, s->signal_fd, on_signal, s);
	if (r < 0) {
		close(s->signal_fd);
		s->signal_fd = -1;
		return r;
	}
	loop_watch_want(&s->signals, true, false);
	return 0;
}

/* ------------------------------------------------------------ sockets passed in -- */

static int
keep_passed(struct service *s)
{
	uint64_t n = env_number("LISTEN_FDS");
	const char *names = getenv("LISTEN_FDNAMES");

	if (n == 0 || env_number("LISTEN_PID") != (uint64_t)getpid())
		return 0;
	if (n > PASSED_MAX)
		return -E2BIG;
	s->passed = calloc((size_t)n, sizeof(*s->passed));
	if (!s->passed)
		return -ENOMEM;
	for (; s->n_passed < n; s->n_passed++) {
		size_t len = names ? strcspn(names, ":") : 0;
		struct passed *p = &s->passed[s->n_passed];

		p->fd = PASSED_FIRST + (int)s->n_passed;
		p->name = names ? strndup(names, len) : strdup("unknown");
		if (!p->name)
			return -ENOMEM;
		if (fcntl(p->fd, F_SETFD, FD_CLOEXEC) < 0)
			return -errno;
		if (names)
			names = names[len] == ':' ? names + len + 1 : NULL;
	}
	return 0;
}

int
service_take_passed(struct service *s, const char *name, size_t i)
{
	for (size_t k = 0; k < s->n_passed; k++) {
		struct passed *p = &s->passed[k];
		int fd = p->fd;

		if (strcmp(p->name, name) != 0 || i-- > 0)
			continue;
		p->fd = -1;
		return fd;
	}
	return -1;
}

const char *
service_left_passed(const struct service *s)
{
	for (size_t k = 0; k < s->n_passed; k++)
		if (s->passed[k].fd >= 0)
			return s->passed[k].name;
	return NULL;
}

/* -------------------------------------------------------------------- process -- */

void
service_raise_limits(void)
{
	struct rlimit rl;

	/* If it cannot be, the limit in force shows when descriptors run out. */
	if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur < rl.rlim_max) {
		rl.rlim_cur = rl.rlim_max;
		(void)!setrlimit(RLIMIT_NOFILE, &rl);
	}
}

int
service_socket_rights(const char *path, uint32_t mode, bool has_group, uint32_t group)
{
	/* The group first: nobody is let in who then has to go. */
	if (has_group && lchown(path, (uid_t)-1, (gid_t)group) < 0)
		return -errno;
	return chmod(path, (mode_t)mode) < 0 ? -errno : 0;
}

int
service_new(struct loop *l, const struct service_events *ev, void *arg, struct service **ret)
{
	struct service *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->ev = ev;
	s->arg = arg;
	s->signal_fd = -1;
	loop_timer_init(&s->watchdog, l, feed, s);
	loop_timer_init(&s->again, l, tell_again, s);
	r = keep_passed(s);
	if (r == 0)
		r = take_signals(s, l);
	if (r < 0) {
		service_free(s);
		return r;
	}
	start_watchdog(s);
	*ret = s;
	return 0;
}

void
service_free(struct service *s)
{
	if (!s)
		return;
	loop_timer_stop(&s->watchdog);
	loop_timer_stop(&s->again);
	if (s->signal_fd >= 0) {
		loop_watch_done(&s->signals);
		close(s->signal_fd);
	}
	for (size_t i = 0; i < s->n_passed; i++) {
		if (s->passed[i].fd >= 0)
			close(s->passed[i].fd);
		free(s->passed[i].name);
	}
	free(s->passed);
	free(s);
}
