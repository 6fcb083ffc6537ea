/* What an operator asks a daemon: pages, limits of who may ask, events; and what systemd hands to it. */
#include <check.h>
#include <connectd.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "frame.h"
#include "node.h"
#include "wire.h"

static struct node paris;

static struct connectd *
open_paris(const char *application)
{
	struct connectd_options o = { .size = sizeof(o), .socket = paris.socket, .application = application };
	struct connectd *c = NULL;

	ck_assert_int_eq(connectd_open(&o, &c), 0);
	return c;
}

static void
send_text(struct connectd *c, const char *dest, const char *text, size_t len)
{
	struct connectd_msg *m = connectd_msg_new(dest);
	int r;

	ck_assert_ptr_nonnull(m);
	ck_assert_int_eq(connectd_msg_set_type_body(m, "test.Text", text, len), 0);
	ck_assert_int_eq(connectd_msg_set_durability(m, CONNECTD_MEMORY), 0);
	while ((r = connectd_send(c, m, 0, NULL, NULL)) == -EAGAIN)
		ck_assert_int_ge(connectd_wait(c, 20000), 0);
	ck_assert_int_eq(r, 0);
	connectd_msg_unref(m);
}

static void
ask(int verb, const char *name, uint64_t limit, const ProtobufCMessageDescriptor *type, struct answer *a)
{
	node_ask(&paris, verb, name, limit, type, a);
}

/* Many more queues than fit on a page come all, once, in order. */
START_TEST(pages_of_queues)
{
	enum { N = 2000 };
	struct connectd *c;
	struct answer a;

	node_init(&paris, "paris", "max_queues_per_user = 5000\n[queue \"*\"]\ndurable = no\n");
	node_start(&paris);
	c = open_paris("many");
	for (int i = 0; i < N; i++) {
		char name[80];

		snprintf(name, sizeof(name), "a-queue-with-a-rather-long-name-so-that-pages-fill-up-%04d", i);
		send_text(c, name, "x", 1);
	}
	ck_assert_int_eq(connectd_flush(c, 30000), 0);
	ask(WIRE_ADMIN_QUEUES, "", 0, &connectd__v1__queue__descriptor, &a);
	ck_assert_uint_eq(a.n, N);
	for (int i = 0; i < N; i++) {
		const Connectd__V1__Queue *q = (const Connectd__V1__Queue *)a.items[i];

		ck_assert_int_eq(atoi(strrchr(q->name, '-') + 1), i);
		ck_assert_uint_eq(q->waiting, 1);
	}
	answer_free(&a);
	ask(WIRE_ADMIN_QUEUES, "", 7, &connectd__v1__queue__descriptor, &a);
	ck_assert_uint_eq(a.n, 7);
	answer_free(&a);
	ask(WIRE_ADMIN_QUEUES, "no-such-queue", 0, &connectd__v1__queue__descriptor, &a);
	ck_assert_uint_eq(a.n, 0);
	ck_assert_int_eq(a.error, 0);
	answer_free(&a);
	node_check_books(&paris);
	connectd_close(c);
	ck_assert_int_eq(node_stop(&paris), 0);
	ck_assert(node_logged(&paris, "2000 memory messages in 2000 queues are lost"));
}
END_TEST

START_TEST(peek_and_purge)
{
	char body[3000];
	struct connectd *c;
	struct answer a;

	node_init(&paris, "paris", "%s", "");
	node_start(&paris);
	c = open_paris("peeked");
	memset(body, 'b', sizeof(body));
	for (int i = 0; i < 100; i++) {
		snprintf(body, sizeof(body), "%d", i);
		send_text(c, "orders", body, sizeof(body));
	}
	ck_assert_int_eq(connectd_flush(c, 20000), 0);
	ask(WIRE_ADMIN_PEEK, "orders", 0, &connectd__v1__peeked__descriptor, &a);
	ck_assert_uint_eq(a.n, 100);
	for (int i = 0; i < 100; i++) {
		const Connectd__V1__Peeked *p = (const Connectd__V1__Peeked *)a.items[i];

		ck_assert_uint_eq(p->size, sizeof(body));
		ck_assert_uint_eq(p->body.len, 1024);
		ck_assert_int_eq(atoi((const char *)p->body.data), i);
		ck_assert_str_eq(p->type, "type.googleapis.com/test.Text");
		ck_assert_str_eq(p->origin_node, "paris");
		ck_assert_str_eq(p->origin_proof, "local");
		ck_assert_uint_eq(p->origin_uid, geteuid());
		ck_assert_str_eq(p->state, "waiting");
	}
	answer_free(&a);
	ask(WIRE_ADMIN_PEEK, "orders", 3, &connectd__v1__peeked__descriptor, &a);
	ck_assert_uint_eq(a.n, 3);
	answer_free(&a);
	ask(WIRE_ADMIN_PEEK, "none", 0, &connectd__v1__peeked__descriptor, &a);
	ck_assert_int_eq(a.error, ENOENT);
	ck_assert_str_ne(a.reason, "");
	answer_free(&a);
	ask(99, "", 0, &connectd__v1__peeked__descriptor, &a);
	ck_assert_int_eq(a.error, ENOSYS);
	answer_free(&a);

	ask(WIRE_ADMIN_PURGE, "orders", 0, &connectd__v1__purged__descriptor, &a);
	ck_assert_uint_eq(a.n, 1);
	ck_assert_uint_eq(((const Connectd__V1__Purged *)a.items[0])->messages, 100);
	ck_assert_uint_ge(((const Connectd__V1__Purged *)a.items[0])->bytes, 100 * sizeof(body));
	answer_free(&a);
	node_await_queue(&paris, "orders", queue_holds, 0);
	node_check_books(&paris);
	connectd_close(c);
	ck_assert_int_eq(node_stop(&paris), 0);
}
END_TEST

