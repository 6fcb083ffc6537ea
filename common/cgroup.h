/*
 * cgroup: in which system unit of systemd a process is, from what the kernel
 * says in /proc/PID/cgroup and /proc/PID/status. Pure.
 *
 * Only systemd itself makes units below /system.slice: their names are the
 * administrator's. What users run (below /user.slice, and whatever a user
 * manager makes) is in no unit here, however it is called.
 */
#ifndef CGROUP_H
#define CGROUP_H

#include <stdbool.h>
#include <stdint.h>

#define CGROUP_UNIT_MAX 255 /* bytes of a unit's name */

/*
 * The unit, from the text of /proc/PID/cgroup: of the unified hierarchy, and of
 * that of systemd under version 1; if both say something they must agree.
 * False, and ret is "": in none, or it is not known for sure.
 */
bool cgroup_unit(const char *text, char ret[static CGROUP_UNIT_MAX + 1]);

/* Does the process act as this user, by the text of /proc/PID/status? */
bool cgroup_is_user(const char *text, uint32_t uid);

#endif
