/* Each allocation of ours fails once: an error, no crash, nothing lost. (mbedTLS's own are the library's affair.) */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "no_memory.h"
#include "tls.h"

static bool
welcome(void *arg, const struct tls_peer *peer, char why[static TLS_TEXT_MAX])
{
	(void)arg, (void)peer, (void)why;
	return true;
}

/* Check allocates, too: not while one is to fail. */
#define EXPECT(cond)             \
	do {                     \
		if (!(cond))     \
			abort(); \
	} while (0)

struct end {
	struct tls *tls;
	enum tls_result r;
	uint8_t in[32768];
	size_t in_len;
};

static void
pass(struct end *from, struct end *to)
{
	size_t n;
	const uint8_t *out = tls_out(from->tls, &n);

	if (n == 0)
		return;
	EXPECT(to->in_len + n <= sizeof(to->in));
	memcpy(to->in + to->in_len, out, n);
	to->in_len += n;
	tls_sent(from->tls, n);
}

static void
feed(struct end *e)
{
	size_t used;

	if (e->r != TLS_MORE)
		return;
	e->r = tls_feed(e->tls, e->in, e->in_len, &used);
	memmove(e->in, e->in + used, e->in_len - used);
	e->in_len -= used;
}

/* From two texts to a sentence that arrives. 0, or the errno of whatever failed. */
static int
work(const struct tls_made *made, struct end e[2])
{
	struct tls_material m = { .key = { made->key, strlen(made->key) },
		.certificate = { made->certificate, strlen(made->certificate) },
		.ca = { made->certificate, strlen(made->certificate) } };
	struct tls_context *c = NULL;
	struct iovec iov = { e, 1000 };
	char why[TLS_TEXT_MAX] = "";
	size_t used, len;
	uint8_t *plain;
	ssize_t n;
	int r = tls_context_new(&m, why, &c);

	if (r < 0) {
		EXPECT(*why);
		return r;
	}
	for (int i = 0; i < 2; i++)
		e[i].tls = tls_new(c, i == 0, welcome, NULL);
	tls_context_unref(c);
	if (!e[0].tls || !e[1].tls)
		return -ENOMEM;
	for (int round = 0; round < 5; round++) {
		feed(&e[0]);
		pass(&e[0], &e[1]);
		feed(&e[1]);
		pass(&e[1], &e[0]);
	}
	for (int i = 0; i < 2; i++)
		if (e[i].r == TLS_FAILED && tls_error(e[i].tls) == -ENOMEM)
			return -ENOMEM;
	EXPECT(e[0].r == TLS_READY);
	EXPECT(e[1].r == TLS_READY);
	n = tls_seal(e[0].tls, &iov, 1, 0);
	if (n < 0)
		return (int)n;
	pass(&e[0], &e[1]);
	EXPECT(tls_open(e[1].tls, e[1].in, e[1].in_len, &used, &plain, &len) == TLS_READY);
	EXPECT(len == 1000);
	tls_close(e[0].tls);
	return 0;
}

START_TEST(each_allocation_fails)
{
	struct tls_made made;
	char why[TLS_TEXT_MAX];
	unsigned long n = 1, left;
	int r;

	ck_assert_int_eq(tls_make_identity("paris", why, &made), 0);
	do {
		struct end *e = calloc(2, sizeof(*e));

		no_memory_in = n;
		r = work(&made, e);
		left = no_memory_in;
		no_memory_in = 0;
		/* One that is sealed step by step may do without what was to be reserved. */
		ck_assert(r == 0 || r == -ENOMEM);
		tls_free(e[0].tls);
		tls_free(e[1].tls);
		free(e);
		n++;
	} while (left == 0);
	ck_assert_int_eq(r, 0);
	ck_assert_uint_gt(n, 8);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("tls_memory");
	TCase *t = tcase_create("memory");
	SRunner *sr;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, each_allocation_fails);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
