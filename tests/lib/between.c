#include "between.h"

#include <arpa/inet.h>
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct order {
	uint32_t command, value;
};

uint16_t
between_port(const char *url)
{
	const char *colon = strrchr(url, ':');
	int port = colon != NULL ? atoi(colon + 1) : 0;

	ck_assert_msg(port > 0 && port < 65536, "no port in %s", url);
	return (uint16_t)port;
}

struct sockaddr_in
between_address(uint16_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = { htonl(INADDR_LOOPBACK) } };
}

int
between_socket(int type, const char *scheme, char ret_url[static BETWEEN_URL_MAX])
{
	struct sockaddr_in a = between_address(0);
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	snprintf(ret_url, BETWEEN_URL_MAX, "%.*s://127.0.0.1:%u", (int)strcspn(scheme, ":"), scheme, ntohs(a.sin_port));
	return fd;
}

bool
between_fork(struct between *b, int *ret_control)
{
	int control[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control), 0);
	b->pid = fork();
	ck_assert_int_ge(b->pid, 0);
	if (b->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(control[0]);
		*ret_control = control[1];
		return true;
	}
	close(control[1]);
	b->fd = control[0];
	return false;
}

bool
between_heard(int control, uint32_t *ret_command, uint32_t *ret_value)
{
	struct order o;

	if (read(control, &o, sizeof(o)) != (ssize_t)sizeof(o))
		return false;
	*ret_command = o.command;
	*ret_value = o.value;
	return true;
}

bool
between_answer(int control, uint64_t answer)
{
	return write(control, &answer, sizeof(answer)) == (ssize_t)sizeof(answer);
}

uint64_t
between_tell(struct between *b, uint32_t command, uint32_t value)
{
	struct order o = { command, value };
	uint64_t answer;

	ck_assert_int_eq(write(b->fd, &o, sizeof(o)), (ssize_t)sizeof(o));
	ck_assert_int_eq(read(b->fd, &answer, sizeof(answer)), (ssize_t)sizeof(answer));
	return answer;
}

void
between_stop(struct between *b)
{
	close(b->fd); /* it sees that */
	ck_assert_int_eq(waitpid(b->pid, NULL, 0), b->pid);
}
