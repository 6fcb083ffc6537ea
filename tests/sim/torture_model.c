/* torture_model: the tree of appends and the states they make. What is found is judged in torture_check.c. */
#include "torture_model.h"

#include <stdlib.h>
#include <string.h>

#include "world.h"

static struct {
	struct append *appends; /* [0] is the empty store */
	uint32_t n, cap;
	struct model_message *messages; /* [0] is none */
	uint32_t n_messages, cap_messages;
} model;

void
model_reset(void)
{
	model_shrink((struct model_size){ 1, 1 });
	if (model.n == 0) {
		model_append(0, &(struct append){ .kind = APPEND_NOTHING });
		model_message_new((size_t[STORE_PARTS]){ 0 });
	}
}

struct model_size
model_size(void)
{
	return (struct model_size){ model.n, model.n_messages };
}

void
model_shrink(struct model_size to)
{
	while (model.n_messages > to.messages)
		free(model.messages[--model.n_messages].bytes);
	if (model.n > to.appends)
		model.n = to.appends;
}

uint32_t
model_message_new(const size_t lens[static STORE_PARTS])
{
	struct model_message *m;
	size_t sum = 0;

	if (model.n_messages == model.cap_messages) {
		model.cap_messages = model.cap_messages ? 2 * model.cap_messages : 256;
		model.messages = realloc(model.messages, model.cap_messages * sizeof(*model.messages));
		if (!model.messages)
			abort();
	}
	m = &model.messages[model.n_messages];
	*m = (struct model_message){ 0 };
	for (unsigned i = 0; i < STORE_PARTS; i++)
		sum += m->lens[i] = lens[i];
	m->bytes = malloc(sum + 1);
	if (!m->bytes)
		abort();
	return model.n_messages++;
}

struct model_message *
model_message(uint32_t message)
{
	return &model.messages[message];
}

uint32_t
model_messages(void)
{
	return model.n_messages;
}

uint32_t
model_append(uint32_t tip, const struct append *a)
{
	if (model.n == model.cap) {
		model.cap = model.cap ? 2 * model.cap : 1024;
		model.appends = realloc(model.appends, model.cap * sizeof(*model.appends));
		if (!model.appends)
			abort();
	}
	model.appends[model.n] = *a;
	model.appends[model.n].before = tip;
	return model.n++;
}

const struct append *
model_get(uint32_t tip)
{
	return &model.appends[tip];
}

void
model_cancel(uint32_t tip, uint32_t base, uint32_t message)
{
	for (; tip != base; tip = model.appends[tip].before)
		if (model.appends[tip].kind == APPEND_PUT && model.appends[tip].message == message)
			model.appends[tip].cancelled = true;
}

/* ------------------------------------------------------------------- state -- */

static struct model_queue *
queue_of(struct model_state *st, uint32_t queue)
{
	if (queue >= MODEL_NUMBERS)
		abort();
	if (queue >= st->n_queues)
		st->n_queues = queue + 1;
	return &st->queues[queue];
}

static struct model_flow *
flow_of(struct model_state *st, uint32_t flow)
{
	if (flow >= MODEL_NUMBERS)
		abort();
	if (flow >= st->n_flows)
		st->n_flows = flow + 1;
	return &st->flows[flow];
}

static void
raise_mark(struct model_state *st, uint32_t flow, uint64_t number)
{
	struct model_flow *f = flow_of(st, flow);

	if (flow != 0 && f->mark < number)
		f->mark = number;
}

static struct place *
place_of(struct model_state *st, uint32_t message)
{
	if (message >= st->cap_places) {
		st->cap_places = 2 * (size_t)message + 256;
		st->places = realloc(st->places, st->cap_places * sizeof(*st->places));
		if (!st->places)
			abort();
	}
	while (st->n_places <= message)
		st->places[st->n_places++] = (struct place){ .live = false };
	return &st->places[message];
}

static void
enter(struct model_state *st, const struct append *a)
{
	struct place *p = place_of(st, a->message);
	struct model_queue *q = queue_of(st, a->queue);

	p->live = true;
	p->queue = a->queue;
	p->seq = a->seq;
	p->flags = a->flags;
	p->note = a->kind == APPEND_MOVE && a->definition ? a->definition : p->note;
	q->n++;
	if (q->high < a->seq)
		q->high = a->seq;
	st->n_live++;
}

