/* SPDX-License-Identifier: Apache-2.0 */
/*
 * progress - see progress.h.
 *
 * One table, name -> {"incarnation", "migration", "told_ms"}; what this host notes
 * and what it hears go into the same.
 */
#include "ha/shell/progress.h"

#include <stdlib.h>
#include <string.h>

#define DOMAINS_MAX 1024 /* names of removed domains stay; far above what a cluster holds */

struct progress {
	json_t *domains;
};

struct progress *progress_open(void)
{
	struct progress *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->domains = json_object();
	if (p->domains)
		return p;
	free(p);
	return NULL;
}

void progress_close(struct progress *p)
{
	if (!p)
		return;
	json_decref(p->domains);
	free(p);
}

static bool is(const json_t *o, const char *key, const char *value)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text && strcmp(text, value) == 0;
}

/* @migration is borrowed. */
static void keep(struct progress *p, const char *name, json_int_t incarnation, json_t *migration,
		 json_int_t told_ms)
{
	if (json_object_size(p->domains) >= DOMAINS_MAX && !json_object_get(p->domains, name))
		json_object_clear(p->domains);
	json_object_set_new(p->domains, name,
			    json_pack("{s:I, s:O, s:I}", "incarnation", incarnation,
				      "migration", migration, "told_ms", told_ms));
}

static bool due(const json_t *before, json_int_t incarnation, const json_t *migration,
		json_int_t now_ms)
{
	const char *phase = json_string_value(json_object_get(migration, "phase"));

	return !before || !phase ||
	       json_integer_value(json_object_get(before, "incarnation")) != incarnation ||
	       !is(json_object_get(before, "migration"), "phase", phase) ||
	       now_ms >= json_integer_value(json_object_get(before, "told_ms")) + PROGRESS_EVERY_MS;
}

size_t progress_note(struct progress *p, const char *name, uint64_t incarnation,
		     json_t *migration, uint64_t now_ms, char message[PROGRESS_MESSAGE_MAX])
{
	const json_t *before = json_object_get(p->domains, name);
	json_int_t told = (json_int_t)now_ms;
	bool tell;
	json_t *o;
	size_t n = 0;

	if (!is(migration, "role", "source"))
		return 0;
	tell = due(before, (json_int_t)incarnation, migration, told);
	if (!tell)
		told = json_integer_value(json_object_get(before, "told_ms"));
	keep(p, name, (json_int_t)incarnation, migration, told);
	if (!tell)
		return 0;
	o = json_pack("{s:{s:s, s:I, s:O}}", "progress", "name", name,
		      "incarnation", (json_int_t)incarnation, "migration", migration);
	if (o)
		n = json_dumpb(o, message, PROGRESS_MESSAGE_MAX, JSON_COMPACT);
	json_decref(o);
	return n <= PROGRESS_MESSAGE_MAX ? n : 0;
}

bool progress_is(const void *buf, size_t len)
{
	return len > 0 && *(const char *)buf == '{';
}

void progress_take(struct progress *p, const void *buf, size_t len,
		   bool (*known)(void *arg, const char *name), void *arg)
{
	json_t *o = NULL, *migration;
	json_int_t incarnation;
	const char *name;

	if (len <= PROGRESS_MESSAGE_MAX)
		o = json_loadb(buf, len, JSON_REJECT_DUPLICATES, NULL);
	if (json_unpack(o, "{s:{s:s, s:I, s:o}}", "progress", "name", &name, "incarnation",
			&incarnation, "migration", &migration) == 0 &&
	    is(migration, "role", "source") && known(arg, name))
		keep(p, name, incarnation, migration, 0);
	json_decref(o);
}

json_t *progress_get(const struct progress *p, const char *name, uint64_t a, uint64_t b)
{
	const json_t *o = json_object_get(p->domains, name);
	json_int_t incarnation = json_integer_value(json_object_get(o, "incarnation"));

	if (!o || (incarnation != (json_int_t)a && incarnation != (json_int_t)b))
		return NULL;
	return json_object_get(o, "migration");
}