START_TEST(clients_and_limits)
{
	struct connectd *c[5];
	struct answer a;
	const Connectd__V1__Status *s;
	bool found = false;

	node_init(&paris, "paris", "max_clients = 77\n");
	node_start(&paris);
	for (int i = 0; i < 5; i++)
		c[i] = open_paris("counted");
	ask(WIRE_ADMIN_CLIENTS, "", 0, &connectd__v1__client__descriptor, &a);
	ck_assert_uint_eq(a.n, 6); /* and we who ask */
	for (size_t i = 1; i < a.n; i++) {
		const Connectd__V1__Client *r = (const Connectd__V1__Client *)a.items[i];

		ck_assert_str_eq(r->application, "counted");
		ck_assert_uint_eq(r->pid, (uint32_t)getpid());
	}
	answer_free(&a);
	ask(WIRE_ADMIN_STATUS, "", 0, &connectd__v1__status__descriptor, &a);
	s = (const Connectd__V1__Status *)a.items[0];
	for (size_t i = 0; i < s->n_limits; i++) {
		bool of_each = strcmp(s->limits[i]->name, "max_message") == 0 || strcmp(s->limits[i]->name, "max_producers") == 0 ||
		    strcmp(s->limits[i]->name, "max_strangers_per_address") == 0;

		ck_assert_int_eq(s->limits[i]->sum_case == CONNECTD__V1__LIMIT__SUM_USED, !of_each);
		if (strcmp(s->limits[i]->name, "max_clients") == 0) {
			ck_assert_uint_eq(s->limits[i]->used, 6);
			ck_assert_uint_eq(s->limits[i]->max, 77);
			found = true;
		}
	}
	ck_assert(found);
	ck_assert_str_eq(s->state, "running");
	answer_free(&a);
	for (int i = 0; i < 5; i++)
		connectd_close(c[i]);
	ck_assert_int_eq(node_stop(&paris), 0);
}
END_TEST

/* ------------------------------------------------------------------- events */

/* A bare session that reads only when told to. */
struct bare {
	int fd;
	size_t have;
	uint8_t buf[4 << 20];
};

static void
bare_put(struct bare *b, const struct wire_frame *f)
{
	uint8_t buf[WIRE_GREETING_MAX];
	size_t len = wire_pack(f, buf);

	ck_assert_int_eq(send(b->fd, buf, len, MSG_NOSIGNAL), (ssize_t)len);
}

static struct bare *
bare_open(void)
{
	struct bare *b = calloc(1, sizeof(*b));
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct wire_frame f = { .kind = WIRE_HELLO, .u.hello = { .magic = WIRE_MAGIC, .version_min = WIRE_VERSION,
		.version_max = WIRE_VERSION, .role = WIRE_ROLE_CLIENT } };

	ck_assert_ptr_nonnull(b);
	strcpy(a.sun_path, paris.socket);
	b->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(connect(b->fd, (struct sockaddr *)&a, sizeof(a)), 0);
	bare_put(b, &f);
	return b;
}

