/*
 * conf: an INI file -> struct conf, from one key table (conf_keys.c: type,
 * range, default, help, reload effect). Reading checks everything and collects
 * every fault; a struct conf is complete, immutable and self-contained.
 */
#ifndef CONF_H
#define CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "names.h"
#include "pin.h"

#define CONF_SEGMENTS_MIN 8 /* max_disk holds at least so many */
#define CONF_SEGMENTS_KEPT 6 /* of them so many are never for messages, and of the others a quarter is not */

enum conf_overflow { CONF_OVERFLOW_SLOW, CONF_OVERFLOW_REJECT, CONF_OVERFLOW_DROP_OLDEST };

struct conf_list { /* of strings */
	char **items;
	size_t n;
};

/* [node], limits included. Durations in ms, sizes in bytes. */
struct conf_node {
	char *name, *state, *socket, *socket_group, *admin_group; /* groups NULL: none */
	char *key, *certificate, *ca, *crl; /* absolute, or in the state folder; the last two NULL: none */
	uint32_t socket_group_id, admin_group_id;                 /* of the groups, resolved */
	uint64_t socket_mode;
	bool create_queues;
	uint64_t log_level; /* enum log_level */
	uint64_t max_message, max_memory, max_disk, segment, max_messages, max_queues, max_queues_per_user, max_queues_per_peer;
	uint64_t max_clients, max_clients_per_user, max_connections, max_pending, max_pending_per_address;
	uint64_t max_strangers, max_strangers_per_address, handshake_budget; /* 0: none */
	uint64_t sctp_buffer, sctp_heartbeat, sctp_rto_min, sctp_rto_max, sctp_retransmissions, sctp_answers; /* heartbeat 0: none */
	uint64_t handshake_timeout, keepalive, drain_timeout, max_producers, producer_linger, queue_linger, max_partial;
};

struct conf_listen {
	char *name;
	struct conf_list address; /* checked URLs */
	bool plaintext;
	uint64_t mtu;
};

struct conf_peer {
	char *name;
	struct conf_list address;
	bool plaintext;
	struct conf_list fingerprint_text;
	uint8_t (*fingerprint)[PIN_BYTES]; /* fingerprint_text.n of them */
	struct conf_list from_text;
	struct names_cidr *from; /* from_text.n of them */
	uint64_t mtu;
	uint64_t backoff_min, backoff_max;
	uint64_t max_backlog; /* 0: half of the room there is */
};

/* Who may: entries "user:shop", "group:web", "unit:shop.service", "peer:berlin". */
enum conf_access_kind { CONF_ACCESS_USER, CONF_ACCESS_GROUP, CONF_ACCESS_UNIT, CONF_ACCESS_PEER };
struct conf_access_entry {
	enum conf_access_kind kind;
	char *name;
	uint32_t id; /* of a user or group */
};
struct conf_access {
	bool set; /* false: the default rule; set and empty: nobody */
	struct conf_access_entry *items;
	size_t n;
};

/* The settings one queue gets, every key resolved. */
struct conf_queue {
	bool durable;
	uint64_t max_messages, max_bytes, min_bytes;
	enum conf_overflow overflow;
	uint64_t ttl, max_attempts, ack_timeout; /* 0: none */
	const char *dead_letter; /* NULL: NAME.dead */
	const struct conf_access *send, *receive, *browse;
	bool by_pattern; /* a section other than [queue "*"] matched */
};

struct conf;

/* One fault: FILE:LINE: text. Line 0 is the file as a whole. */
typedef void (*conf_fault_fn)(void *arg, const char *file, unsigned line, const char *text);

/*
 * Read a file and what it includes. 0 and *ret; -EINVAL after telling every
 * fault; another negative errno (told as a fault too) if it cannot be read.
 * Blocks: at start and in a task only.
 */
int conf_read(const char *path, conf_fault_fn fault, void *arg, struct conf **ret);
/* The same from memory (tests, simulator); `name` stands for the file in faults; no includes. */
int conf_read_text(const char *name, const char *text, size_t len, conf_fault_fn fault, void *arg, struct conf **ret);
void conf_free(struct conf *c);

const struct conf_node *conf_node(const struct conf *c);
size_t conf_n_listens(const struct conf *c);
const struct conf_listen *conf_listen(const struct conf *c, size_t i);
size_t conf_n_peers(const struct conf *c);
const struct conf_peer *conf_peer(const struct conf *c, size_t i);
/* Is it for many nodes, by a name with `*`? */
bool conf_peer_is_family(const struct conf_peer *p);
/* The peer of that name, or the family it belongs to: the longest literal match. NULL: not configured. */
const struct conf_peer *conf_peer_find(const struct conf *c, const char *name);
/* Does anything here need a key and a certificate? */
bool conf_needs_identity(const struct conf *c);

/*
 * Settings for a queue: the longest literal match among the [queue] sections
 * gives its keys, the rest come from [queue "*"], then built in. `node` NULL
 * for a queue here; else `name` is the queue at that node. Pointers stay valid
 * as long as c.
 */
void conf_queue(const struct conf *c, const char *node, const char *name, struct conf_queue *ret);
/*
 * Names of [queue] sections without `*`, for queues that exist from the start:
 * NAME for one here, NODE/NAME for an outbound one.
 */
size_t conf_n_queue_sections(const struct conf *c);
const char *conf_queue_section(const struct conf *c, size_t i);
/* Has this queue a section of its own? */
bool conf_has_queue(const struct conf *c, const char *node, const char *name);

/*
 * fresh is to replace old in a daemon that runs: what counts only from a restart
 * on keeps its old value, and kept is told the name of each such key that
 * differs. 0 or -ENOMEM.
 */
int conf_keep_restart(struct conf *fresh, const struct conf *old, void (*kept)(void *arg, const char *key), void *arg);
/* Have the two the same settings? 1, 0, or -ENOMEM. */
int conf_peer_same(const struct conf_peer *a, const struct conf_peer *b);

/* Print every setting in force in a form that reads back to the same (-nv). */
void conf_print(const struct conf *c, FILE *out);

/* Print a commented example that states every key, its help and default (conf/connectd.conf is its output). */
void conf_print_example(FILE *out);

#endif
