#include "conf_keys.h"

#include <assert.h>
#include <string.h>

#include "log.h"

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define TIB (UINT64_C(1) << 40)
#define SECOND UINT64_C(1000)
#define HOUR (3600 * SECOND)
#define DAY (24 * HOUR)

#define NODE(field) .kind = CONF_NODE, .name = #field, .offset = offsetof(struct conf_node, field)
#define LISTEN(field) .kind = CONF_LISTEN, .name = #field, .offset = offsetof(struct conf_listen, field)
#define PEER(field) .kind = CONF_PEER, .name = #field, .offset = offsetof(struct conf_peer, field)
#define QUEUE(field) .kind = CONF_QUEUE, .name = #field, .offset = offsetof(struct conf_queue_settings, field)
#define SIZE(from, to, d) .type = CONF_TYPE_SIZE, .min = (from), .max = (to), .def = (d)
#define DURATION(from, to, d) .type = CONF_TYPE_DURATION, .min = (from), .max = (to), .def = (d)
#define COUNT(from, to, d) .type = CONF_TYPE_COUNT, .min = (from), .max = (to), .def = (d)
#define OR_NONE .none = true
#define NOW .reload = CONF_RELOAD_NOW
#define SESSIONS .reload = CONF_RELOAD_SESSIONS
#define RESTART .reload = CONF_RELOAD_RESTART

static const struct conf_word log_levels[] = {
	{ "error", LOG_ERROR }, { "warning", LOG_WARNING }, { "info", LOG_INFO }, { "debug", LOG_DEBUG }, { NULL, 0 },
};

static const struct conf_word overflows[] = {
	{ "slow", CONF_OVERFLOW_SLOW },
	{ "reject", CONF_OVERFLOW_REJECT },
	{ "drop-oldest", CONF_OVERFLOW_DROP_OLDEST },
	{ NULL, 0 },
};

