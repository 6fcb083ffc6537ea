/* transport_judge: for kinds with certificates: whether the other side is who it should be, as their owner decides. */
#ifndef TRANSPORT_JUDGE_H
#define TRANSPORT_JUDGE_H

#include "tls.h"
#include "transport.h"

/* Whose stream it is, and who judges it. */
struct transport_judging {
	struct transport *t;
	const struct transport_security *security;
};

/* A tls_check; judging is a struct transport_judging. */
bool transport_judge(void *judging, const struct tls_peer *peer, char why[static TLS_TEXT_MAX]);

#endif