static void
leave(struct model_state *st, const struct append *a)
{
	struct place *p = place_of(st, a->message);
	struct model_queue *q = queue_of(st, p->queue);

	p->live = false;
	q->n--;
	if (a->written && q->low < p->seq)
		q->low = p->seq;
	st->n_live--;
}

void
model_apply(struct model_state *st, const struct append *a)
{
	switch (a->kind) {
	case APPEND_NOTHING:
		break;
	case APPEND_PUT:
		place_of(st, a->message)->note = 0;
		enter(st, a);
		if (a->cancelled)
			leave(st, a);
		raise_mark(st, model.messages[a->message].flow, model.messages[a->message].number);
		break;
	case APPEND_DONE:
		leave(st, a);
		break;
	case APPEND_MOVE:
		leave(st, a);
		enter(st, a);
		break;
	case APPEND_MARK:
		raise_mark(st, a->queue, a->seq);
		break;
	case APPEND_OFFERED:
		if (queue_of(st, a->queue)->offered < a->seq)
			st->queues[a->queue].offered = a->seq;
		break;
	case APPEND_QUEUE:
		if (!queue_of(st, a->queue)->exists)
			st->queues[a->queue] = (struct model_queue){ .exists = true };
		st->queues[a->queue].definition = a->definition;
		break;
	case APPEND_FLOW:
		if (!flow_of(st, a->queue)->exists)
			st->flows[a->queue] = (struct model_flow){ .exists = true };
		st->flows[a->queue].definition = a->definition;
		break;
	case APPEND_QUEUE_GONE:
		queue_of(st, a->queue)->exists = false;
		break;
	case APPEND_FLOW_GONE:
		flow_of(st, a->queue)->exists = false;
		break;
	}
}

void
model_replay(struct model_state *st, uint32_t tip)
{
	uint32_t *chain = malloc((model.n + 1) * sizeof(*chain)), n = 0;

	if (!chain)
		abort();
	st->n_places = 0;
	memset(st->queues, 0, st->n_queues * sizeof(*st->queues));
	memset(st->flows, 0, st->n_flows * sizeof(*st->flows));
	st->n_queues = st->n_flows = 0;
	st->n_live = 0;
	for (; tip != 0; tip = model.appends[tip].before)
		chain[n++] = tip;
	while (n > 0)
		model_apply(st, &model.appends[chain[--n]]);
	free(chain);
}

void
model_state_done(struct model_state *st)
{
	free(st->places);
	st->places = NULL;
	st->n_places = st->cap_places = 0;
}

/* ------------------------------------------------------------------- bytes -- */

static size_t
pattern(uint32_t id, size_t max, uint8_t *buf)
{
	size_t len = 4 + (id * 2654435761u >> 8) % (max - 3);

	for (size_t i = 4; i < len; i++)
		buf[i] = (uint8_t)(id * 31 + i);
	memcpy(buf, &id, 4);
	return len;
}

size_t
model_definition(uint32_t definition, uint8_t buf[static STORE_DEFINITION_MAX])
{
	return pattern(definition, definition % 16 == 0 ? STORE_DEFINITION_MAX : 60, buf);
}

size_t
model_note(uint32_t note, uint8_t buf[static 256])
{
	return pattern(note, 256, buf);
}

uint32_t
model_read_definition(struct store_bytes b)
{
	uint8_t buf[STORE_DEFINITION_MAX];
	uint32_t id = 0;

	if (b.len < 4)
		return 0;
	memcpy(&id, b.data, 4);
	return model_definition(id, buf) == b.len && memcmp(buf, b.data, b.len) == 0 ? id : 0;
}

struct store_bytes
model_part(uint32_t message, const struct place *p, unsigned i, uint8_t buf[static 256])
{
	const struct model_message *m = &model.messages[message];
	const uint8_t *at = m->bytes;

	if (i == STORE_NOTE && p->note)
		return (struct store_bytes){ buf, model_note(p->note, buf) };
	for (unsigned k = 0; k < i; k++)
		at += m->lens[k];
	return (struct store_bytes){ at, m->lens[i] };
}

uint64_t
model_bytes(uint32_t message, const struct place *p)
{
	uint8_t buf[256];
	uint64_t sum = 0;

	for (unsigned i = 0; i < STORE_PARTS; i++)
		sum += model_part(message, p, i, buf).len;
	return sum;
}
