#include "hostile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "frame.h"
#include "io.h"
#include "sim_doors.h"
#include "wire.h"
#include "world.h"

#define MS 1000000u
#define FLOWS 7
#define BODY 300000

struct hostile_flow {
	bool open;
	uint64_t next;                  /* number */
	uint64_t number, total, offset; /* of a body half sent; number 0: none */
	unsigned chunks;                /* of that */
	uint64_t reserved;              /* number of the large body that may go on */
	uint64_t resume, resume_bytes;  /* what the daemon says is there */
	uint64_t rejected;
};

static struct hostile {
	struct io *io; /* NULL: not running */
	char path[40];
	const char *dests[8];
	int n_dests;
	struct world_event tick;
	uint8_t in[WIRE_FRAME_MAX + 16];
	size_t len;
	bool greeted;
	struct hostile_flow flows[FLOWS + 1];
	uint64_t last_tag;
} all[HOSTILE_MAX];

static void
say(struct hostile *h, const uint8_t *data, size_t len)
{
	union {
		const uint8_t *in;
		void *out;
	} bytes = { data };
	struct iovec iov = { bytes.out, len };

	/* What the socket does not take is cut off in the middle: one more bad frame. */
	io_writev(h->io, &iov, 1);
}

static void
frame(struct hostile *h, const struct wire_frame *f)
{
	static uint8_t buf[WIRE_FRAME_MAX];

	if (wire_size(f) <= sizeof(buf))
		say(h, buf, wire_pack(f, buf));
}

static void
item(struct hostile *h, uint32_t flow, uint64_t number, uint64_t total, uint64_t offset, uint64_t len)
{
	static uint8_t body[WIRE_CHUNK_MAX], buf[WIRE_CHUNK_MAX + 1024];
	struct wire_item it = { .type = (uint32_t)world_below(3), .body = wire_bytes(body, len), .flags = (uint32_t)world_below(4) & 2 };
	size_t head;

	if (world_chance(1))
		it.type = (uint32_t)world_below(3000);
	if (world_chance(20))
		it.ttl_ms = 1 + world_below(500);
	if (world_chance(3))
		it.not_before_ms = world_random() >> world_below(64);
	if (offset != 0 || len != total) {
		it.offset = offset;
		it.total = total;
	}
	head = wire_put_run(WIRE_TRANSFER, flow, number, wire_item_size(&it), buf);
	head += wire_put_item(&it, buf + head);
	memcpy(buf + head, body, len);
	say(h, buf, head + len);
}

static uint64_t
odd_number(void)
{
	return world_chance(60) ? world_below(20) : world_random() >> world_below(64);
}

static void
open_flow(struct hostile *h, uint32_t id)
{
	struct wire_frame f = { .kind = WIRE_OPEN_FLOW };
	struct wire_open_flow *o = &f.u.open_flow;
	uint8_t producer[16] = { 0 };

	/* The same names in every session, so that what was left behind is met again. */
	producer[0] = (uint8_t)(id % 4 + 1);
	o->flow = id;
	o->address = wire_string(h->dests[world_below((uint64_t)h->n_dests)]);
	if (!world_chance(2))
		o->address = wire_string(h->dests[id % (uint32_t)h->n_dests]);
	o->priority = id % 3;
	o->producer = wire_bytes(producer, sizeof(producer));
	o->highest_used = world_chance(95) ? UINT64_MAX : odd_number();
	o->away_ms = world_chance(95) ? 0 : odd_number();
	h->flows[id] = (struct hostile_flow){ .next = 1 };
	frame(h, &f);
}

