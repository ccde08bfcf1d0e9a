/* SPDX-License-Identifier: Apache-2.0 */
/* config - what a domain is to be: its text as the cluster has it, and whether a file could be taken in. */
#include "cmd/drover/domain_file.h"

#include "base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* As it is for files and programs; a terminal gets lines that it does not obey. */
static int print_text(const char *text)
{
	char *copy, *rest, *line;

	if (!isatty(STDOUT_FILENO)) {
		fputs(text, stdout);
		return EXIT_OK;
	}
	copy = rest = strdup(text);
	if (!copy)
		return say_error(EXIT_ERROR, "out of memory");
	while ((line = strsep(&rest, "\n")) != NULL)
		if (rest || *line) {
			text_clean(line);
			puts(line);
		}
	free(copy);
	return EXIT_OK;
}

/* The text in @o becomes that with everything said. */
static int make_canonical(json_t *o)
{
	const char *text = json_string_value(json_object_get(o, "conf"));
	struct domain_conf *conf;
	struct err e = { 0 };
	char *full;

	if (domain_conf_parse(str_of(o, "name"), text, strlen(text), &conf, &e) < 0)
		return say_error(EXIT_ERROR, "the cluster's text is none that this drover takes: %s", e.text);
	full = domain_conf_print(conf);
	domain_conf_free(conf);
	if (!full)
		return say_error(EXIT_ERROR, "out of memory");
	json_object_set_new(o, "conf", json_string(full));
	free(full);
	return EXIT_OK;
}

int verb_config(struct drover *d)
{
	struct err e = { 0 };
	char url[512] = "domains";
	json_t *o;
	int code;

	url_add(url, sizeof(url), d->argv[0]);
	url_add(url, sizeof(url), "conf");
	code = http_request(d->http, "GET", url, NULL, 0, &o, &e);
	if (code)
		return say_error(code, "%s", e.text);
	if (!json_is_string(json_object_get(o, "conf")))
		code = say_error(EXIT_ERROR, "droverd's answer has no text");
	else if (d->opt.canonical)
		code = make_canonical(o);
	if (!code)
		code = d->opt.json ? print_json(o) : print_text(json_string_value(json_object_get(o, "conf")));
	json_decref(o);
	return code;
}

/* Nobody to compare with is no fault of the file, but not the same as having compared. */
static int well_formed(struct drover *d, const char *file, const char *why)
{
	json_t *o;

	if (!d->opt.json)
		return done(d, "%s: well formed; not compared with the cluster's domains: %s", file, why);
	o = json_pack("{s:i, s:s, s:b, s:s}", "code", 0, "text", "well formed", "compared", 0, "why", why);
	print_json(o);
	json_decref(o);
	return EXIT_OK;
}

static bool nobody_there(int code)
{
	return code == -ENOENT || code == -ECONNREFUSED;
}

int verb_validate(struct drover *d)
{
	const char *file = strcmp(d->argv[0], "-") == 0 ? "standard input" : d->argv[0];
	struct domain_conf *conf;
	struct domain_file f;
	struct err e = { 0 };
	json_t *o;
	int code = domain_file_read(d->argv[0], &f, &conf);

	if (code)
		return code;
	domain_conf_free(conf);
	if (d->opt.offline)
		return well_formed(d, file, "--offline");
	code = http_request(d->http, "POST", "validate", f.text, f.len, NULL, &e);
	if (code && nobody_there(e.code))
		return well_formed(d, file, e.text);
	if (code)
		return say_error(code, "%s: %s", file, e.text);
	if (!d->opt.json)
		return done(d, "%s: could be started", file);
	o = json_pack("{s:i, s:s, s:b}", "code", 0, "text", "could be started", "compared", 1);
	print_json(o);
	json_decref(o);
	return EXIT_OK;
}
