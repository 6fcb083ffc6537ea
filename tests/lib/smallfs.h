/*
 * smallfs: a small file system for a node's state folder, in a mount namespace
 * of the test, with which it goes. Needs root; says so where it cannot be had.
 */
#ifndef SMALLFS_H
#define SMALLFS_H

#include <stdbool.h>
#include <stdint.h>

#include "node.h"

enum smallfs_kind { SMALLFS_NONE, SMALLFS_TMPFS, SMALLFS_EXT4 };

/* Before the node's first start. False: not root, or no such file system here. */
bool smallfs_mount(const struct node *n, enum smallfs_kind kind, unsigned mib);
/* A foreign file takes all that is free, but for so many bytes; and gives it back. */
void smallfs_eat(const struct node *n, uint64_t leave);
void smallfs_give_back(const struct node *n);

#endif
