/* proc: what the kernel says of another process. */
#ifndef PROC_H
#define PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Memory checkers keep what was freed: sizes of processes mean nothing under them. */
#if defined(__SANITIZE_ADDRESS__)
#define PROC_MEMORY_COUNTS false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PROC_MEMORY_COUNTS false
#endif
#endif
#ifndef PROC_MEMORY_COUNTS
#define PROC_MEMORY_COUNTS true
#endif

/* Bytes of memory it has now, and had at most since proc_reset_peak. */
uint64_t proc_memory(pid_t pid);
uint64_t proc_peak(pid_t pid);
void proc_reset_peak(pid_t pid);
/* How often its threads waited for something, together. */
uint64_t proc_waits(pid_t pid);
/* CPU time of all its threads, in ms; it is counted in tens. */
uint64_t proc_cpu_ms(pid_t pid);
/* How long its first thread could have run, and others did, in ms; 0 if the kernel does not count it. */
uint64_t proc_starved_ms(pid_t pid);
/* Is its first thread asleep in a system call? */
bool proc_is_asleep(pid_t pid);

#endif
