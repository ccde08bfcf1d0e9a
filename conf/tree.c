/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree - built from libyaml's events, one at a time, without recursion: the
 * node being filled is `at`, and each start or end event moves it down or up.
 */
#include "conf/tree.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

struct builder {
	struct tree *t;
	const char *text;
	struct tree_node *at; /* the list or map being filled; NULL at the top */
	char *key;            /* a map's key whose value has not come yet */
	unsigned int key_line;
	unsigned int depth;
	bool done; /* one document has ended */
};

static int tree_fail_line(const struct tree *t, unsigned int line, struct err *e, const char *what)
{
	return err_set(e, -EINVAL, "%s:%u: %s", t->file, line, what);
}

static void node_free(struct tree_node *n)
{
	/* Depth is bounded by TREE_DEPTH_MAX, so recursion is too. */
	while (n) {
		struct tree_node *next = n->next;

		node_free(n->child);
		free(n->key);
		free(n->value);
		free(n);
		n = next;
	}
}

void tree_free(struct tree *t)
{
	if (!t)
		return;
	node_free(t->root);
	free(t->file);
	free(t);
}

/* Hang a new node where the next value belongs; takes over the builder's key. */
static struct tree_node *builder_add(struct builder *b, enum tree_kind kind, unsigned int line)
{
	struct tree_node *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	assert(!b->at || b->at->kind != TREE_SCALAR);
	assert(b->at || !b->t->root);
	n->kind = kind;
	n->line = line;
	n->key = b->key;
	n->key_line = b->key_line;
	n->parent = b->at;
	b->key = NULL;
	b->t->n_nodes++;
	if (!b->at) {
		b->t->root = n;
	} else if (!b->at->child) {
		b->at->child = b->at->last = n;
	} else {
		n->index = b->at->last->index + 1;
		b->at->last->next = n;
		b->at->last = n;
	}
	return n;
}

static int builder_scalar(struct builder *b, const yaml_event_t *ev, unsigned int line,
			  struct err *e)
{
	const char *text = (const char *)ev->data.scalar.value;
	size_t len = ev->data.scalar.length;
	struct tree_node *n;
	char *copy;

	if (memchr(text, 0, len))
		return tree_fail_line(b->t, line, e, "a NUL character in a value");
	copy = strndup(text, len);
	if (!copy)
		return -ENOMEM;
	if (b->at && b->at->kind == TREE_MAP && !b->key) {
		b->key = copy;
		b->key_line = line;
		return 0;
	}
	n = builder_add(b, TREE_SCALAR, line);
	if (!n) {
		free(copy);
		return -ENOMEM;
	}
	n->value = copy;
	n->quoted = ev->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
	return 0;
}

static int builder_open(struct builder *b, enum tree_kind kind, unsigned int line, struct err *e)
{
	struct tree_node *n;

	if (b->at && b->at->kind == TREE_MAP && !b->key)
		return tree_fail_line(b->t, line, e, "a key must be a word, not a list or a mapping");
	if (++b->depth > TREE_DEPTH_MAX)
		return tree_fail_line(b->t, line, e, "nested too deeply");
	n = builder_add(b, kind, line);
	if (!n)
		return -ENOMEM;
	b->at = n;
	return 0;
}

static int builder_event(struct builder *b, const yaml_event_t *ev, struct err *e)
{
	unsigned int line = (unsigned int)ev->start_mark.line + 1;

	if (b->t->n_nodes >= TREE_NODES_MAX)
		return tree_fail_line(b->t, line, e, "too many values");
	switch (ev->type) {
	case YAML_SCALAR_EVENT:
		return builder_scalar(b, ev, line, e);
	case YAML_SEQUENCE_START_EVENT:
		return builder_open(b, TREE_LIST, line, e);
	case YAML_MAPPING_START_EVENT:
		return builder_open(b, TREE_MAP, line, e);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		assert(b->at && b->depth && !b->key); /* libyaml ends what it began */
		b->at = b->at->parent;
		b->depth--;
		return 0;
	case YAML_ALIAS_EVENT:
		return tree_fail_line(b->t, line, e, "aliases (*name) are not supported");
	case YAML_DOCUMENT_START_EVENT:
		if (b->done)
			return tree_fail_line(b->t, line, e, "a second document, expected only one");
		b->done = true;
		return 0;
	default:
		return 0;
	}
}

static unsigned int line_at(const char *text, size_t offset)
{
	unsigned int line = 1;

	while (offset-- > 0)
		line += *text++ == '\n';
	return line;
}

static int builder_problem(const struct builder *b, const yaml_parser_t *p, struct err *e)
{
	unsigned int line = (unsigned int)p->problem_mark.line + 1;

	if (p->error == YAML_MEMORY_ERROR)
		return -ENOMEM;
	/* The reader reads ahead of the parser's mark and gives an offset into the text only. */
	if (p->error == YAML_READER_ERROR)
		line = line_at(b->text, p->problem_offset);
	return err_set(e, -EINVAL, "%s:%u: not valid YAML: %s%s%s", b->t->file, line,
		       p->problem ? p->problem : "unreadable", p->context ? ", " : "",
		       p->context ? p->context : "");
}

