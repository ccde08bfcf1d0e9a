/* SPDX-License-Identifier: Apache-2.0 */
/*
 * completion - what may stand on a line of drover, by the tables of verbs and options.
 *
 * What bash is given is small and asks back with the words of the line, so that it never differs from the command that is
 * installed.  bash splits "--node=n" into three words; here that is put together again.
 */
#include "cmd/drover/names.h"
#include "cmd/drover/options.h"
#include "cmd/drover/verbs.h"

#include "conf/check.h"

#include <stdlib.h>
#include <string.h>

#define PATIENCE_S 1
#define POSITIONS_MAX 16

static const char script[] =
	"# bash completion for drover; zsh: autoload -Uz bashcompinit && bashcompinit, then this\n"
	"_drover()\n"
	"{\n"
	"\tlocal IFS=$'\\n' cur=${COMP_WORDS[COMP_CWORD]} n=$((COMP_CWORD + 1)) word\n"
	"\tCOMPREPLY=()\n"
	"\tfor word in $(command drover completion bash -- \"${COMP_WORDS[@]:0:$n}\" 2>/dev/null); do\n"
	"\t\tif [ \"$word\" = :file ]; then\n"
	"\t\t\t[ \"$cur\" = \"=\" ] && cur=\n"
	"\t\t\tcompopt -o filenames 2>/dev/null\n"
	"\t\t\tCOMPREPLY+=($(compgen -f -- \"$cur\"))\n"
	"\t\telse\n"
	"\t\t\tCOMPREPLY+=(\"$word\")\n"
	"\t\tfi\n"
	"\tdone\n"
	"}\n"
	"complete -F _drover drover\n";

struct line {
	verb_at_fn verb_at;
	const char *last;            /* what is to be completed, "" = nothing yet */
	const struct option_row *of; /* ... and the option whose value it is, or NULL */
	const char *socket;          /* --socket on the line */
	char *at[POSITIONS_MAX];     /* words before it that are no options */
	int n;
	bool only_words; /* "--" was there */
};

static void offer(const struct line *l, const char *word)
{
	if (strncmp(word, l->last, strlen(l->last)) == 0)
		puts(word);
}

/* ------------------------------------------------------------------- names */

/* The names in the list that droverd has at @path. */
static void offer_names(const struct line *l, const char *path)
{
	struct http *http = http_open(l->socket, PATIENCE_S);
	struct err e = { 0 };
	json_t *list = NULL, *o;
	size_t i;

	if (http && http_request(http, "GET", path, NULL, 0, &list, &e) == EXIT_OK)
		json_array_foreach(list, i, o)
			if (is_name(str_of(o, "name"), CHECK_NAME_MAX)) /* bash would obey others */
				offer(l, str_of(o, "name"));
	json_decref(list);
	http_close(http);
}

/* What a table says that stands here: one of its words for kinds, or the very words that may. */
static void offer_kind(const struct line *l, const char *kind)
{
	static const struct {
		const char *kind, *path; /* NULL: files */
	} known[] = {
		{ "NAME", "domains" },
		{ "NODE", "nodes" },
		{ "HOST:PRIO,...", "nodes" },
		{ "GROUP", "ha/groups" },
		{ "FILE", NULL },
		{ "PATH", NULL },
		{ "IMAGE", NULL },
		{ "NEW", NULL },
	};
	char copy[ARG_KIND_MAX], *rest = copy, *word;
	size_t i;

	snprintf(copy, sizeof(copy), "%s", kind);
	while ((word = strsep(&rest, "|")) != NULL) {
		for (i = 0; i < sizeof(known) / sizeof(known[0]) && strcmp(known[i].kind, word) != 0; i++)
			;
		if (i == sizeof(known) / sizeof(known[0])) {
			if (*word >= 'a' && *word <= 'z')
				offer(l, word);
		} else if (known[i].path) {
			offer_names(l, known[i].path);
		} else {
			puts(":file");
		}
	}
}

