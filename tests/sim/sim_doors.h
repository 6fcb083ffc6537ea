/* sim_doors: what the simulator can do to its virtual doors beyond what their users see. */
#ifndef SIM_DOORS_H
#define SIM_DOORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;

/* ---- network ---- */

void sim_net_reset(void);
/* Connections between daemons (link) or of clients, that are up now. */
size_t sim_net_count(bool links);
/* End the i-th of them: some prefix of what is on its way arrives, then both ends learn of it, each in its own time. */
void sim_net_cut(bool links, size_t i);
/* Nothing passes any more, and nobody is told. */
void sim_net_freeze(bool links, size_t i);
/* Everything of this loop's connections vanishes without a word: the machine is gone. */
void sim_net_vanish(struct loop *l);
/* No dial between daemons succeeds until then. */
void sim_net_partition(uint64_t until_ns);
/* Bytes take up to so long. */
void sim_net_slow(uint64_t max_ns);
/* All is well from here on; frozen connections end. */
void sim_net_heal(void);

/* ---- the library's io ---- */

/* The client whose handle is being made: ready(arg) is called, in time, when there is something to process. */
void sim_io_owner(void (*ready)(void *arg), void *arg);
/* The process is killed: its socket ends, every call fails. */
struct io;
void sim_io_kill(struct io *io);
/* The io of the handle that was opened last. */
struct io *sim_io_last(void);

#endif
