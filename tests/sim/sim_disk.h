/*
 * sim_disk: the disk door on virtual disks, and what a harness can do to them
 * beyond what their users see. A machine is a folder that was opened; its disk
 * outlives the daemons that use it. After a crash every folder and file that
 * was open before is dead: each call fails (-EIO) and changes nothing.
 */
#ifndef SIM_DISK_H
#define SIM_DISK_H

#include <stdbool.h>
#include <stdint.h>

struct vdisk;

enum sim_disk_call {
	SIM_DISK_NAME, /* open, create, rename, remove, list */
	SIM_DISK_READ,
	SIM_DISK_WRITE,
	SIM_DISK_ALLOCATE, /* and truncate */
	SIM_DISK_SYNC,     /* of a file or a folder */
	SIM_DISK_CALLS
};

/* Counted down from here on, 1: the next call of that kind; 0: never. What has happened is 0 again. */
struct sim_disk_faults {
	uint64_t fail[SIM_DISK_CALLS]; /* -EIO */
	uint64_t crash; /* at the so many-th call of any kind, part of which may have been done */
};

struct sim_disk_machine;

void sim_disk_reset(void);
/* The machine whose folder is opened under this path; made if need be. */
struct sim_disk_machine *sim_disk_machine(const char *path);
struct vdisk *sim_disk_vdisk(struct sim_disk_machine *m);
/* Takes v over; what was open is dead. */
void sim_disk_set_vdisk(struct sim_disk_machine *m, struct vdisk *v);
struct sim_disk_faults *sim_disk_faults(struct sim_disk_machine *m);
uint64_t sim_disk_calls(const struct sim_disk_machine *m);
/* Calls of this kind that failed because the harness wanted it. */
uint64_t sim_disk_failed(const struct sim_disk_machine *m, enum sim_disk_call call);
/* Was the fault `crash` reached? Until sim_disk_kill or sim_disk_power_cut. */
bool sim_disk_is_dead(const struct sim_disk_machine *m);

/* The process is gone, the machine is not. */
void sim_disk_kill(struct sim_disk_machine *m);
/* The machine has lost its power; what is drawn comes from seed. */
void sim_disk_power_cut(struct sim_disk_machine *m, uint64_t seed);

/*
 * Call fn where a crash could be: before each call, in the midst of a write,
 * and behind each sync. It may clone the disk. NULL: no more.
 */
void sim_disk_watch(struct sim_disk_machine *m, void (*fn)(void *arg), void *arg);

#endif
