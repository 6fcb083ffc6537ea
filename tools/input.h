/* input: what is read from a descriptor, whole or by line. Grows to INPUT_MAX. */
#ifndef INPUT_H
#define INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INPUT_MAX ((size_t)1 << 30) /* no daemon takes a larger message */

struct input {
	int fd;
	uint8_t *buf;
	size_t at, have, room; /* lines before `at` were taken */
	size_t searched;       /* no line ends before this */
	bool end;
	uint64_t lines;        /* taken so far */
};

void input_init(struct input *in, int fd);
void input_done(struct input *in);

/* Read once (blocks if nothing is there). 1; 0 at the end; -EMSGSIZE; another negative errno. */
int input_read(struct input *in);

/* Take the next line, without its newline; at the end also an unfinished one. It lives until the next input_read. */
bool input_line(struct input *in, const uint8_t **ret, size_t *ret_len);

#endif
