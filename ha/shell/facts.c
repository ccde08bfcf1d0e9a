/* SPDX-License-Identifier: Apache-2.0 */
/* facts - see facts.h: a row per host. */
#include "ha/shell/facts.h"

#include "base/text.h"

#include <stdlib.h>
#include <string.h>

#define HOSTS_MAX 256 /* those that were taken out since stay */
#define HEAD "{\"host\":"
#define BRAND_MAX 64

struct facts {
	struct {
		uint32_t node;
		json_t *cpu;
	} hosts[HOSTS_MAX];
	size_t n;
};

struct facts *facts_open(void)
{
	return calloc(1, sizeof(struct facts));
}

void facts_close(struct facts *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->n; i++)
		json_decref(f->hosts[i].cpu);
	free(f);
}

/* @cpu becomes ours. */
static void keep(struct facts *f, uint32_t node, json_t *cpu)
{
	size_t i;

	for (i = 0; i < f->n && f->hosts[i].node != node; i++)
		;
	if (i == HOSTS_MAX) {
		json_decref(cpu);
		return;
	}
	if (i == f->n)
		f->n++;
	f->hosts[i].node = node;
	json_decref(f->hosts[i].cpu);
	f->hosts[i].cpu = cpu;
}

static bool is_feature(const char *s)
{
	size_t n = s ? strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_.-") : 0;

	return n > 0 && n <= FACTS_NAME_MAX && !s[n];
}

/* A new list of what can be names in @list; NULL: that is no such list. */
static json_t *clean_features(const json_t *list)
{
	json_t *out, *one;
	size_t i;

	if (!json_is_array(list) || json_array_size(list) > FACTS_FEATURES_MAX)
		return NULL;
	out = json_array();
	json_array_foreach(list, i, one)
		if (is_feature(json_string_value(one)))
			json_array_append(out, one);
	return out;
}

static json_t *clean_cpu(const json_t *cpu)
{
	const char *vendor = json_string_value(json_object_get(cpu, "vendor"));
	const char *name = json_string_value(json_object_get(cpu, "name"));
	json_int_t bits = json_integer_value(json_object_get(cpu, "address_bits"));
	json_t *features = clean_features(json_object_get(cpu, "features"));
	char brand[BRAND_MAX], by[FACTS_NAME_MAX + 1];

	if (!features || !vendor || !name || bits < 0 || bits > 64) {
		json_decref(features);
		return NULL;
	}
	text_copy(brand, sizeof(brand), name);
	text_copy(by, sizeof(by), vendor);
	return json_pack("{s:s, s:s, s:I, s:o}", "vendor", by, "name", brand, "address_bits", bits, "features", features);
}

size_t facts_note(struct facts *f, uint32_t node, const json_t *cpu, char message[FACTS_MESSAGE_MAX])
{
	json_t *mine = cpu ? clean_cpu(cpu) : NULL, *o;
	size_t n = 0;

	if (!mine)
		return 0;
	o = json_pack("{s:{s:O}}", "host", "cpu", mine);
	if (o)
		n = json_dumpb(o, message, FACTS_MESSAGE_MAX, JSON_COMPACT);
	json_decref(o);
	keep(f, node, mine);
	return n <= FACTS_MESSAGE_MAX ? n : 0;
}

bool facts_is(const void *buf, size_t len)
{
	return len > strlen(HEAD) && memcmp(buf, HEAD, strlen(HEAD)) == 0;
}

void facts_take(struct facts *f, uint32_t node, const void *buf, size_t len)
{
	json_t *o = len <= FACTS_MESSAGE_MAX ? json_loadb(buf, len, JSON_REJECT_DUPLICATES, NULL) : NULL;
	json_t *cpu = clean_cpu(json_object_get(json_object_get(o, "host"), "cpu"));

	if (cpu)
		keep(f, node, cpu);
	json_decref(o);
}

json_t *facts_cpu(const struct facts *f, uint32_t node)
{
	for (size_t i = 0; i < f->n; i++)
		if (f->hosts[i].node == node)
			return f->hosts[i].cpu;
	return NULL;
}
