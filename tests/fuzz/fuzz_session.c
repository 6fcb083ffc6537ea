/*
 * fuzz_session: bytes to a whole daemon, as whoever the first byte says: a
 * stranger on the Unix socket or the network, a program or a peer behind its
 * Hello. The second byte says where the stream is cut. Behind them come the
 * bytes as they are, so that a dictionary and other streams fit.
 */
#include <stdlib.h>
#include <string.h>

#include "box.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A peer that goes through the meeting, then says what the input says. */
static void
heard(struct box_line *l, const struct wire_frame *f)
{
	bool decides = *(const char *)l->arg == 'a';
	struct wire_frame k = { .kind = WIRE_KNOWN };

	if ((f->kind == WIRE_HELLO && decides) || (f->kind == WIRE_KNOWN && !decides))
		box_frame(l, &k);
	k = (struct wire_frame){ .kind = WIRE_ACCEPT, .u.accept.decision = 1 };
	if (f->kind == WIRE_KNOWN && decides)
		box_frame(l, &k);
}

static void
speak(struct box_line *l, unsigned who)
{
	static const char *const names[] = { "oslo", "aachen" };

	if (who < 4) {
		box_connect(l, who % 2 ? BOX_STRANGER : BOX_PROGRAM);
		box_run(10000);
		if (who == 2)
			box_greet(l, "fuzz");
		if (who == 2)
			box_run(10000);
		return;
	}
	box_run(100000);
	l->arg = (void *)(uintptr_t)names[who % 2];
	l->heard = heard;
	box_connect(l, who == 6 ? BOX_DIALLED : BOX_STRANGER);
	box_run(10000);
	box_greet(l, names[who % 2]);
	box_run(60000);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct box_line *l = box_line(0);
	unsigned who, cuts;
	uint32_t rng;

	if (size < 2)
		return 0;
	who = data[0] % 7;
	cuts = data[1] & 3;
	rng = data[1];
	box_start(data[1], data[0] / 7);
	box_flows(size / 4);
	speak(l, who);
	data += 2;
	size -= 2;
	while (size > 0 && l->up) {
		/* All at once, in halves, in small pieces, byte by byte at first. */
		size_t n = cuts == 0 ? size : cuts == 1 ? (size + 1) / 2 : cuts == 2 ? 1 + rng % 97 : 1 + (size > 64 ? size - 64 : 0);

		rng = rng * 1103515245 + 12345;
		if (n > size)
			n = size;
		box_say(l, data, n);
		data += n;
		size -= n;
		box_run(cuts == 3 ? 1000 : 8000);
	}
	box_run(30000);
	box_check();
	box_run(4000000); /* what has a deadline meets it */
	box_end();
	return 0;
}