/* Read until fn says so of an answer, or the daemon closes. */
static void
bare_until(struct bare *b, bool (*fn)(void *arg, const struct wire_admin_response *r), void *arg)
{
	size_t used = 0;

	for (;;) {
		struct frame fr;
		struct wire_frame f;
		ssize_t n;

		while (frame_decode(b->buf + used, b->have - used, WIRE_FRAME_MAX, &fr) > 0) {
			used += fr.used;
			ck_assert_int_eq(wire_unpack(fr.data, fr.len, &f), 0);
			if (f.kind == WIRE_ADMIN_RESPONSE && fn(arg, &f.u.admin_response)) {
				memmove(b->buf, b->buf + used, b->have - used);
				b->have -= used;
				return;
			}
		}
		ck_assert_uint_lt(b->have, sizeof(b->buf));
		n = recv(b->fd, b->buf + b->have, sizeof(b->buf) - b->have, 0);
		ck_assert_msg(n > 0, "the daemon closed the session");
		b->have += (size_t)n;
	}
}

struct heard {
	uint64_t events, lost, want; /* want: heard and lost together; 0: one answer */
	int error;
	bool last;
};

static bool
hear(void *arg, const struct wire_admin_response *r)
{
	struct heard *h = arg;
	struct wire_bytes records = r->records;

	h->error = r->error;
	h->last = r->last;
	while (records.len > 0) {
		struct frame f;
		Connectd__V1__Event *ev;

		ck_assert_int_eq(frame_decode(records.data, records.len, WIRE_CONTROL_MAX, &f), 1);
		ev = connectd__v1__event__unpack(NULL, f.len, f.data);
		ck_assert_ptr_nonnull(ev);
		if (strcmp(ev->change, "lost") == 0)
			h->lost += strtoull(ev->text + strlen("lost "), NULL, 10);
		else
			h->events++;
		connectd__v1__event__free_unpacked(ev, NULL);
		records.data += f.used;
		records.len -= f.used;
	}
	return h->events + h->lost >= h->want;
}

static void
request(struct bare *b, uint32_t id, enum wire_admin_verb verb, bool cancel)
{
	bare_put(b, &(struct wire_frame){ .kind = WIRE_ADMIN_REQUEST,
	    .u.admin_request = { .id = id, .verb = (uint32_t)verb, .cancel = cancel } });
}

/* A subscriber that does not read loses the oldest events, is told how many, and harms nobody. */
START_TEST(slow_subscriber)
{
	enum { N = 20000 };
	struct heard h = { .want = 0 };
	struct bare *b;
	struct connectd *c;

	node_init(&paris, "paris", "max_queues = 100000\nmax_queues_per_user = 100000\n[queue \"*\"]\ndurable = no\n");
	node_start(&paris);
	b = bare_open();
	request(b, 1, WIRE_ADMIN_EVENTS, false);
	bare_until(b, hear, &h); /* the empty page */
	ck_assert_uint_eq(h.events, 0);
	c = open_paris("maker");
	for (int i = 0; i < N; i++) {
		char name[80];

		snprintf(name, sizeof(name), "queue-%05d-with-a-name-that-makes-its-event-as-large-as-can", i);
		send_text(c, name, "x", 1);
	}
	ck_assert_int_eq(connectd_flush(c, 60000), 0);
	h = (struct heard){ .want = N + 1 }; /* with the client that connected */
	bare_until(b, hear, &h);
	ck_assert_uint_gt(h.lost, 0);
	ck_assert_uint_eq(h.lost + h.events, N + 1);

	/* Cancelled: the last page, and silence. */
	request(b, 1, WIRE_ADMIN_EVENTS, true);
	h = (struct heard){ .want = 0 };
	bare_until(b, hear, &h);
	ck_assert(h.last);
	close(b->fd);
	free(b);
	connectd_close(c);
	ck_assert_int_eq(node_stop(&paris), 0);
}
END_TEST

START_TEST(too_many_requests)
{
	struct heard h = { .want = 0 };
	struct bare *b;

	node_init(&paris, "paris", "%s", "");
	node_start(&paris);
	b = bare_open();
	for (uint32_t id = 1; id <= 16; id++) {
		request(b, id, WIRE_ADMIN_EVENTS, false);
		bare_until(b, hear, &h);
		ck_assert_int_eq(h.error, 0);
	}
	request(b, 17, WIRE_ADMIN_EVENTS, false);
	bare_until(b, hear, &h);
	ck_assert_int_eq(h.error, EBUSY);
	request(b, 3, WIRE_ADMIN_STATUS, false); /* an id that is in use */
	bare_until(b, hear, &h);
	ck_assert_int_eq(h.error, EBUSY);
	request(b, 3, WIRE_ADMIN_EVENTS, true);
	bare_until(b, hear, &h);
	ck_assert(h.last && h.error == 0);
	request(b, 3, WIRE_ADMIN_EVENTS, false);
	bare_until(b, hear, &h);
	ck_assert(!h.last && h.error == 0);
	close(b->fd);
	free(b);
	ck_assert_int_eq(node_stop(&paris), 0);
}
END_TEST