static void
transfer(struct hostile *h, uint32_t id)
{
	struct hostile_flow *fl = &h->flows[id];
	uint64_t len;

	if (world_chance(3)) {
		struct wire_frame f = { .kind = WIRE_WANT };

		f.u.want.bytes = odd_number();
		f.u.want.returned = world_chance(90) ? 0 : odd_number();
		frame(h, &f);
	}
	if (!fl->open && !world_chance(1))
		return;
	if (fl->rejected && world_chance(70)) {
		struct wire_frame f = { .kind = WIRE_RESUME, .u.resume = { id, world_chance(95) ? fl->rejected : odd_number() } };

		fl->rejected = fl->number = 0;
		frame(h, &f);
	}
	if (fl->number == 0 && fl->resume && world_chance(80)) {
		fl->number = fl->resume;
		fl->total = world_chance(90) ? BODY - 1 - fl->resume % 7 * 40000 : odd_number();
		fl->offset = fl->resume_bytes;
		fl->chunks = 0;
		fl->next = fl->number + 1;
	} else if (fl->number == 0 && world_chance(40)) {
		fl->number = world_chance(97) ? fl->next++ : odd_number();
		fl->total = world_chance(97) ? BODY - 1 - fl->number % 7 * 40000 : odd_number();
		fl->offset = 0;
		fl->chunks = 0;
	}
	fl->resume = 0;
	if (fl->number == 0) {
		len = world_below(world_chance(90) ? 200 : WIRE_CHUNK_MAX);
		item(h, id, world_chance(97) ? fl->next++ : odd_number(), len, 0, len);
		return;
	}
	if (world_chance(4)) {
		struct wire_frame f = { .kind = WIRE_ABORT, .u.abort = { id, world_chance(90) ? fl->number : odd_number() } };

		fl->number = 0;
		frame(h, &f);
		return;
	}
	/* A large one waits after its first chunk until it is reserved. */
	if (fl->total > WIRE_LARGE && fl->chunks > 0 && fl->reserved != fl->number && !world_chance(1))
		return;
	fl->chunks++;
	len = 1 + world_below(world_chance(50) ? 2000 : WIRE_CHUNK_MAX - 1);
	if (len > fl->total - fl->offset)
		len = fl->total - fl->offset;
	item(h, id, fl->number, fl->total, world_chance(99) ? fl->offset : odd_number(), len > WIRE_CHUNK_MAX ? 1 : len);
	fl->offset += len;
	if (fl->offset >= fl->total)
		fl->number = 0;
}

static void
consume(struct hostile *h)
{
	uint8_t ranges[40];
	struct wire_frame f = { .kind = WIRE_SUBSCRIBE };
	uint64_t first = 1 + world_below(h->last_tag + 1), last = first + world_below(4);
	size_t len;

	len = wire_put_number(ranges, world_chance(95) ? first : odd_number());
	len += wire_put_number(ranges + len, world_chance(95) ? last : odd_number());
	switch (world_below(6)) {
	case 0:
	case 1:
		f.u.subscribe.subscription = 1 + (uint32_t)world_below(3);
		f.u.subscribe.queue = wire_string("h0");
		f.u.subscribe.credit_messages = 1 + odd_number();
		f.u.subscribe.credit_bytes = 1 + odd_number();
		f.u.subscribe.exclusive = world_chance(20);
		break;
	case 2:
		f.kind = WIRE_ACK;
		f.u.ack.ranges = (struct wire_numbers){ ranges, len };
		break;
	case 3:
		f.kind = WIRE_NACK;
		f.u.nack.ranges = (struct wire_numbers){ ranges, len };
		f.u.nack.action = (uint32_t)world_below(3);
		f.u.nack.delay_ms = odd_number();
		break;
	case 4:
		f.kind = WIRE_CREDIT;
		f.u.credit.subscription = 1 + (uint32_t)world_below(3);
		f.u.credit.messages = f.u.credit.bytes = world_chance(80) ? 1u << 30 : odd_number();
		break;
	default:
		f.kind = WIRE_UNSUBSCRIBE;
		f.u.unsubscribe.subscription = 1 + (uint32_t)world_below(3);
		break;
	}
	frame(h, &f);
}

static void
act(struct hostile *h)
{
	struct wire_frame f = { .kind = WIRE_SETTLED };
	uint32_t id = 1 + (uint32_t)world_below(FLOWS);
	uint8_t junk[40];
	uint64_t dice = world_below(1000);

	if (!h->flows[id].open && dice < 900) {
		open_flow(h, id);
	} else if (dice < 850) {
		transfer(h, id);
	} else if (dice < 950) {
		consume(h);
	} else if (dice < 980) {
		f.u.settled.flow = id;
		f.u.settled.close = true;
		h->flows[id].open = false;
		frame(h, &f);
	} else if (dice < 995) {
		f.kind = WIRE_DEFINE;
		f.u.define.kind = WIRE_DEFINE_TYPE;
		f.u.define.id = (uint32_t)world_below(5);
		f.u.define.value = wire_bytes("some.Type.of.the.hostile", world_below(24));
		frame(h, &f);
	} else {
		for (size_t i = 0; i < sizeof(junk); i++)
			junk[i] = (uint8_t)world_random();
		say(h, junk, sizeof(junk));
	}
}

