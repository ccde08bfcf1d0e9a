/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table - aligned columns, and numbers as people read them.
 */
#include "cmd/drover/drover.h"

#include "base/text.h"

#include <stdlib.h>
#include <string.h>

struct table {
	int columns;
	size_t n;
	char **cells; /* n * columns */
	int width[TABLE_COLUMNS_MAX];
};

struct table *table_make(int columns, const char *const *heads)
{
	struct table *t = calloc(1, sizeof(*t));

	if (!t)
		abort();
	t->columns = columns;
	table_row(t, heads);
	return t;
}

void table_row(struct table *t, const char *const *cells)
{
	char **grown = reallocarray(t->cells, (t->n + 1) * (size_t)t->columns, sizeof(*grown));
	int i, len;

	if (!grown)
		abort();
	t->cells = grown;
	for (i = 0; i < t->columns; i++) {
		grown[t->n * (size_t)t->columns + (size_t)i] =
			strdup(cells[i] && *cells[i] ? cells[i] : "-");
		len = cells[i] && *cells[i] ? (int)strlen(cells[i]) : 1;
		if (len > t->width[i])
			t->width[i] = len;
	}
	t->n++;
}

void table_print(struct table *t, FILE *to)
{
	size_t row;
	char *cell;
	int i;

	for (row = 0; row < t->n; row++) {
		for (i = 0; i < t->columns; i++) {
			cell = t->cells[row * (size_t)t->columns + (size_t)i];
			if (i + 1 < t->columns)
				fprintf(to, "%-*s  ", t->width[i], cell ? cell : "-");
			else
				fprintf(to, "%s\n", cell ? cell : "-");
			free(cell);
		}
	}
	free(t->cells);
	free(t);
}

const char *format_size(double bytes, char buf[32])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	int i = 0;

	while (bytes >= 1024 && i < 5) {
		bytes /= 1024;
		i++;
	}
	snprintf(buf, 32, bytes == (double)(long)bytes || bytes >= 100 ? "%.0f %s" : "%.1f %s", bytes,
		 units[i]);
	return buf;
}

const char *format_ms(double ms, char buf[32])
{
	if (ms < 10)
		snprintf(buf, 32, "%.1f ms", ms);
	else if (ms < 1000)
		snprintf(buf, 32, "%.0f ms", ms);
	else
		snprintf(buf, 32, "%.2f s", ms / 1000);
	return buf;
}

/* droverd passes on what hosts, VMMs, agents and peers said; the cleaned text takes its place in @v. */
const char *text_of(json_t *v)
{
	char *s = json_is_string(v) ? strdup(json_string_value(v)) : NULL;

	if (!s)
		return "";
	text_clean(s);
	if (strcmp(s, json_string_value(v)) != 0)
		json_string_set(v, s);
	free(s);
	return json_string_value(v);
}

const char *str_of(json_t *o, const char *key)
{
	return text_of(json_object_get(o, key));
}

double num_of(json_t *o, const char *key)
{
	return json_number_value(json_object_get(o, key));
}

bool bool_of(json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

int print_json(json_t *o)
{
	json_dumpf(o, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII);
	putchar('\n');
	return EXIT_OK;
}

void print_json_line(json_t *o)
{
	json_dumpf(o, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
	putchar('\n');
}

/* Both must hold: corosync's quorum, which may be weaker (two_node), and a majority of all votes. */
const char *quorum_word(json_t *status, char buf[QUORUM_WORDS])
{
	double votes = num_of(status, "votes"), needed = num_of(status, "votes_needed");

	/* votequorum does not count the witness's. */
	if (!bool_of(status, "quorate") && !bool_of(json_object_get(status, "witness"), "votes"))
		return "lost";
	if (votes >= needed)
		return "OK";
	if (!bool_of(status, "quorate"))
		return "lost";
	snprintf(buf, QUORUM_WORDS, "lost: corosync says yes, but droverd runs with %.0f of %.0f votes", votes,
		 needed);
	return buf;
}
