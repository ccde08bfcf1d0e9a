/* SPDX-License-Identifier: Apache-2.0 */
/* names - see names.h. */
#include "cmd/drover/names.h"

#include "conf/check.h"

#include <string.h>

void arg_kind(const struct verb *v, int i, char kind[ARG_KIND_MAX])
{
	const char *p = v->args;

	for (; i > 0 && *p; i--) {
		p += strcspn(p, " ");
		p += *p == ' ';
	}
	p += *p == '[';
	snprintf(kind, ARG_KIND_MAX, "%.*s", (int)strcspn(p, " ]"), p);
}

/* Is the @i-th argument the name of a domain? */
static bool is_domain(const struct drover *d, const struct verb *v, int i)
{
	char kind[ARG_KIND_MAX];

	arg_kind(v, i, kind);
	return strcmp(kind, "NAME") == 0 || (strcmp(kind, "NAME|FILE") == 0 && !looks_like_file(d->argv[i]));
}

int names_check(const struct drover *d, const struct verb *v)
{
	int i, code = EXIT_OK;
	char kind[ARG_KIND_MAX];

	for (i = 0; i < d->argc && !code; i++) {
		arg_kind(v, i, kind);
		if (is_domain(d, v, i))
			code = name_check("name", d->argv[i]);
		else if (strcmp(kind, "GROUP") == 0)
			code = name_check("group", d->argv[i]);
		else if (strcmp(kind, "NODE") == 0)
			code = name_check("host", d->argv[i]);
	}
	if (!code && d->opt.group)
		code = name_check("--group", d->opt.group);
	if (!code && d->opt.node)
		code = name_check("--node", d->opt.node);
	return code;
}

static int resolve(struct drover *d, char **word)
{
	const char *name;
	json_t *o;
	int code = domain_get(d, *word, &o);

	if (code)
		return code;
	name = str_of(o, "name");
	if (strlen(name) < 1 || strlen(name) >= sizeof(d->name))
		code = say_error(EXIT_ERROR, "droverd's answer names no domain");
	snprintf(d->name, sizeof(d->name), "%s", name);
	*word = d->name;
	json_decref(o);
	return code;
}

int names_resolve(struct drover *d, const struct verb *v)
{
	uint8_t uuid[16];
	int i;

	for (i = 0; i < d->argc; i++) /* no verb takes two domains */
		if (is_domain(d, v, i) && uuid_parse(d->argv[i], uuid))
			return resolve(d, &d->argv[i]);
	return EXIT_OK;
}

/* How many of @argv's words are @v's, 0 when it is another verb. */
static int words_match(const char *words, int argc, char **argv)
{
	int n = 0;
	size_t len;

	for (;;) {
		len = strcspn(words, " ");
		if (n >= argc || strlen(argv[n]) != len || strncmp(argv[n], words, len) != 0)
			return 0;
		n++;
		if (!words[len])
			return n;
		words += len + 1;
	}
}

const struct verb *verb_match(verb_at_fn at, int argc, char **argv, int *used)
{
	const struct verb *best = NULL, *v;
	size_t i;
	int n;

	*used = 0;
	for (i = 0; (v = at(i)) != NULL; i++) {
		n = words_match(v->words, argc, argv);
		if (n > *used) {
			*used = n;
			best = v;
		}
	}
	return best;
}
