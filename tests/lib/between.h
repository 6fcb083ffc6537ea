/*
 * between: a process that stands between two daemons, and does what it is told:
 * what proxy (streams) and relay (datagrams) have in common. It ends with the test.
 */
#ifndef BETWEEN_H
#define BETWEEN_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define BETWEEN_URL_MAX 64

struct between {
	pid_t pid;
	int fd; /* orders */
};

/* Of "SCHEME://127.0.0.1:PORT". */
uint16_t between_port(const char *url);
struct sockaddr_in between_address(uint16_t port);

/* A socket of this type on a free port, and its URL with that scheme (that of another URL will do). */
int between_socket(int type, const char *scheme, char ret_url[static BETWEEN_URL_MAX]);
/* True in the new process, whose end of the way to the test is *ret_control. */
bool between_fork(struct between *b, int *ret_control);

/* In there: the next order; false: the test is over. Each is answered. */
bool between_heard(int control, uint32_t *ret_command, uint32_t *ret_value);
bool between_answer(int control, uint64_t answer);

/* In the test: returns when it is done. */
uint64_t between_tell(struct between *b, uint32_t command, uint32_t value);
void between_stop(struct between *b);

#endif
