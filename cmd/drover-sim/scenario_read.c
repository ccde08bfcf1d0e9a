/* SPDX-License-Identifier: Apache-2.0 */
/* scenario_read - a story's lines: settings of the whole, and steps (scenario.c tells what is in them). */
#include "cmd/drover-sim/scenario_int.h"

#include "base/number.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool scenario_time(const char *w, uint64_t *us)
{
	char *end;
	double v = w ? strtod(w, &end) : -1;

	if (v < 0 || v > 86400 || *end)
		return false;
	*us = (uint64_t)(v * 1e6 + 0.5);
	return true;
}

static void free_words(struct scenario_line *l)
{
	for (uint32_t w = 0; w < l->n; w++)
		free(l->word[w]);
	l->n = 0;
}

/* The words of @text in @l, as many as there are: none in an empty line or a comment. False: more than fit. */
static bool split(struct scenario_line *l, char *text)
{
	char *save, *hash = strchr(text, '#');

	if (hash)
		*hash = 0;
	text[strcspn(text, "\n")] = 0;
	snprintf(l->text, sizeof(l->text), "%s", text + strspn(text, " \t"));
	for (char *w = strtok_r(text, " \t", &save); w; w = strtok_r(NULL, " \t", &save)) {
		if (l->n == SCENARIO_WORDS_MAX)
			return false;
		l->word[l->n++] = strdup(w);
	}
	return true;
}

/* What line @l says of the whole story; else it has to be a step of it. */
static bool setting(struct sim_opts *o, const struct scenario_line *l)
{
	uint64_t v;

	if (l->n != 2)
		return false;
	if (!strcmp(l->word[0], "hosts") && number_parse(l->word[1], 1, SIM_HOSTS, &v))
		o->hosts = (uint32_t)v;
	else if (!strcmp(l->word[0], "token") && number_parse(l->word[1], HA_TOKEN_MIN, HA_TOKEN_MAX, &v))
		o->token = (uint32_t)v;
	else if (!strcmp(l->word[0], "witness") && !strcmp(l->word[1], "on"))
		o->witness = true;
	else
		return false;
	return true;
}

/* A time, and what happens then: the time goes to @l's own place. */
static bool step(struct scenario_line *l)
{
	if (l->n < 2 || !scenario_time(l->word[0], &l->at))
		return false;
	free(l->word[0]);
	memmove(&l->word[0], &l->word[1], --l->n * sizeof(l->word[0]));
	l->word[l->n] = NULL;
	return true;
}

void scenario_free(struct script *sc)
{
	for (uint32_t i = 0; i <= sc->n; i++)
		free_words(&sc->line[i]);
}

/* Nothing of a story is passed over: an expectation that is not read always holds. */
static const char *read_line(struct script *sc, struct sim_opts *o, uint32_t number, char *text, bool whole)
{
	struct scenario_line *l = &sc->line[sc->n];

	memset(l, 0, sizeof(*l));
	l->number = number;
	if (!whole)
		return "longer than a line may be";
	if (!split(l, text))
		return "more words than a line may have";
	if (!l->n)
		return NULL;
	if (setting(o, l)) {
		free_words(l);
		return NULL;
	}
	if (!step(l))
		return "hosts, token, witness, or a time and what happens then";
	if (sc->n == SCENARIO_STEPS_MAX)
		return "more steps than a story may have";
	sc->n++;
	return NULL;
}

int scenario_read(struct script *sc, struct sim_opts *o, const char *path)
{
	FILE *f = fopen(path, "r");
	const char *wrong = NULL;
	char text[512];
	uint32_t number = 0;

	if (!f) {
		fprintf(stderr, "drover-sim: %s: %s\n", path, strerror(errno));
		return 3;
	}
	while (!wrong && fgets(text, sizeof(text), f))
		wrong = read_line(sc, o, ++number, text, strchr(text, '\n') || feof(f));
	fclose(f);
	if (!wrong)
		return 0;
	fprintf(stderr, "drover-sim: %s:%u: \"%s\": %s\n", path, number, sc->line[sc->n].text, wrong);
	return 2;
}
