/* SPDX-License-Identifier: Apache-2.0 */
/* domain_file - see domain_file.h. */
#include "cmd/drover/domain_file.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define URL_LEN 512

bool looks_like_file(const char *arg)
{
	const char *dot = strrchr(arg, '.');

	return strchr(arg, '/') || strcmp(arg, "-") == 0 ||
	       (dot && (strcasecmp(dot, ".yaml") == 0 || strcasecmp(dot, ".yml") == 0));
}

static int read_text(const char *file, char *buf, size_t size, size_t *len)
{
	FILE *f = strcmp(file, "-") == 0 ? stdin : fopen(file, "re");
	struct stat st;
	int err;

	if (!f)
		return say_error(errno == ENOENT ? EXIT_NOTFOUND : EXIT_ERROR, "%s: %s", file,
				 strerror(errno));
	if (fstat(fileno(f), &st) == 0 && S_ISDIR(st.st_mode)) {
		fclose(f);
		return say_error(EXIT_USAGE, "%s: is a directory", file);
	}
	errno = 0;
	*len = fread(buf, 1, size, f);
	err = ferror(f) ? errno : 0;
	if (f != stdin)
		fclose(f);
	if (err)
		return say_error(EXIT_ERROR, "%s: %s", file, strerror(err));
	if (*len == size)
		return say_error(EXIT_USAGE, "%s: longer than %zu bytes", file, size - 1);
	return EXIT_OK;
}

static void add_url(const struct drover *d, const char *node, bool protect, char url[URL_LEN])
{
	size_t n;

	if (node) {
		strcat(url, "&node=");
		url_add(url, URL_LEN, node);
	}
	if (!protect)
		return;
	strcat(url, "&protect=true");
	if (d->opt.group) {
		strcat(url, "&group=");
		url_add(url, URL_LEN, d->opt.group);
	}
	n = strlen(url);
	if (d->opt.max_restart >= 0)
		snprintf(url + n, URL_LEN - n, "&max_restart=%d", d->opt.max_restart);
}

int domain_file_read(const char *file, struct domain_file *f, struct domain_conf **out)
{
	struct err e = { 0 };
	int code = read_text(file, f->text, sizeof(f->text), &f->len);

	if (code)
		return code;
	if (domain_conf_parse(strcmp(file, "-") ? file : "standard input", f->text, f->len, out, &e) < 0)
		return say_error(EXIT_USAGE, "%s", e.text);
	return EXIT_OK;
}

int domain_add_file(struct drover *d, const char *file, const char *node, bool protect, char name[DOMAIN_NAME_SIZE])
{
	char url[URL_LEN] = "domains?start=true";
	struct domain_conf *conf;
	struct domain_file f;
	struct err e = { 0 };
	int code = domain_file_read(file, &f, &conf);

	if (code)
		return code;
	snprintf(name, DOMAIN_NAME_SIZE, "%s", conf->name);
	domain_conf_free(conf);
	add_url(d, node, protect, url);
	code = http_request(d->http, "POST", url, f.text, f.len, NULL, &e);
	return code ? say_error(code, "%s", e.text) : EXIT_OK;
}
