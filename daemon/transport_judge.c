#include "transport_judge.h"

_Static_assert(TLS_TEXT_MAX == TRANSPORT_TEXT_MAX, "one buffer for a reason");

bool
transport_judge(void *judging, const struct tls_peer *peer, char why[static TLS_TEXT_MAX])
{
	const struct transport_judging *j = judging;
	struct transport_identity id;

	j->t->ops->identity(j->t, &id);
	/* It is not the stream's before it was found good. */
	id.tls = *peer;
	return j->security->check(j->security->arg, &id, why);
}
