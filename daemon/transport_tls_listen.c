/* transport_tls_listen: accepting; each stream is handed over before its handshake. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "transport_tls_internal.h"

struct listener {
	struct transport_listener tl;
	struct loop *loop;
	struct transport_listener *tcp;
	struct transport_security security;
	void (*accepted)(void *arg, struct transport *t);
	void (*failed)(void *arg, int error, const char *text);
	void *arg;
	struct loop_call call;
};

static void
release(void *arg)
{
	free(arg);
}

static void
tcp_accepted(void *arg, struct transport *tcp)
{
	struct listener *tl = arg;
	struct transport *t = tls_stream_accept(tl->loop, &tl->security, tcp);

	if (!t) {
		tcp->ops->close(tcp, false);
		tl->failed(tl->arg, -ENOMEM, "out of memory");
		return;
	}
	tl->accepted(tl->arg, t);
	assert(t->ev || ((struct stream *)(void *)t)->state == CLOSED);
}

static void
tcp_failed(void *arg, int error, const char *text)
{
	struct listener *tl = arg;

	tl->failed(tl->arg, error, text);
}

int
tls_listen(struct loop *l, const struct names_url *url, const struct transport_security *security, int fd,
    void (*accepted)(void *arg, struct transport *t), void (*failed)(void *arg, int error, const char *text), void *arg,
    struct transport_listener **ret)
{
	struct listener *tl;
	int r;

	if (!security || !security->context)
		return -EINVAL;
	tl = calloc(1, sizeof(*tl));
	if (!tl)
		return -ENOMEM;
	*tl = (struct listener){ .tl = { &transport_tls }, .loop = l, .accepted = accepted, .failed = failed, .arg = arg };
	r = transport_tcp.listen(l, url, NULL, fd, tcp_accepted, tcp_failed, tl, &tl->tcp);
	if (r < 0) {
		free(tl);
		return r;
	}
	tls_security_set(&tl->security, security);
	loop_call_init(&tl->call, release, tl);
	*ret = &tl->tl;
	return 0;
}

static struct listener *
listener_of(struct transport_listener *tl)
{
	return (struct listener *)(void *)tl;
}

void
tls_listen_pause(struct transport_listener *tl, bool paused)
{
	struct transport_listener *tcp = listener_of(tl)->tcp;

	tcp->ops->listen_pause(tcp, paused);
}

void
tls_listen_security(struct transport_listener *tl, const struct transport_security *security)
{
	tls_security_set(&listener_of(tl)->security, security);
}

void
tls_listen_url(struct transport_listener *tl, char buf[static TRANSPORT_TEXT_MAX])
{
	struct transport_listener *tcp = listener_of(tl)->tcp;

	tcp->ops->listen_url(tcp, buf);
	tls_rename_scheme(buf);
}

void
tls_listen_close(struct transport_listener *tl)
{
	struct listener *l = listener_of(tl);

	l->tcp->ops->listen_close(l->tcp);
	tls_security_drop(&l->security);
	loop_defer(l->loop, &l->call);
}