/* Only root, the daemon's user and admin_group may change anything. */
START_TEST(changes_are_for_administrators)
{
	struct connectd *c;
	pid_t pid;
	int status;

	node_init(&paris, "paris", "socket_mode = 0666\n");
	ck_assert(chmod(nodes_folder(), 0711) == 0 && chmod(paris.dir, 0711) == 0);
	node_start(&paris);
	c = open_paris("owner");
	send_text(c, "orders", "x", 1);
	ck_assert_int_eq(connectd_flush(c, 20000), 0);
	fflush(NULL);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		struct answer a;

		if (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0)
			_exit(3);
		paris.asking = NULL;
		ask(WIRE_ADMIN_PRODUCERS, "", 0, &connectd__v1__producer__descriptor, &a);
		if (a.error != 0)
			_exit(2);
		for (int verb = WIRE_ADMIN_PURGE; verb <= WIRE_ADMIN_RELOAD; verb++) {
			if (verb == WIRE_ADMIN_PRODUCERS)
				continue;
			ask(verb, "orders", 0, &connectd__v1__done__descriptor, &a);
			if (a.error != EACCES)
				_exit(1);
		}
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	node_await_queue(&paris, "orders", queue_holds, 1);
	connectd_close(c);
	ck_assert_int_eq(node_stop(&paris), 0);
}
END_TEST

/* ------------------------------------------------------------------ systemd */

static int
listening(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(a.sun_path, path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	ck_assert_int_eq(listen(fd, 8), 0);
	return fd;
}

/* Sockets passed in by name are used, watchdog and status are told. */
START_TEST(socket_activation)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	const char *b = getenv("B");
	char path[256], text[512];
	bool ready = false, fed = false, told = false, stopping = false;
	struct connectd *c;
	int fd, notify, status;
	pid_t pid;

	node_init(&paris, "paris", "%s", "");
	snprintf(path, sizeof(path), "%s/connectd", b != NULL ? b : "build");
	fd = listening(paris.socket);
	strcpy(a.sun_path, paris.notify);
	notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(notify, (struct sockaddr *)&a, sizeof(a)), 0);
	pid = fork();
	if (pid == 0) {
		char number[16];

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		snprintf(number, sizeof(number), "%d", getpid());
		dup2(fd, 3);
		setenv("LISTEN_PID", number, 1);
		setenv("LISTEN_FDS", "1", 1);
		setenv("LISTEN_FDNAMES", "client", 1);
		setenv("WATCHDOG_USEC", "90000", 1);
		setenv("NOTIFY_SOCKET", paris.notify, 1);
		execl(path, path, "-c", paris.conf, (char *)NULL);
		_exit(127);
	}
	close(fd);
	while (!ready || !fed || !told) {
		struct pollfd p = { .fd = notify, .events = POLLIN };
		ssize_t len;

		ck_assert_int_gt(poll(&p, 1, 20000), 0);
		len = recv(notify, text, sizeof(text) - 1, 0);
		text[len > 0 ? len : 0] = '\0';
		ready |= strcmp(text, "READY=1") == 0;
		fed |= strcmp(text, "WATCHDOG=1") == 0;
		told |= strcmp(text, "STATUS=paris: 0 of 0 peers up") == 0;
	}
	c = open_paris("activated");
	connectd_close(c);
	kill(pid, SIGHUP); /* ignored in this version */
	kill(pid, SIGTERM);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	while (!stopping) {
		ssize_t len = recv(notify, text, sizeof(text) - 1, MSG_DONTWAIT);

		ck_assert_int_gt(len, 0);
		text[len] = '\0';
		stopping = strncmp(text, "STOPPING=1", 10) == 0;
	}
	/* The socket's file is systemd's. */
	ck_assert_int_eq(access(paris.socket, F_OK), 0);
	close(notify);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("control");
	TCase *tc = tcase_create("control");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, pages_of_queues);
	tcase_add_test(tc, peek_and_purge);
	tcase_add_test(tc, clients_and_limits);
	tcase_add_test(tc, slow_subscriber);
	tcase_add_test(tc, too_many_requests);
	if (geteuid() == 0)
		tcase_add_test(tc, changes_are_for_administrators);
	tcase_add_test(tc, socket_activation);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	nodes_begin();
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	nodes_end(failed != 0);
	srunner_free(sr);
	return failed != 0;
}