/* Grouped by kind, kinds in the order of the enum. */
static const struct conf_key keys[] = {
	{ .kind = CONF_NODE, .name = "include", .type = CONF_TYPE_INCLUDE, .sample = "conf.d/*.conf", NOW,
	    .help = "More files to read, in bytewise order: a path, relative to this file's folder, whose last part may "
	            "hold *. Must be the first key of [node]; included files may not include. By default nothing is." },
	{ NODE(name), .type = CONF_TYPE_NODE_NAME, .sample = "paris", RESTART,
	    .help = "The name of this node, by which its peers know it. Must be set." },
	{ NODE(state), .type = CONF_TYPE_PATH, .max = 193, .def = "/var/lib/connectd", RESTART,
	    .help = "The folder for what has to survive a restart. It is made, with mode 0700, if it is missing." },
	{ NODE(socket), .type = CONF_TYPE_PATH, .max = 107, .def = "/run/connectd/connectd.sock", RESTART,
	    .help = "The Unix socket on which applications connect." },
	{ NODE(socket_mode), .type = CONF_TYPE_MODE, .max = 0777, .def = "0660", RESTART,
	    .help = "Permissions of the socket, in octal." },
	{ NODE(socket_group), .type = CONF_TYPE_GROUP, .also = offsetof(struct conf_node, socket_group_id), OR_NONE,
	    .def = "none", RESTART, .help = "The group that owns the socket, by name or number; none leaves the daemon's." },
	{ NODE(admin_group), .type = CONF_TYPE_GROUP, .also = offsetof(struct conf_node, admin_group_id), OR_NONE,
	    .def = "none", NOW, .help = "A group whose members may administer, besides root and the daemon's own user." },
	{ NODE(key), .type = CONF_TYPE_STATE_PATH, .max = 1023, .def = "key.pem", NOW,
	    .help = "The private key of this node, in PEM, for its connections with TLS: a path, or a file in the state folder, "
	            "where key and certificate are made if both are missing. There it must be its owner's alone; elsewhere its group may read it, too." },
	{ NODE(certificate), .type = CONF_TYPE_STATE_PATH, .max = 1023, .def = "certificate.pem", NOW,
	    .help = "The certificate for that key, in PEM, with those between it and the CA behind it." },
	{ NODE(ca), .type = CONF_TYPE_STATE_PATH, .max = 1023, OR_NONE, .def = "none", .sample = "/etc/connectd/ca.pem", NOW,
	    .help = "The CA certificates, in PEM, one of which must have signed the certificates of peers. These must bear the "
	            "peer's name as a DNS name, and be valid today. With none only fingerprints count." },
	{ NODE(crl), .type = CONF_TYPE_STATE_PATH, .max = 1023, OR_NONE, .def = "none", .sample = "/etc/connectd/crl.pem", NOW,
	    .help = "What the CA has revoked, in PEM. Needs ca." },
	{ NODE(create_queues), .type = CONF_TYPE_BOOL, .def = "yes", NOW,
	    .help = "Whether sending to or subscribing to a missing queue makes it." },
	{ NODE(log_level), .type = CONF_TYPE_WORD, .words = log_levels, .def = "info", NOW, .help = "What is logged: this and what is worse." },
	{ NODE(max_message), SIZE(KIB, GIB, "16M"), SESSIONS, .help = "The largest body of a message." },
	{ NODE(max_memory), SIZE(MIB, TIB, "256M"), NOW, .help = "Memory for the messages of all queues." },
	{ NODE(max_disk), SIZE(512 * KIB, 1024 * TIB, "10G"), RESTART,
	    .help = "Disk space for the journal, in which durable messages are kept; at least 8 segments. A message "
		    "above a quarter of what it can hold is rejected." },
	{ NODE(segment), SIZE(64 * KIB, GIB, "64M"), RESTART,
	    .help = "Size of the journal's files. Smaller ones give space back sooner." },
	{ NODE(max_messages), COUNT(1, 1000000000, "10M"), NOW, .help = "Messages in all queues together." },
	{ NODE(max_queues), COUNT(1, 1000000, "10K"), NOW, .help = "Queues in all." },
	{ NODE(max_queues_per_user), COUNT(0, 1000000, "100"), NOW, .help = "Queues that one local user may make." },
	{ NODE(max_queues_per_peer), COUNT(0, 1000000, "100"), NOW, .help = "Queues that one peer may make." },
	{ NODE(max_clients), COUNT(1, 1000000, "1K"), NOW, .help = "Connected applications." },
	{ NODE(max_clients_per_user), COUNT(1, 1000000, "100"), NOW, .help = "Connected applications of one user." },
	{ NODE(max_connections), COUNT(4, 1000000, "4096"), NOW, .help = "Connections of every kind." },
	{ NODE(max_pending), COUNT(1, 100000, "256"), NOW,
	    .help = "Accepted connections that have not yet proven who they are." },
	{ NODE(max_pending_per_address), COUNT(1, 100000, "16"), NOW, .help = "The same from one address." },
	{ NODE(max_strangers), COUNT(1, 1000000, "100"), OR_NONE, NOW,
	    .help = "Connections with TLS that are let in within a second from addresses that say nothing: neither a peer's "
	            "address nor in its from, nor one where a peer has proven itself since the start." },
	{ NODE(max_strangers_per_address), COUNT(1, 1000000, "20"), OR_NONE, NOW,
	    .help = "The same from one address, or IPv6 network of 64 bits; those in a peer's from, too." },
	{ NODE(handshake_budget), DURATION(1, 100, "50ms"), OR_NONE, NOW,
	    .help = "CPU time for the TLS handshakes of those who connect, in 100ms, on a thread of its own. Addresses that are known "
	            "come first." },
	{ NODE(handshake_timeout), DURATION(SECOND / 10, HOUR, "10s"), SESSIONS,
	    .help = "Time for connecting and for proving who one is." },
	{ NODE(keepalive), DURATION(SECOND / 10, DAY, "30s"), SESSIONS,
	    .help = "A connection on which nothing arrived for this long is tested, and ended if that brings no answer." },
	{ NODE(drain_timeout), DURATION(0, HOUR, "10s"), NOW,
	    .help = "Time that links get for memory messages when the daemon stops." },
	{ NODE(max_producers), COUNT(1, 1000000, "1K"), NOW, .help = "Named producers of one user." },
	{ NODE(producer_linger), DURATION(0, 365 * DAY, "1d"), NOW,
	    .help = "How long a producer that is gone is remembered." },
	{ NODE(queue_linger), DURATION(0, 365 * DAY, "1h"), NOW,
	    .help = "How long a queue that was made by its use stays when it is empty and unused." },
	{ NODE(max_partial), SIZE(KIB, TIB, "256M"), NOW,
	    .help = "Memory for bodies that have arrived in part; at least max_message." },

	{ NODE(sctp_buffer), SIZE(64 * KIB, 64 * MIB, "1M"), NOW,
	    .help = "Bytes of one connection over SCTP, each way, that are not yet acknowledged or not yet read. A fast and long path needs more." },
	{ NODE(sctp_heartbeat), DURATION(SECOND, HOUR, "30s"), OR_NONE, NOW,
	    .help = "A connection over SCTP on which nothing was sent for this long asks whether the other end is there, which also keeps NATs open." },
	{ NODE(sctp_rto_min), DURATION(10, 10 * SECOND, "50ms"), NOW,
	    .help = "The least time that SCTP waits for an acknowledgement before it sends again." },
	{ NODE(sctp_rto_max), DURATION(100, 60 * SECOND, "10s"), NOW, .help = "What this wait grows to; at least sctp_rto_min." },
	{ NODE(sctp_retransmissions), COUNT(1, 100, "10"), NOW,
	    .help = "So many times in a row SCTP sends again without an answer; then the other end is gone." },
	{ NODE(sctp_answers), COUNT(1, 1000000, "1K"), NOW,
	    .help = "Datagrams of strangers that a listener for SCTP answers within a second; more are dropped. Nothing is kept of them." },

	{ LISTEN(address), .type = CONF_TYPE_URLS, .sample = "tls://0.0.0.0:7140", NOW,
	    .help = "Where to accept peers: a list of tls://HOST:PORT, dtls-sctp://HOST:PORT, tcp://HOST:PORT and sctp://HOST:PORT. "
	            "With port 0 the system chooses one, which connectctl status shows. Must be set." },
	{ LISTEN(plaintext), .type = CONF_TYPE_BOOL, .def = "no", NOW,
	    .help = "Allows connections that are neither encrypted nor authenticated. tcp:// and sctp:// need it." },
	{ LISTEN(mtu), SIZE(576, 9000, "1200"), NOW,
	    .help = "Bytes of the datagrams that are sent over SCTP, also in DTLS, without the headers of IP and UDP. With more than the path carries "
	            "they are lost, or come in pieces." },

	{ PEER(address), .type = CONF_TYPE_URLS, OR_NONE, .def = "none", .sample = "tls://berlin.example:7140", NOW,
	    .help = "Where to dial: a list of tls://HOST:PORT, dtls-sctp://HOST:PORT, tcp://HOST:PORT and sctp://HOST:PORT, tried in "
	            "order. A peer without one is accepted, never dialled." },
	{ .kind = CONF_PEER, .name = "fingerprint", .offset = offsetof(struct conf_peer, fingerprint_text),
	    .also = offsetof(struct conf_peer, fingerprint), .type = CONF_TYPE_PINS, OR_NONE, .def = "none",
	    .sample = "sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", NOW,
	    .help = "The fingerprints of the peer's key, one of which it must have: a list, so that keys can be replaced. On the "
	            "peer, connectctl key prints it. Names and dates of its certificate do not matter then, unless there is a CA." },
	{ PEER(plaintext), .type = CONF_TYPE_BOOL, .def = "no", NOW,
	    .help = "Allows a connection with this peer that is neither encrypted nor authenticated. tcp:// and sctp:// need it, and it "
	            "rules out fingerprint and ca." },
	{ .kind = CONF_PEER, .name = "from", .offset = offsetof(struct conf_peer, from_text),
	    .also = offsetof(struct conf_peer, from), .type = CONF_TYPE_NETWORKS, OR_NONE, .def = "none", .sample = "192.0.2.0/24, 2001:db8::/32", NOW,
	    .help = "Where the peer may dial in from: a list of addresses and networks; with none, and TLS, from everywhere. "
	            "Needed with plaintext for a peer without address." },
	{ PEER(mtu), SIZE(576, 9000, "1200"), NOW, .help = "As mtu of a listener, where this peer is dialled." },
	{ PEER(max_backlog), SIZE(0, 1024 * TIB, "none"), OR_NONE, NOW,
	    .help = "Disk space for what waits for this peer; none is half of what max_disk has room for. What waits for all peers together "
	            "gets three quarters." },
	{ PEER(backoff_min), DURATION(1, HOUR, "100ms"), NOW, .help = "Wait after the first failed dial." },
	{ PEER(backoff_max), DURATION(1, DAY, "30s"), NOW, .help = "What this wait grows to; at least backoff_min." },

	{ QUEUE(durable), .type = CONF_TYPE_BOOL, .def = "yes", NOW,
	    .help = "Whether messages are kept on disk and survive a restart. With no they are kept in memory alone. Messages "
	            "that say themselves what they want get it, except that a queue with no takes none that demand disk." },
	{ QUEUE(max_messages), COUNT(1, 1000000000, "1M"), NOW, .help = "Messages in the queue." },
	{ QUEUE(max_bytes), SIZE(KIB, TIB, "1G"), NOW, .help = "Bytes of the messages in the queue." },
	{ QUEUE(min_bytes), SIZE(0, TIB, "1M"), NOW,
	    .help = "Disk space that is this queue's whatever other queues do. The sum of all must fit into the journal." },
	{ QUEUE(overflow), .type = CONF_TYPE_WORD, .words = overflows, .def = "slow", NOW,
	    .help = "What a full queue does: slow gives senders no credit until there is room, reject tells them, "
	            "drop-oldest makes room (memory queues only)." },
	{ QUEUE(ttl), DURATION(1, 3650 * DAY, "none"), OR_NONE, NOW,
	    .help = "The longest time to live; a message may ask for less." },
	{ QUEUE(max_attempts), COUNT(1, 1000000, "none"), OR_NONE, NOW,
	    .help = "Deliveries after which a message that was never acknowledged is dead." },
	{ QUEUE(ack_timeout), DURATION(SECOND / 10, 365 * DAY, "none"), OR_NONE, NOW,
	    .help = "Time for acknowledging; then the message is offered again." },
	{ QUEUE(dead_letter), .type = CONF_TYPE_DEAD_LETTER, .def = "*.dead", NOW,
	    .help = "The queue that dead messages move to. *.dead is the queue's own name with .dead behind it. "
	            "That of a durable queue is durable, whatever its own section says." },
	{ QUEUE(send), .type = CONF_TYPE_ACCESS, .def = "default", .sample = "user:shop, group:web", NOW,
	    .help = "Who may send: a list of user:, group:, unit: and peer: with a name; none; or default, which is "
	            "whoever may open the socket, and every peer." },
	{ QUEUE(receive), .type = CONF_TYPE_ACCESS, .def = "default", .sample = "unit:billing.service", NOW,
	    .help = "Who may receive; by default whoever may open the socket." },
	{ QUEUE(browse), .type = CONF_TYPE_ACCESS, .def = "default", .sample = "group:operators", NOW,
	    .help = "Who may look at messages without taking them; by default whoever may receive." },
};