/* -------------------------------------------------------------- the session -- */

static void
heard(struct hostile *h, const struct wire_frame *f)
{
	const struct wire_flow_state *st = &f->u.flow_state;
	struct wire_bytes items = f->u.run.items;
	struct wire_item it;
	struct hostile_flow *fl;

	switch (f->kind) {
	case WIRE_HELLO:
		h->greeted = true;
		return;
	case WIRE_FLOW_STATE:
		if (st->flow == 0 || st->flow > FLOWS || st->verdict != WIRE_VERDICT_OK)
			return;
		fl = &h->flows[st->flow];
		fl->open = true;
		fl->next = st->accepted + 1;
		fl->resume = st->partial_number;
		fl->resume_bytes = st->partial_bytes;
		return;
	case WIRE_CREDIT:
		if (f->u.credit.number != 0 && f->u.credit.flow > 0 && f->u.credit.flow <= FLOWS)
			h->flows[f->u.credit.flow].reserved = f->u.credit.number;
		return;
	case WIRE_REJECT:
		if (f->u.reject.flow > 0 && f->u.reject.flow <= FLOWS)
			h->flows[f->u.reject.flow].rejected = f->u.reject.number;
		return;
	case WIRE_DELIVER:
		h->last_tag = f->u.run.first;
		while (wire_item_next(&items, &it))
			;
		return;
	default:
		return;
	}
}

static void
connect_again(struct hostile *h)
{
	struct wire_frame f = { .kind = WIRE_HELLO };
	struct wire_hello *o = &f.u.hello;

	io_disconnect(h->io);
	h->len = 0;
	h->greeted = false;
	h->last_tag = 0;
	memset(h->flows, 0, sizeof(h->flows));
	if (io_connect(h->io, h->path) != 0)
		return;
	o->magic = WIRE_MAGIC;
	o->version_min = o->version_max = WIRE_VERSION;
	o->role = world_chance(98) ? WIRE_ROLE_CLIENT : (uint32_t)world_below(5);
	o->name = wire_string("hostile");
	o->limits.dictionary = world_chance(90) ? 1024 : (uint32_t)world_below(3);
	frame(h, &f);
}

static void
listen_to(struct hostile *h)
{
	for (;;) {
		size_t used = 0;
		struct frame fr;
		ssize_t r = io_read(h->io, h->in + h->len, sizeof(h->in) - h->len);

		if (r == -EAGAIN)
			return;
		if (r <= 0) {
			connect_again(h);
			return;
		}
		h->len += (size_t)r;
		while (frame_decode(h->in + used, h->len - used, WIRE_FRAME_MAX, &fr) == 1) {
			struct wire_frame f;

			if (wire_unpack(fr.data, fr.len, &f) == 0)
				heard(h, &f);
			else
				world_violation("a daemon sent a malformed frame");
			used += fr.used;
		}
		memmove(h->in, h->in + used, h->len - used);
		h->len -= used;
	}
}

static void
tick(void *arg)
{
	struct hostile *h = arg;

	/* At times it does not read. */
	if (!world_chance(10))
		listen_to(h);
	if (world_chance(2))
		connect_again(h);
	if (h->greeted)
		for (uint64_t n = world_below(12); n > 0; n--)
			act(h);
	world_schedule(&h->tick, (1 + world_below(60)) * MS);
}

static void
nothing(void *arg)
{
	(void)arg;
}

void
hostile_start(int i, const char *path, const char *const *dests, int n_dests)
{
	struct hostile *h = &all[i];

	memset(h, 0, sizeof(*h));
	strncpy(h->path, path, sizeof(h->path) - 1);
	for (int k = 0; k < n_dests; k++)
		h->dests[k] = dests[k];
	h->n_dests = n_dests;
	sim_io_owner(nothing, h);
	h->io = io_new();
	h->tick = (struct world_event){ .fn = tick, .arg = h };
	world_schedule(&h->tick, world_below(300) * MS);
}

void
hostile_end(int i)
{
	struct hostile *h = &all[i];

	if (!h->io)
		return;
	world_cancel(&h->tick);
	io_free(h->io);
	h->io = NULL;
}
