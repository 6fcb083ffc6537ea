/*
 * assoc_stack: usrsctp itself: on while a loop has associations; its clock,
 * its output, its listening socket.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "assoc_internal.h"
#include "crc32c.h"

/*
 * How often usrsctp is told the time: every 10 ms while packets move. When none
 * has moved for a while, no short timer is left: an eighth of that while, as
 * long as something is not acknowledged; else only heartbeats are due one day.
 */
#define TICK_MIN_MS 10
#define TICK_MAX_MS 1000
#define MOVING_MS 100
#define HEARTBEAT_PARTS 4
#define IDLE_MS 3000 /* without associations: what usrsctp still has to tidy up is tidied up */

#define PORTS 64 /* inside, from ASSOC_PORT on */

#define CHUNK_DATA 0
#define CHUNK_SACK 3
#define FINISH_TRIES 20

/* usrsctp's state is the process's: so this is, too. */
static struct stack {
	size_t homes;
	bool on;
	bool in_timers;
	uint64_t clock_ms, active_ms;
	uint64_t due_ms; /* when it is to be told the time, at the latest */
	struct hmap by_id;
	uint64_t next_id;
	struct listener {
		struct socket *so; /* NULL: not needed yet */
		uint32_t buffer;
	} listeners[PORTS];
	struct {
		uint64_t id;
		const struct assoc_events *ev;
		void *arg;
	} diverted;
} stack;

static const char home_key;

/* ---------------------------------------------------------------- checksum */

/* Of a packet whose field for it is 0; as it is on the wire. */
static uint32_t
checksum(const uint8_t *packet, size_t len)
{
	if (!crc32c_has_instruction())
		return usrsctp_crc32c((void *)(uintptr_t)packet, len);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	return __builtin_bswap32(crc32c_by_instruction(packet, len));
#else
	return crc32c_by_instruction(packet, len);
#endif
}

uint32_t
assoc_checksum(const uint8_t *packet, size_t len)
{
	return checksum(packet, len);
}

/* ------------------------------------------------------------------- table */

static struct assoc *
find(uint64_t id)
{
	struct hmap_node *n = stack.by_id.n > 0 ? hmap_find(&stack.by_id, hmap_hash_number(id)) : NULL;

	for (; n; n = hmap_find_next(n)) {
		struct assoc *a = hmap_entry(n, struct assoc, by_id);

		if (a->id == id)
			return a;
	}
	return NULL;
}

bool
assoc_is_taken(uint64_t id)
{
	return find(id) != NULL;
}

/* Those of strangers have their highest bit clear. */
uint64_t
assoc_next_id(void)
{
	return ++stack.next_id | UINT64_C(1) << 63;
}

int
assoc_enter(struct assoc_home *h, struct assoc *a)
{
	int r = hmap_add(&stack.by_id, &a->by_id, hmap_hash_number(a->id));

	if (r < 0)
		return r;
	a->home = h;
	h->n++;
	usrsctp_register_address(assoc_address(a->id));
	return 0;
}

static void
home_free(struct assoc_home *h)
{
	free(h);
	if (--stack.homes > 0)
		return;
	for (int i = 0; i < PORTS; i++) {
		if (stack.listeners[i].so)
			usrsctp_close(stack.listeners[i].so);
		stack.listeners[i].so = NULL;
	}
	/* What it could not tidy up stays, and is used again. */
	for (int i = 0; stack.on && i < FINISH_TRIES; i++) {
		if (usrsctp_finish() == 0) {
			stack.on = false;
			break;
		}
		usrsctp_handle_timers(TICK_MAX_MS);
	}
	hmap_done(&stack.by_id);
}

void
assoc_leave(struct assoc *a)
{
	struct assoc_home *h = a->home;

	list_remove(&a->changed);
	hmap_remove(&stack.by_id, &a->by_id);
	usrsctp_deregister_address(assoc_address(a->id));
	if (--h->n == 0 && !h->loop)
		home_free(h);
}

/* ------------------------------------------------------------------ output */

void
assoc_divert(uint64_t id, const struct assoc_events *ev, void *arg)
{
	stack.diverted.id = id;
	stack.diverted.ev = ev;
	stack.diverted.arg = arg;
}

/* What data goes out the first time, and what again. */
static void
count_data(struct assoc *a, const uint8_t *packet, size_t len)
{
	size_t at = ASSOC_HEADER;

	while (at + 4 <= len) {
		size_t chunk = (size_t)packet[at + 2] << 8 | packet[at + 3];
		uint32_t tsn;

		if (chunk < 4 || chunk > len - at)
			return;
		if (packet[at] == CHUNK_DATA && chunk >= 16) {
			memcpy(&tsn, packet + at + 4, 4);
			tsn = ntohl(tsn);
			if (a->has_tsn && (int32_t)(tsn - a->tsn) <= 0) {
				a->retransmissions++;
			} else {
				a->has_tsn = true;
				a->tsn = tsn;
				a->sent += chunk - 16;
				a->chunks++;
			}
		}
		at += (chunk + 3) & ~(size_t)3;
	}
}

