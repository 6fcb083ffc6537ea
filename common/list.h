/*
 * list: an intrusive doubly linked list. Header-only; a node lives inside the
 * object that is listed, so adding and removing never allocates. Initialise a
 * node (list_init) before its first list_remove; removing twice is harmless.
 */
#ifndef LIST_H
#define LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *prev, *next;
};

#define list_entry(node, type, member) ((type *)(void *)((char *)(node) - offsetof(type, member)))
#define LIST_FOREACH(node, head) for (struct list *node = (head)->next; node != (head); node = node->next)
/* The body may remove and free the node it is at. */
#define LIST_FOREACH_SAFE(node, head)                                                    \
	for (struct list *node = (head)->next, *node##_next = node->next; node != (head); \
	     node = node##_next, node##_next = node->next)

static inline void
list_init(struct list *l)
{
	l->prev = l->next = l;
}

static inline bool
list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void
list_insert_before(struct list *at, struct list *node)
{
	node->prev = at->prev;
	node->next = at;
	at->prev->next = node;
	at->prev = node;
}

static inline void
list_append(struct list *head, struct list *node)
{
	list_insert_before(head, node);
}

static inline void
list_prepend(struct list *head, struct list *node)
{
	list_insert_before(head->next, node);
}

static inline void
list_remove(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

/* First node, or NULL. */
static inline struct list *
list_first(const struct list *head)
{
	return list_empty(head) ? NULL : head->next;
}

/* Append everything of `from` to `to`; `from` ends empty. */
static inline void
list_splice(struct list *to, struct list *from)
{
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	from->prev->next = to;
	to->prev->next = from->next;
	to->prev = from->prev;
	list_init(from);
}

#endif