static int builder_run(struct builder *b, yaml_parser_t *p, struct err *e)
{
	bool end = false;

	while (!end) {
		yaml_event_t ev;
		int rc;

		if (!yaml_parser_parse(p, &ev))
			return builder_problem(b, p, e);
		rc = builder_event(b, &ev, e);
		end = ev.type == YAML_STREAM_END_EVENT;
		yaml_event_delete(&ev);
		if (rc)
			return rc;
	}
	if (!b->t->root)
		return tree_fail_line(b->t, 1, e, "the file is empty");
	return 0;
}

int tree_nomem(const char *file, struct err *e)
{
	return err_set(e, -ENOMEM, "%s: out of memory", file);
}

int tree_parse(const char *file, const char *text, size_t len, struct tree **out, struct err *e)
{
	struct builder b = { .text = text };
	yaml_parser_t parser;
	int rc;

	*out = NULL;
	b.t = calloc(1, sizeof(*b.t));
	if (!b.t || !(b.t->file = strdup(file))) {
		free(b.t);
		return tree_nomem(file, e);
	}
	if (len > TREE_TEXT_MAX) {
		rc = err_set(e, -EINVAL, "%s:1: %zu bytes, at most %d are read", file, len,
			     TREE_TEXT_MAX);
		goto out_tree;
	}
	if (!yaml_parser_initialize(&parser)) {
		rc = tree_nomem(file, e);
		goto out_tree;
	}
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
	rc = builder_run(&b, &parser, e);
	if (rc == -ENOMEM)
		tree_nomem(file, e);
	yaml_parser_delete(&parser);
	free(b.key);
	if (rc)
		goto out_tree;
	*out = b.t;
	return 0;
out_tree:
	tree_free(b.t);
	return rc;
}

const struct tree_node *tree_get(const struct tree_node *n, const char *key)
{
	if (!n || n->kind != TREE_MAP)
		return NULL;
	for (n = n->child; n; n = n->next)
		if (!strcmp(n->key, key))
			return n;
	return NULL;
}

const struct tree_node *tree_at(const struct tree_node *n, size_t index)
{
	if (!n || n->kind != TREE_LIST)
		return NULL;
	for (n = n->child; n; n = n->next)
		if (n->index == index)
			return n;
	return NULL;
}

/* "disks[1].path" */
static void node_path(const struct tree_node *n, char *buf, size_t len)
{
	const struct tree_node *way[TREE_DEPTH_MAX + 2];
	size_t depth = 0, used = 0;

	for (; n && n->parent && depth < TREE_DEPTH_MAX + 2; n = n->parent)
		way[depth++] = n;
	buf[0] = '\0';
	while (depth-- > 0 && used < len) {
		n = way[depth];
		if (n->key)
			used += (size_t)snprintf(buf + used, len - used, "%s%.64s",
						 used ? "." : "", n->key);
		else
			used += (size_t)snprintf(buf + used, len - used, "[%zu]", n->index);
	}
}

int tree_fail(const struct tree *t, const struct tree_node *n, struct err *e, const char *fmt, ...)
{
	char path[256];
	unsigned int line = n->kind != TREE_SCALAR && n->key ? n->key_line : n->line;
	va_list ap;

	node_path(n, path, sizeof(path));
	va_start(ap, fmt);
	err_vset(e, -EINVAL, fmt, ap);
	va_end(ap);
	if (path[0])
		err_prefix(e, "%s", path);
	err_prefix(e, "%s:%u", t->file, line);
	return -EINVAL;
}

int tree_read_file(const char *path, char **text, size_t *len, struct err *e)
{
	bool stdin_wanted = !strcmp(path, "-");
	int fd = stdin_wanted ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	size_t used = 0;
	char *buf = NULL;
	int rc = 0;

	if (fd < 0)
		return err_errno(e, "%s", path);
	buf = malloc(TREE_TEXT_MAX + 1);
	if (!buf) {
		rc = tree_nomem(path, e);
		goto out;
	}
	while (used <= TREE_TEXT_MAX) {
		ssize_t n = read(fd, buf + used, TREE_TEXT_MAX + 1 - used);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			rc = err_errno(e, "%s", path);
		if (n <= 0)
			break;
		used += (size_t)n;
	}
	if (!rc && used > TREE_TEXT_MAX)
		rc = err_set(e, -EINVAL, "%s: more than %d bytes, not a configuration file", path,
			     TREE_TEXT_MAX);
out:
	if (!stdin_wanted)
		close(fd);
	if (rc) {
		free(buf);
		return rc;
	}
	*text = buf;
	*len = used;
	return 0;
}