void
assoc_note_acked(struct assoc *a, const uint8_t *packet, size_t len)
{
	size_t at = ASSOC_HEADER;

	while (at + 8 <= len) {
		size_t chunk = (size_t)packet[at + 2] << 8 | packet[at + 3];

		if (chunk < 4 || chunk > len - at)
			return;
		if (packet[at] == CHUNK_SACK && chunk >= 8) {
			memcpy(&a->acked, packet + at + 4, 4);
			a->acked = ntohl(a->acked);
		}
		at += (chunk + 3) & ~(size_t)3;
	}
}

static void note_activity(void);

/* Called by usrsctp, which holds its locks. */
static int
output(void *address, void *data, size_t len, uint8_t tos, uint8_t set_df)
{
	uint64_t id = (uint64_t)(uintptr_t)address;
	struct assoc *a = find(id);
	uint8_t *packet = data;
	uint32_t sum;

	(void)tos, (void)set_df;
	if (len < ASSOC_HEADER)
		return 0;
	if (a ? a->inside : stack.diverted.id == id) {
		packet[0] = ASSOC_PORT >> 8;
		packet[1] = ASSOC_PORT & 0xff;
	}
	memset(packet + 8, 0, 4);
	sum = checksum(packet, len);
	memcpy(packet + 8, &sum, 4);
	note_activity();
	if (a) {
		count_data(a, packet, len);
		a->ev->output(a->arg, packet, len);
	} else if (stack.diverted.ev && stack.diverted.id == id) {
		stack.diverted.ev->output(stack.diverted.arg, packet, len);
	}
	return 0;
}

/* ------------------------------------------------------------------- clock */

static void
note_activity(void)
{
	stack.active_ms = stack.clock_ms;
}

/*
 * usrsctp counts what it is told has passed. Time in which we did not run (other
 * processes did, or it was a long pass) does not count: what came meanwhile is
 * still to be read, and nothing must be sent again for want of it.
 */
static void
catch_up(const struct loop *l)
{
	uint64_t now = loop_now_ms(l), passed = now > stack.clock_ms ? now - stack.clock_ms : 0;

	if (passed == 0 || stack.in_timers)
		return;
	if (now > stack.due_ms + TICK_MIN_MS)
		passed = stack.due_ms + TICK_MIN_MS > stack.clock_ms ? stack.due_ms + TICK_MIN_MS - stack.clock_ms : TICK_MIN_MS;
	stack.clock_ms = now;
	stack.in_timers = true;
	usrsctp_handle_timers(passed > INT32_MAX ? INT32_MAX : (uint32_t)passed);
	stack.in_timers = false;
}

/* 0: not again. */
static void
arm(struct assoc_home *h, uint64_t interval_ms)
{
	h->interval_ms = interval_ms;
	stack.due_ms = interval_ms > 0 ? stack.clock_ms + interval_ms : UINT64_MAX - TICK_MIN_MS;
	if (interval_ms > 0)
		loop_timer_start(&h->timer, interval_ms);
}

void
assoc_wake(struct assoc_home *h)
{
	if (!h->loop)
		return;
	if (loop_now_ms(h->loop) >= stack.clock_ms + TICK_MIN_MS || stack.clock_ms == 0)
		catch_up(h->loop);
	note_activity();
	if (!h->timer.armed || h->interval_ms > TICK_MIN_MS)
		arm(h, TICK_MIN_MS);
}

/* Does it wait for the other end, or the other end for it? */
static bool
is_outstanding(const struct assoc *a)
{
	if (a->over)
		return false;
	return a->state == ASSOC_DIALLING || a->is_ending || a->written != a->sent || (a->has_tsn && a->acked != a->tsn);
}

/* Until usrsctp must be told the time again; 0: not before something is done with it. */
static uint64_t
next_tick(const struct assoc_home *h)
{
	uint64_t idle = stack.clock_ms - stack.active_ms, heartbeat = 0;

	if (idle < MOVING_MS)
		return TICK_MIN_MS;
	if (h->n == 0 && idle > IDLE_MS)
		return 0;
	for (struct hmap_node *n = hmap_walk(&stack.by_id, NULL); n; n = hmap_walk(&stack.by_id, n)) {
		const struct assoc *a = hmap_entry(n, struct assoc, by_id);

		if (is_outstanding(a))
			return idle / 8 < TICK_MIN_MS ? TICK_MIN_MS : idle / 8 > TICK_MAX_MS ? TICK_MAX_MS : idle / 8;
		if (a->heartbeat_ms > 0 && (heartbeat == 0 || a->heartbeat_ms < heartbeat))
			heartbeat = a->heartbeat_ms;
	}
	if (stack.by_id.n == 0)
		return TICK_MAX_MS;
	return heartbeat > HEARTBEAT_PARTS * TICK_MIN_MS ? heartbeat / HEARTBEAT_PARTS : heartbeat;
}

