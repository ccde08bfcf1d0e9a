/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree - a YAML text as a tree that remembers the line of everything.
 *
 * libcyaml fills structs but forgets where a value stood; checks that come
 * after it (is this MAC unicast?) still have to name the line.  So a text is
 * read twice: here by libyaml's events into a small tree, which serves for
 * line numbers, for the check against the schema and for mappings with free
 * keys; then by libcyaml into a struct (conf/load.h).
 */
#ifndef DROVER_CONF_TREE_H
#define DROVER_CONF_TREE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

#define TREE_DEPTH_MAX 8 /* our files need 5 */
#define TREE_NODES_MAX 16384
#define TREE_TEXT_MAX (256 * 1024)

enum tree_kind {
	TREE_SCALAR,
	TREE_LIST,
	TREE_MAP
};

struct tree_node {
	enum tree_kind kind;
	unsigned int line; /* 1.. */
	char *key;         /* in a map: this value's key */
	unsigned int key_line;
	size_t index; /* in a list: 0.. */
	char *value;  /* scalar: its text, without NUL inside */
	bool quoted;  /* scalar: written in quotes or as a block */
	struct tree_node *parent, *child, *last, *next;
};

struct tree {
	char *file; /* for error texts */
	struct tree_node *root;
	size_t n_nodes;
};

/**
 * tree_parse() - read one YAML document
 *
 * Refuses what a configuration has no use for and an attacker has: aliases,
 * several documents, deep nesting, huge texts, keys that are not scalars.
 * Return: 0 and *@out (tree_free()), -EINVAL or -ENOMEM.
 */
int tree_parse(const char *file, const char *text, size_t len, struct tree **out,
	       struct err *e);
void tree_free(struct tree *t);

/** tree_get() - the value of @key in map @n, or NULL (also when @n is NULL or no map) */
const struct tree_node *tree_get(const struct tree_node *n, const char *key);

/** tree_at() - element @index of list @n, or NULL */
const struct tree_node *tree_at(const struct tree_node *n, size_t index);

/** tree_fail() - fill @e with "file:line: path.to.field: text"; returns -EINVAL */
int tree_fail(const struct tree *t, const struct tree_node *n, struct err *e,
	      const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/** tree_nomem() - fill @e with "file: out of memory"; returns -ENOMEM */
int tree_nomem(const char *file, struct err *e);

/**
 * tree_read_file() - the whole text of @path ("-": standard input)
 * Return: 0 and a string to free() in *@text, or a negative errno with "path: reason".
 */
int tree_read_file(const char *path, char **text, size_t *len, struct err *e);

#endif
