/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the man pages show as an example loads: test_examples PAGE...
 *
 * An example is a literal block that begins with the first key of a file.
 */
#include "conf/cluster.h"
#include "conf/domain.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_MAX 8192

static bool begins(const char *s, const char *with)
{
	return !strncmp(s, with, strlen(with));
}

/* 1 when @text is an example and loads, 0 when it is none, -1 after a complaint. */
static int try_block(const char *page, const char *text)
{
	struct domain_conf *d = NULL;
	struct cluster_conf *c = NULL;
	struct err e = { 0 };
	int rc;

	if (begins(text, "name:"))
		rc = domain_conf_parse(page, text, strlen(text), &d, &e);
	else if (begins(text, "hosts:"))
		rc = cluster_conf_parse(page, text, strlen(text), &c, &e);
	else
		return 0;
	if (rc)
		fprintf(stderr, "example in %s\n%s", e.text, text);
	domain_conf_free(d);
	cluster_conf_free(c);
	return rc ? -1 : 1;
}

static int try_page(const char *page)
{
	char line[512], block[BLOCK_MAX] = "";
	FILE *f = fopen(page, "r");
	bool inside = false;
	int found = 0, rc = 0;

	if (!f) {
		perror(page);
		return -1;
	}
	while (rc >= 0 && fgets(line, sizeof(line), f)) {
		if (begins(line, ".Bd -literal")) {
			inside = true;
			block[0] = '\0';
		} else if (begins(line, ".Ed")) {
			rc = inside ? try_block(page, block) : 0;
			found += rc;
			inside = false;
		} else if (inside && strlen(block) + strlen(line) < BLOCK_MAX) {
			strcat(block, line);
		}
	}
	fclose(f);
	if (rc < 0)
		return -1;
	printf("%s: %d examples load\n", page, found);
	return found ? 0 : -1;
}

int main(int argc, char **argv)
{
	int rc = argc > 1 ? 0 : 1;

	for (int i = 1; i < argc; i++)
		if (try_page(argv[i]))
			rc = 1;
	return rc;
}