static void
tick(void *arg)
{
	struct assoc_home *h = arg;

	catch_up(h->loop);
	arm(h, next_tick(h));
}

/* ------------------------------------------------------------------- homes */

void
assoc_mark(struct assoc *a)
{
	struct assoc_home *h = a->home;

	if (!h->loop || !list_empty(&a->changed))
		return;
	list_append(&h->changed, &a->changed);
	loop_defer(h->loop, &h->call);
}

static void
tell(void *arg)
{
	struct assoc_home *h = arg;
	struct list now;

	/* Those marked meanwhile are told by the next call. */
	list_init(&now);
	list_splice(&now, &h->changed);
	while (!list_empty(&now)) {
		struct assoc *a = list_entry(list_first(&now), struct assoc, changed);

		list_remove(&a->changed);
		a->ev->changed(a->arg);
	}
}

static void
loop_is_gone(struct loop_attached *at)
{
	struct assoc_home *h = list_entry(at, struct assoc_home, attached);

	loop_timer_stop(&h->timer);
	loop_call_cancel(&h->call);
	h->loop = NULL;
	if (h->n == 0)
		home_free(h);
}

/* What we do without is off: the less of it strangers can reach the better. */
static void
start(void)
{
	usrsctp_init_nothreads(0, output, NULL);
	usrsctp_enable_crc32c_offload();
	usrsctp_sysctl_set_sctp_ecn_enable(0);
	usrsctp_sysctl_set_sctp_asconf_enable(0);
	usrsctp_sysctl_set_sctp_auto_asconf(0);
	usrsctp_sysctl_set_sctp_auth_enable(0);
	usrsctp_sysctl_set_sctp_pr_enable(0);
	usrsctp_sysctl_set_sctp_reconfig_enable(0);
	usrsctp_sysctl_set_sctp_nrsack_enable(0);
	usrsctp_sysctl_set_sctp_pktdrop_enable(0);
	usrsctp_sysctl_set_sctp_nr_outgoing_streams_default(1);
	/* A buffer of small packets is many chunks. */
	usrsctp_sysctl_set_sctp_max_chunks_on_queue(8192);
	stack.on = true;
}

struct assoc_home *
assoc_home(struct loop *l)
{
	struct loop_attached *at = loop_attached(l, &home_key);
	struct assoc_home *h;

	if (at)
		return list_entry(at, struct assoc_home, attached);
	h = calloc(1, sizeof(*h));
	if (!h)
		return NULL;
	h->loop = l;
	list_init(&h->changed);
	loop_call_init(&h->call, tell, h);
	loop_timer_init(&h->timer, l, tick, h);
	loop_attach(l, &h->attached, &home_key, loop_is_gone);
	if (stack.homes++ == 0) {
		stack.clock_ms = stack.active_ms = loop_now_ms(l);
		stack.due_ms = UINT64_MAX - TICK_MIN_MS;
		hmap_init(&stack.by_id);
		if (!stack.on)
			start();
	}
	return h;
}

/* ---------------------------------------------------------------- listener */

uint16_t
assoc_inside(uint64_t id)
{
	return (uint16_t)(ASSOC_PORT + id % PORTS);
}

bool
assoc_enter_port(uint8_t *packet, uint16_t inside)
{
	if ((packet[2] << 8 | packet[3]) != ASSOC_PORT)
		return false;
	packet[2] = (uint8_t)(inside >> 8);
	packet[3] = (uint8_t)inside;
	return true;
}

struct socket *
assoc_listener(uint16_t inside, const struct assoc_settings *settings)
{
	struct sockaddr_conn any = { .sconn_family = AF_CONN, .sconn_port = htons(inside) };
	struct listener *l = &stack.listeners[inside - ASSOC_PORT];
	struct socket *so = l->so;

	if (so) {
		if (settings->buffer != l->buffer)
			assoc_configure(so, settings);
		l->buffer = settings->buffer;
		return so;
	}
	so = usrsctp_socket(AF_CONN, SOCK_STREAM, IPPROTO_SCTP, NULL, NULL, 0, NULL);
	if (!so)
		return NULL;
	if (usrsctp_set_non_blocking(so, 1) < 0 || assoc_configure(so, settings) < 0 ||
	    usrsctp_bind(so, (struct sockaddr *)&any, sizeof(any)) < 0 || usrsctp_listen(so, 1) < 0) {
		usrsctp_close(so);
		return NULL;
	}
	l->so = so;
	l->buffer = settings->buffer;
	return so;
}

void
assoc_refuse(uint16_t inside)
{
	struct socket *listener = stack.listeners[inside - ASSOC_PORT].so, *so;

	while (listener && (so = usrsctp_accept(listener, NULL, NULL)))
		usrsctp_close(so);
}
