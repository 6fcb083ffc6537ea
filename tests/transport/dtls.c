/* What DTLS adds to SCTP: who the other side is, and records that come twice or are made up. */
#include "suite.h"

#include <stdio.h>

START_TEST(identity_is_proven)
{
	struct world *w = world_new(KIND_DTLS4);
	struct transport_identity berlin;
	struct transport_path path;
	struct end *d, *a;

	world_pair(w, &d, &a);
	d->t->ops->identity(d->t, &berlin);
	ck_assert_str_eq(berlin.tls.version, "DTLSv1.2");
	ck_assert_str_eq(berlin.tls.cipher, "TLS-ECDHE-ECDSA-WITH-CHACHA20-POLY1305-SHA256");
	ck_assert(tls_certificate_names(&berlin.tls.certificate, "berlin"));
	ck_assert_int_eq(w->checks, 2);
	d->t->ops->path(d->t, &path);
	ck_assert_uint_eq(path.mtu, 1200);
	world_free(w);
}
END_TEST

TCase *
dtls_tests(void)
{
	TCase *t = tcase_create("dtls");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, identity_is_proven);
	return t;
}
