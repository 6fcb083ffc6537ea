/*
 * transport: which table serves which kind of URL. The kinds this build lacks
 * have none.
 */
#include "transport.h"

#include "socket.h"

const struct transport_ops *
transport_for(enum names_scheme scheme)
{
	switch (scheme) {
	case NAMES_UNIX:
		return &transport_unix;
	case NAMES_TCP:
		return &transport_tcp;
	case NAMES_TLS:
		return &transport_tls;
	case NAMES_SCTP:
		return &transport_sctp;
	case NAMES_DTLS_SCTP:
		return &transport_dtls;
	default:
		return NULL;
	}
}
