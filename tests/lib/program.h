/*
 * program: what the programs at a daemon do in tests: send texts, hear what
 * became of them, and take them again. Whatever does not happen within 20 s
 * fails the test.
 */
#ifndef PROGRAM_H
#define PROGRAM_H

#include <connectd.h>
#include <stddef.h>
#include <stdint.h>

#include "node.h"

#define PROGRAM_PATIENCE_MS 20000

struct connectd *program_open(const struct node *n, const char *application);

/* A message whose body is the text (and zeroes up to `size`, if that is more). */
struct connectd_msg *program_message(const char *dest, const char *text, size_t size);

/* The last that was told of messages. */
struct told {
	uint64_t arrived, rejected, expired, purged, dead, dropped, other; /* final calls */
	char reason[256];                                                  /* of the last one that did not arrive */
};
/* Send; takes over m. told NULL: nobody asks. Waits while the window is full. */
void program_send(struct connectd *c, struct connectd_msg *m, struct told *told);
void program_send_text(struct connectd *c, const char *dest, const char *text, struct told *told);
/* Texts "1" to "n". */
void program_send_numbers(struct connectd *c, const char *dest, uint64_t first, uint64_t last, struct told *told);
/* Go on until everything sent has its final call. */
void program_flush(struct connectd *c);

/* Consumers without call-back. credit 0: as the library chooses. */
struct connectd_consumer *program_consume(struct connectd *c, const char *queue, uint32_t credit);
struct connectd_consumer *program_consume_alone(struct connectd *c, const char *queue);
struct connectd_msg *program_take(struct connectd *c);
const char *program_text(const struct connectd_msg *m);
/* The next message has this text, this many deliveries, and is flagged redelivered from the second on. The caller acks it. */
struct connectd_msg *program_expect(struct connectd *c, const char *text, uint32_t attempt);
void program_ack(struct connectd *c, struct connectd_msg *m); /* and unref */
/* Texts "first" to "last" come in order, each for the first time, and are acked. */
void program_expect_numbers(struct connectd *c, uint64_t first, uint64_t last);

uint64_t program_clock_ms(void);

#endif