/* ------------------------------------------------------------------- words */

static const struct option_row *option_named(const char *word)
{
	const struct option_row *r;
	size_t i;

	for (i = 0; (r = option_at(i)) != NULL; i++)
		if ((word[0] == '-' && word[1] == '-' && strcmp(word + 2, r->name) == 0) ||
		    (word[0] == '-' && word[1] == r->letter && !word[2]))
			return r;
	return NULL;
}

/* One word before the last.  Return: the option whose value comes next, or NULL. */
static const struct option_row *take_word(struct line *l, char *word, const struct option_row *of)
{
	if (of) {
		if (strcmp(of->name, "socket") == 0)
			l->socket = word;
		return NULL;
	}
	if (!l->only_words && strcmp(word, "--") == 0) {
		l->only_words = true;
	} else if (!l->only_words && word[0] == '-') {
		of = option_named(word);
		return of && of->value ? of : NULL;
	} else if (l->n < POSITIONS_MAX) {
		l->at[l->n++] = word;
	}
	return NULL;
}

static void read_line(struct line *l, int argc, char **argv)
{
	const struct option_row *of = NULL;
	int i;

	for (i = 0; i + 1 < argc; i++)
		if (!of || strcmp(argv[i], "=") != 0)
			of = take_word(l, argv[i], of);
	l->of = of;
	l->last = argc ? argv[argc - 1] : "";
	if (of && strcmp(l->last, "=") == 0)
		l->last = "";
}

static void offer_options(const struct line *l, const struct verb *v)
{
	unsigned int takes = TAKEN_EVERYWHERE | (v ? v->takes : 0);
	const struct option_row *r;
	char word[64];
	size_t i;

	for (i = 0; (r = option_at(i)) != NULL; i++) {
		if (!(r->takes & takes) || (r->letter == 'o' && v && v->takes & TAKES_NO_JSON))
			continue;
		snprintf(word, sizeof(word), "--%s", r->name);
		offer(l, word);
	}
}

/* The next word of each verb that begins with the words there are, from the @from-th on. */
static void offer_verbs(const struct line *l, int from)
{
	const struct verb *v;
	char word[32], said[32] = "";
	size_t i, len;
	const char *p;
	int k;

	for (i = 0; (v = l->verb_at(i)) != NULL; i++) {
		for (p = v->words, k = from; k < l->n; k++, p += len + 1) {
			len = strlen(l->at[k]);
			if (strncmp(p, l->at[k], len) != 0 || p[len] != ' ')
				break;
		}
		if (k < l->n)
			continue;
		snprintf(word, sizeof(word), "%.*s", (int)strcspn(p, " "), p);
		if (strcmp(word, said) != 0) /* those that begin alike stand together */
			offer(l, word);
		snprintf(said, sizeof(said), "%s", word);
	}
	if (l->n == 0) {
		offer(l, "help");
		offer(l, "version");
	}
}

static void complete(const struct line *l)
{
	const struct verb *v;
	char kind[ARG_KIND_MAX];
	int used;

	if (l->of) {
		offer_kind(l, l->of->value);
		return;
	}
	v = verb_match(l->verb_at, l->n, (char **)l->at, &used);
	if (l->last[0] == '-' && !l->only_words) {
		offer_options(l, v);
	} else if (l->n && strcmp(l->at[0], "help") == 0) {
		offer_verbs(l, 1);
	} else if (!v) {
		offer_verbs(l, 0);
	} else {
		arg_kind(v, l->n - used, kind);
		offer_kind(l, kind);
	}
}

int verb_completion(struct drover *d)
{
	struct line l = { .verb_at = d->verb_at, .socket = d->opt.socket };

	if (d->argc == 0) {
		fputs(script, stdout);
		return EXIT_OK;
	}
	read_line(&l, d->argc - 1, d->argv + 1);
	complete(&l);
	return EXIT_OK;
}