#define N_KEYS (sizeof(keys) / sizeof(keys[0]))

/* Promised by the contracts, not in this version: say so instead of "unknown". */
static const struct {
	enum conf_kind kind;
	const char *name;
} later[] = {
	{ CONF_PEER, "rate" },
};

static const char *const kinds[CONF_KINDS + 1] = {
	[CONF_NODE] = "node",
	[CONF_LISTEN] = "listen",
	[CONF_PEER] = "peer",
	[CONF_QUEUE] = "queue",
};

const struct conf_key *
conf_keys(enum conf_kind kind, size_t *ret_n)
{
	size_t first = 0, n = 0;

	while (keys[first].kind != kind)
		first++;
	while (first + n < N_KEYS && keys[first + n].kind == kind)
		n++;
	assert(n <= CONF_KEYS_MAX);
	*ret_n = n;
	return &keys[first];
}

const struct conf_key *
conf_key_find(enum conf_kind kind, const char *name)
{
	for (size_t i = 0; i < N_KEYS; i++)
		if (keys[i].kind == kind && strcmp(keys[i].name, name) == 0)
			return &keys[i];
	return NULL;
}

size_t
conf_key_index(const struct conf_key *k)
{
	size_t n;

	return (size_t)(k - conf_keys(k->kind, &n));
}

bool
conf_key_is_later(enum conf_kind kind, const char *name)
{
	for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++)
		if (later[i].kind == kind && strcmp(later[i].name, name) == 0)
			return true;
	return false;
}

const char *
conf_kind_name(enum conf_kind kind)
{
	return kinds[kind];
}

enum conf_kind
conf_kind_parse(const char *name)
{
	for (unsigned i = 0; i < CONF_KINDS; i++)
		if (strcmp(kinds[i], name) == 0)
			return (enum conf_kind)i;
	return CONF_KINDS;
}

const char *
conf_key_nearest(enum conf_kind kind, const char *name)
{
	const char *known[CONF_KEYS_MAX + 1];
	size_t n;
	const struct conf_key *k = conf_keys(kind, &n);

	for (size_t i = 0; i < n; i++)
		known[i] = k[i].name;
	known[n] = NULL;
	return names_nearest(name, known);
}

const char *
conf_kind_nearest(const char *name)
{
	return names_nearest(name, kinds);
}
