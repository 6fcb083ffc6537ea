/*
 * libevent_echo: answer every message of a queue with its own content, from a
 * libevent loop.
 *
 *	libevent_echo [-s SOCKET] QUEUE
 *
 * A message is acked when its answer was accepted; one without reply-to at
 * once. Ends at SIGINT or SIGTERM.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <connectd.h>

#include "adapters/libevent.h" /* installed as <connectd/libevent.h> */

/* The answer is on its way, or is not: settle the question. */
static void
answered(struct connectd *c, struct connectd_msg *answer, const struct connectd_outcome *o, void *userdata)
{
	struct connectd_msg *question = userdata;

	(void)answer;
	if (!o->final)
		return;
	if (o->result == 0)
		connectd_ack(c, question);
	else
		connectd_nack(c, question, CONNECTD_TO_DEAD, 0, o->reason);
	connectd_msg_unref(question);
}

/* Send the question's content back. 0, or why not. */
static int
echo(struct connectd *c, struct connectd_msg *question, const char *reply_to)
{
	struct connectd_msg *answer = connectd_msg_new(reply_to);
	const void *body, *id;
	size_t body_len, id_len;
	int r;

	if (answer == NULL)
		return -errno;
	body = connectd_msg_get_body(question, &body_len);
	id = connectd_msg_get_correlation_id(question, &id_len);
	r = connectd_msg_set_type_body(answer, connectd_msg_get_type(question), body, body_len);
	if (r == 0)
		r = connectd_msg_set_correlation_id(answer, id, id_len);
	if (r == 0)
		r = connectd_send(c, answer, CONNECTD_TELL(CONNECTD_ACCEPTED), answered, question);
	if (r == 0)
		connectd_msg_ref(question); /* until it is answered */
	connectd_msg_unref(answer);
	return r;
}

static void
asked(struct connectd *c, struct connectd_consumer *k, struct connectd_msg *m, void *userdata)
{
	const char *reply_to;

	(void)k;
	if (m == NULL) {
		fprintf(stderr, "libevent_echo: %s\n", connectd_last_error(c));
		event_base_loopbreak(userdata);
		return;
	}
	reply_to = connectd_msg_get_reply_to(m);
	if (reply_to == NULL)
		connectd_ack(c, m);
	else if (echo(c, m, reply_to) < 0)
		connectd_nack(c, m, CONNECTD_DELAY, 1000, NULL); /* too much under way, say: again in a second */
}

static void
down(struct connectd *c, int error, void *userdata)
{
	struct connectd_event **e = userdata;

	(void)error;
	*e = NULL;
	fprintf(stderr, "libevent_echo: %s\n", connectd_last_error(c));
}

static void
stop(evutil_socket_t sig, short what, void *arg)
{
	(void)sig;
	(void)what;
	event_base_loopbreak(arg);
}

int
main(int argc, char **argv)
{
	struct connectd_options o = { .size = sizeof(o), .application = "libevent_echo" };
	struct event_base *base = event_base_new();
	struct event *on_int = evsignal_new(base, SIGINT, stop, base), *on_term = evsignal_new(base, SIGTERM, stop, base);
	struct connectd_event *e = NULL;
	struct connectd_consumer *k;
	struct connectd *c;
	int opt, r;

	while ((opt = getopt(argc, argv, "s:")) == 's')
		o.socket = optarg;
	if (opt != -1 || argc - optind != 1) {
		fprintf(stderr, "usage: libevent_echo [-s SOCKET] QUEUE\n");
		return 2;
	}
	event_add(on_int, NULL);
	event_add(on_term, NULL);
	r = connectd_open(&o, &c);
	if (r == 0)
		r = connectd_consume(c, argv[optind], NULL, asked, base, &k);
	if (r == 0) {
		e = connectd_event_add(base, c, down, &e);
		event_base_dispatch(base);
	} else {
		fprintf(stderr, "libevent_echo: %s\n", connectd_last_error(c));
	}
	connectd_event_remove(e);
	connectd_close(c);
	event_free(on_int);
	event_free(on_term);
	event_base_free(base);
	return r < 0;
}
