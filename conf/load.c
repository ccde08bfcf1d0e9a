/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load - one small check per kind of schema value, then libcyaml.
 *
 * Stricter than libcyaml where it is lenient: it takes any word that is not
 * "false" for true, 0x10 and 010 for numbers, and a key written twice.
 */
#include "conf/load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_MAX 64

static int check_value(const struct tree *t, const struct tree_node *n,
		       const cyaml_schema_value_t *s, struct err *e);

/* Edits (insert, drop, change) that turn @a into @b: Levenshtein, one row. */
static size_t word_distance(const char *a, const char *b)
{
	size_t row[KEY_MAX + 1], lb = strnlen(b, KEY_MAX);

	for (size_t j = 0; j <= lb; j++)
		row[j] = j;
	for (size_t i = 0; i < KEY_MAX && a[i]; i++) {
		size_t diagonal = row[0];

		row[0] = i + 1;
		for (size_t j = 1; j <= lb; j++) {
			size_t best = diagonal + (a[i] != b[j - 1]);

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[lb];
}

static const char *nearest_key(const char *key, const cyaml_schema_field_t *f)
{
	size_t best = 3; /* farther away it is a different word */
	const char *name = NULL;

	for (; f->key; f++) {
		size_t d = word_distance(key, f->key);

		if (d < best && d < strlen(f->key)) {
			best = d;
			name = f->key;
		}
	}
	return name;
}

static const cyaml_schema_field_t *find_field(const cyaml_schema_field_t *f, const char *key)
{
	for (; f->key; f++)
		if (!strcmp(f->key, key))
			return f;
	return NULL;
}

static int fail_unknown_key(const struct tree *t, const struct tree_node *n,
			    const cyaml_schema_field_t *fields, struct err *e)
{
	const char *near = nearest_key(n->key, fields);
	char known[256] = "";
	size_t used = 0;

	if (near)
		return tree_fail(t, n, e, "unknown key, did you mean '%s'?", near);
	for (const cyaml_schema_field_t *f = fields; f->key && used < sizeof(known); f++)
		used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s",
					 used ? ", " : "", f->key);
	return tree_fail(t, n, e, "unknown key, expected one of %s", known);
}

static int check_map(const struct tree *t, const struct tree_node *n,
		     const cyaml_schema_value_t *s, struct err *e)
{
	const cyaml_schema_field_t *f;

	if (n->kind != TREE_MAP)
		return tree_fail(t, n, e, "expected keys with values below it");
	for (const struct tree_node *c = n->child; c; c = c->next) {
		f = find_field(s->mapping.fields, c->key);
		if (!f)
			return fail_unknown_key(t, c, s->mapping.fields, e);
		if (tree_get(n, c->key) != c)
			return tree_fail(t, c, e, "given twice, first in line %u",
					 tree_get(n, c->key)->key_line);
		if (check_value(t, c, &f->value, e))
			return -EINVAL;
	}
	for (f = s->mapping.fields; f->key; f++)
		if (!(f->value.flags & CYAML_FLAG_OPTIONAL) && !tree_get(n, f->key))
			return tree_fail(t, n, e, "'%s' is missing", f->key);
	return 0;
}

static int check_list(const struct tree *t, const struct tree_node *n,
		      const cyaml_schema_value_t *s, struct err *e)
{
	size_t count = 0;

	if (n->kind != TREE_LIST)
		return tree_fail(t, n, e, "expected a list, one '- ' for each");
	for (const struct tree_node *c = n->child; c; c = c->next) {
		if (++count > s->sequence.max)
			return tree_fail(t, c, e, "too many, at most %u", s->sequence.max);
		if (check_value(t, c, s->sequence.entry, e))
			return -EINVAL;
	}
	return 0;
}

static int check_string(const struct tree *t, const struct tree_node *n,
			const cyaml_schema_value_t *s, struct err *e)
{
	size_t len = strlen(n->value);

	/* YAML's words for nothing; "~" in quotes is a text. */
	if (!n->quoted && (!strcmp(n->value, "~") || !strcasecmp(n->value, "null")))
		return tree_fail(t, n, e, "is null, expected a value, or the key left out");
	if (len < s->string.min)
		return tree_fail(t, n, e, "is empty, expected a value");
	if (len > s->string.max)
		return tree_fail(t, n, e, "%zu characters, at most %u", len, s->string.max);
	return 0;
}

static int check_number(const struct tree *t, const struct tree_node *n, struct err *e)
{
	size_t len = strlen(n->value);

	if (!len || len > 9 || n->value[strspn(n->value, "0123456789")] ||
	    (len > 1 && n->value[0] == '0'))
		return tree_fail(t, n, e, "got '%.40s', expected a whole number", n->value);
	return 0;
}

static int check_bool(const struct tree *t, const struct tree_node *n, struct err *e)
{
	if (strcmp(n->value, "true") && strcmp(n->value, "false"))
		return tree_fail(t, n, e, "got '%.40s', expected true or false", n->value);
	return 0;
}

static int check_enum(const struct tree *t, const struct tree_node *n,
		      const cyaml_schema_value_t *s, struct err *e)
{
	char known[256] = "";
	size_t used = 0;

	for (uint32_t i = 0; i < s->enumeration.count; i++) {
		const char *word = s->enumeration.strings[i].str;

		if (!strcmp(n->value, word))
			return 0;
		if (used < sizeof(known))
			used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s",
						 used ? ", " : "", word);
	}
	return tree_fail(t, n, e, "got '%.40s', expected one of %s", n->value, known);
}

