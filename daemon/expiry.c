#include "expiry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hmap.h"

#define DAY_S INT64_C(86400)
#define DAY_MS UINT64_C(86400000)
#define LOOK_MS UINT64_C(3600000) /* at least so often */
#define SOON_MS 1000              /* many peers come up together */

static const struct {
	enum expiry_stage stage;
	int64_t left_s;
} thresholds[] = { { EXPIRY_DAY, DAY_S }, { EXPIRY_WEEK, 7 * DAY_S }, { EXPIRY_MONTH, 30 * DAY_S } };

#define N_THRESHOLDS (sizeof(thresholds) / sizeof(*thresholds))

/* One that somebody was told of. */
struct told {
	struct hmap_node node; /* by whose, what and until when: another in its place begins anew */
	enum expiry_stage stage;
	uint64_t at_ms;
};

struct expiry {
	struct expiry_env env;
	struct loop_timer timer;
	struct hmap told;
	bool began;
	uint64_t next_ms; /* of a look: until the next */
};

/* ------------------------------------------------------------------ judging -- */

static const char *
day(int64_t s, char buf[static 16])
{
	time_t t = (time_t)s;
	struct tm tm;

	if (!gmtime_r(&t, &tm) || strftime(buf, 16, "%Y-%m-%d", &tm) == 0)
		snprintf(buf, 16, "?");
	return buf;
}

enum expiry_stage
expiry_judge(const struct tls_dates *d, int64_t now_s, char ret[static EXPIRY_TEXT_MAX])
{
	const char *of = d->of[0] ? " of " : "";
	int64_t left = d->not_after - now_s;
	enum expiry_stage stage = EXPIRY_NONE;
	char date[16];

	ret[0] = '\0';
	if (d->not_before > now_s) {
		snprintf(ret, EXPIRY_TEXT_MAX, "the %s%s%s is valid only from %s", d->what, of, d->of, day(d->not_before, date));
		return EXPIRY_EARLY;
	}
	if (d->not_after >= TLS_NEVER)
		return EXPIRY_NONE;
	if (left < 0) {
		snprintf(ret, EXPIRY_TEXT_MAX, "the %s%s%s ended %s", d->what, of, d->of, day(d->not_after, date));
		return EXPIRY_OVER;
	}
	for (size_t i = 0; i < N_THRESHOLDS && stage == EXPIRY_NONE; i++)
		if (left <= thresholds[i].left_s)
			stage = thresholds[i].stage;
	if (stage == EXPIRY_NONE)
		return stage;
	day(d->not_after, date);
	if (left < DAY_S)
		snprintf(ret, EXPIRY_TEXT_MAX, "the %s%s%s ends %s, in less than a day", d->what, of, d->of, date);
	else
		snprintf(ret, EXPIRY_TEXT_MAX, "the %s%s%s ends %s, in %d day%s", d->what, of, d->of, date, (int)(left / DAY_S),
		    left / DAY_S == 1 ? "" : "s");
	return stage;
}

/* Seconds until it stands otherwise. */
static int64_t
until_next(const struct tls_dates *d, int64_t now_s)
{
	int64_t left = d->not_after - now_s;

	if (d->not_before > now_s)
		return d->not_before - now_s;
	if (left < 0 || d->not_after >= TLS_NEVER)
		return INT64_MAX;
	for (size_t i = N_THRESHOLDS; i-- > 0;)
		if (left > thresholds[i].left_s)
			return left - thresholds[i].left_s;
	return left + 1;
}

/* ------------------------------------------------------------------ looking -- */

static uint64_t
hash_of(const struct expiry_item *it)
{
	const struct tls_dates *d = &it->dates;
	uint64_t h = hmap_hash(d->of, strlen(d->of), (uint64_t)d->not_after);

	h = hmap_hash(d->what, strlen(d->what), h);
	return it->peer ? hmap_hash(it->peer, strlen(it->peer), h) : h;
}

static void
look_at(void *arg, const struct expiry_item *it)
{
	struct expiry *e = arg;
	struct loop *l = e->env.loop;
	int64_t now_s = (int64_t)(loop_wall_ms(l) / 1000), next_s = until_next(&it->dates, now_s);
	uint64_t hash = hash_of(it);
	/* Two with one hash would have to be two warnings at once, of which one is told. */
	struct hmap_node *n = hmap_find(&e->told, hash);
	struct told *t = n ? hmap_entry(n, struct told, node) : NULL;
	enum expiry_stage stage;
	char text[EXPIRY_TEXT_MAX];

	if (next_s < (int64_t)(LOOK_MS / 1000) && (uint64_t)next_s * 1000 < e->next_ms)
		e->next_ms = (uint64_t)next_s * 1000;
	stage = expiry_judge(&it->dates, now_s, text);
	if (!t) {
		if (stage == EXPIRY_NONE)
			return;
		t = calloc(1, sizeof(*t));
		if (!t || hmap_add(&e->told, &t->node, hash) < 0) {
			free(t);
			return; /* told at the next look */
		}
	} else if (stage <= t->stage && !(stage == EXPIRY_OVER && loop_now_ms(l) - t->at_ms >= DAY_MS)) {
		t->stage = stage; /* less than before: the clock went back */
		return;
	}
	t->stage = stage;
	t->at_ms = loop_now_ms(l);
	if (stage != EXPIRY_NONE)
		e->env.tell(e->env.arg, it, stage, text);
}

static void
look(void *arg)
{
	struct expiry *e = arg;

	e->next_ms = LOOK_MS;
	e->env.each(e->env.arg, look_at, e);
	loop_timer_start(&e->timer, e->next_ms < SOON_MS ? SOON_MS : e->next_ms);
}

static void
forget(struct expiry *e)
{
	struct hmap_node *n;

	while ((n = hmap_walk(&e->told, NULL)) != NULL) {
		hmap_remove(&e->told, n);
		free(hmap_entry(n, struct told, node));
	}
}

struct expiry *
expiry_new(const struct expiry_env *env)
{
	struct expiry *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->env = *env;
	hmap_init(&e->told);
	loop_timer_init(&e->timer, env->loop, look, e);
	return e;
}

void
expiry_free(struct expiry *e)
{
	if (!e)
		return;
	loop_timer_stop(&e->timer);
	forget(e);
	hmap_done(&e->told);
	free(e);
}

void
expiry_begin(struct expiry *e)
{
	forget(e);
	e->began = true;
	loop_timer_start(&e->timer, 0);
}

void
expiry_look_soon(struct expiry *e)
{
	if (e->began && (!e->timer.armed || e->timer.due_ns > loop_now(e->env.loop) + SOON_MS * UINT64_C(1000000)))
		loop_timer_start(&e->timer, SOON_MS);
}
