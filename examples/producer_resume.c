/*
 * producer_resume: send each line of a file once, as an order, over crashes of
 * this program and of the daemon.
 *
 *	producer_resume [-s SOCKET] [-n NAME] [-t SECONDS] FILE DESTINATION
 *
 * A named producer (NAME, default the program's) whose messages are numbered
 * by line: the daemon says up to which line everything is safe, and this goes
 * on behind it. Kill it, start it again with the same file: nothing is left out
 * and nothing comes twice. The file may grow, but lines may not change; one that
 * does not end yet is left for the next time.
 * Exits 0 when every line is as safe as the queue makes it.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <connectd.h>

#include "orders.pb-c.h"

struct tally {
	unsigned long safe, failed;
	char why[200]; /* the first failure */
};

static void
outcome(struct connectd *c, struct connectd_msg *m, const struct connectd_outcome *o, void *userdata)
{
	struct tally *t = userdata;

	(void)c;
	(void)m;
	if (o->result == 0)
		t->safe++;
	else if (t->failed++ == 0)
		snprintf(t->why, sizeof(t->why), "line %llu: %s", (unsigned long long)o->number,
		    o->reason[0] != '\0' ? o->reason : strerror(-o->result));
}

static int
send_line(struct connectd *c, const char *dest, uint64_t number, char *line, struct tally *t)
{
	struct connectd_msg *m = connectd_msg_new(dest);
	Shop__OrderPlaced order;
	int r;

	if (m == NULL)
		return -errno;
	shop__order_placed__init(&order);
	order.number = number;
	order.customer = line;
	r = connectd_msg_pack(m, &order.base);
	if (r == 0)
		r = connectd_msg_set_number(m, number);
	while (r >= 0) {
		/* No level: as safe as the queue makes it, which is what we count. */
		r = connectd_send(c, m, 0, outcome, t);
		if (r != -EAGAIN)
			break;
		r = connectd_wait(c, -1);
	}
	connectd_msg_unref(m);
	return r;
}

/* Send the lines above `last`. 0 or a negative errno. */
static int
send_lines(struct connectd *c, FILE *f, const char *dest, uint64_t last, struct tally *t)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t len;
	int r = 0;

	connectd_cork(c);
	for (uint64_t n = 1; r == 0 && (len = getline(&line, &room, f)) >= 0; n++) {
		if (line[len - 1] != '\n')
			break; /* somebody is still writing it */
		line[len - 1] = '\0';
		if (n > last)
			r = send_line(c, dest, n, line, t);
	}
	connectd_uncork(c);
	free(line);
	return r;
}

int
main(int argc, char **argv)
{
	struct connectd_options o = { .size = sizeof(o), .application = "producer_resume" };
	const char *name = "producer_resume";
	struct tally t = { 0 };
	struct connectd *c;
	uint64_t last = 0;
	int opt, r, timeout_ms = 60000;
	FILE *f;

	while ((opt = getopt(argc, argv, "s:n:t:")) != -1) {
		if (opt == 's')
			o.socket = optarg;
		else if (opt == 'n')
			name = optarg;
		else if (opt == 't')
			timeout_ms = atoi(optarg) * 1000;
		else
			optind = argc; /* usage */
	}
	if (argc - optind != 2) {
		fprintf(stderr, "usage: producer_resume [-s SOCKET] [-n NAME] [-t SECONDS] FILE DESTINATION\n");
		return 2;
	}
	f = fopen(argv[optind], "r");
	if (f == NULL) {
		perror(argv[optind]);
		return 1;
	}
	r = connectd_open(&o, &c);
	if (r == 0)
		r = connectd_producer_open(c, name, argv[optind + 1], &last);
	if (r == 0) {
		printf("lines up to %llu are safe already\n", (unsigned long long)last);
		r = send_lines(c, f, argv[optind + 1], last, &t);
	}
	if (r == 0)
		r = connectd_flush(c, timeout_ms);
	if (r < 0)
		fprintf(stderr, "producer_resume: %s\n", connectd_last_error(c)[0] != '\0' ? connectd_last_error(c) : strerror(-r));
	connectd_close(c);
	fclose(f);
	if (t.why[0] != '\0')
		fprintf(stderr, "producer_resume: %s\n", t.why);
	printf("sent %lu more\n", t.safe);
	return r < 0 || t.failed > 0;
}