static int check_value(const struct tree *t, const struct tree_node *n,
		       const cyaml_schema_value_t *s, struct err *e)
{
	if (s->type == CYAML_IGNORE)
		return 0;
	if (s->type == CYAML_MAPPING)
		return check_map(t, n, s, e);
	if (s->type == CYAML_SEQUENCE)
		return check_list(t, n, s, e);
	if (n->kind != TREE_SCALAR)
		return tree_fail(t, n, e, "expected one value, got a %s",
				 n->kind == TREE_LIST ? "list" : "mapping");
	switch (s->type) {
	case CYAML_STRING:
		return check_string(t, n, s, e);
	case CYAML_UINT:
		return check_number(t, n, e);
	case CYAML_BOOL:
		return check_bool(t, n, e);
	case CYAML_ENUM:
		return check_enum(t, n, s, e);
	default:
		return tree_fail(t, n, e, "no check for schema type %d", (int)s->type);
	}
}

/* libcyaml logs the error first, then a backtrace with "(line: 3, column: 9)". */
struct cyaml_note {
	char text[160];
	unsigned int line;
};

static void note_log(cyaml_log_t level, void *ctx, const char *fmt, va_list ap)
{
	struct cyaml_note *note = ctx;
	char line[256];
	const char *at;

	(void)level;
	vsnprintf(line, sizeof(line), fmt, ap);
	line[strcspn(line, "\n")] = '\0';
	if (!note->text[0])
		snprintf(note->text, sizeof(note->text), "%.159s", line);
	at = strstr(line, "(line: ");
	if (at && !note->line)
		note->line = (unsigned int)strtoul(at + strlen("(line: "), NULL, 10);
}

static cyaml_config_t make_config(struct cyaml_note *note)
{
	return (cyaml_config_t){
		.log_fn = note ? note_log : NULL,
		.log_ctx = note,
		.mem_fn = cyaml_mem,
		.log_level = CYAML_LOG_ERROR,
		.flags = CYAML_CFG_NO_ALIAS,
	};
}

static int load_fill(const struct tree *t, const char *text, size_t len,
		     const cyaml_schema_value_t *schema, void **raw, struct err *e)
{
	struct cyaml_note note = { 0 };
	cyaml_config_t config = make_config(&note);
	cyaml_err_t rc;

	*raw = NULL;
	if (check_value(t, t->root, schema, e))
		return -EINVAL;
	rc = cyaml_load_data((const uint8_t *)text, len, &config, schema, raw, NULL);
	if (rc == CYAML_OK && *raw)
		return 0;
	if (rc == CYAML_ERR_OOM)
		return tree_nomem(t->file, e);
	return err_set(e, -EINVAL, "%s:%u: %s (%s)", t->file, note.line ? note.line : 1,
		       note.text, cyaml_strerror(rc));
}

static void load_free(const cyaml_schema_value_t *schema, void *raw)
{
	cyaml_config_t config = make_config(NULL);

	if (raw)
		cyaml_free(&config, schema, raw, 0);
}

/*
 * What an editor of another system puts in front (YAML 1.2 5.2).  The mark of UTF-8 is taken off;
 * the others say that the rest is in no encoding that is read here.
 */
static int skip_mark(const char *name, const char **text, size_t *len, struct err *e)
{
	if (*len >= 3 && memcmp(*text, "\xef\xbb\xbf", 3) == 0) {
		*text += 3;
		*len -= 3;
	} else if (*len >= 2 && (memcmp(*text, "\xff\xfe", 2) == 0 || memcmp(*text, "\xfe\xff", 2) == 0)) {
		return err_set(e, -EINVAL, "%s:1: is written in UTF-16 or UTF-32, expected UTF-8", name);
	}
	return 0;
}

int load_text(const struct load_kind *kind, const char *name, const char *text, size_t len,
	      void **out, struct err *e)
{
	struct tree *t;
	void *raw;
	int rc;

	*out = NULL;
	rc = skip_mark(name, &text, &len, e);
	if (rc)
		return rc;
	rc = tree_parse(name, text, len, &t, e);
	if (rc)
		return rc;
	rc = load_fill(t, text, len, kind->schema, &raw, e);
	if (!rc)
		rc = kind->build(t, raw, out, e);
	load_free(kind->schema, raw);
	tree_free(t);
	return rc;
}

int load_file(const struct load_kind *kind, const char *path, void **out, struct err *e)
{
	char *text;
	size_t len;
	int rc;

	*out = NULL;
	rc = tree_read_file(path, &text, &len, e);
	if (rc)
		return rc;
	rc = load_text(kind, strcmp(path, "-") ? path : "standard input", text, len, out, e);
	free(text);
	return rc;
}
