/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz conf - any bytes as a domain file and as a cluster file.
 *
 * Beyond not crashing: a refusal fills one line of text; what is accepted
 * prints as a text that loads and prints the same.
 */
#include "conf/cluster.h"
#include "conf/domain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok, const char *what, const char *text)
{
	if (ok)
		return;
	fprintf(stderr, "fuzz conf: %s:\n%s\n", what, text);
	abort();
}

static void check_refusal(int rc, const struct err *e)
{
	must(rc < 0 && e->code == rc, "no error code", e->text);
	must(e->text[0] && !strchr(e->text, '\n'), "no single line", e->text);
}

static void try_domain(const char *text, size_t len)
{
	struct domain_conf *a, *b;
	struct err e = { 0 };
	char *first, *second;
	int rc = domain_conf_parse("d", text, len, &a, &e);

	if (rc) {
		check_refusal(rc, &e);
		return;
	}
	first = domain_conf_print(a);
	must(!domain_conf_parse("d", first, strlen(first), &b, &e), e.text, first);
	second = domain_conf_print(b);
	must(!strcmp(first, second), "prints differently", first);
	free(first);
	free(second);
	domain_conf_free(a);
	domain_conf_free(b);
}

static void try_cluster(const char *text, size_t len)
{
	struct cluster_conf *a, *b;
	struct err e = { 0 };
	char *first, *second;
	int rc = cluster_conf_parse("c", text, len, &a, &e);

	if (rc) {
		check_refusal(rc, &e);
		return;
	}
	first = cluster_conf_print(a);
	must(!cluster_conf_parse("c", first, strlen(first), &b, &e), e.text, first);
	second = cluster_conf_print(b);
	must(!strcmp(first, second), "prints differently", first);
	free(first);
	free(second);
	cluster_conf_free(a);
	cluster_conf_free(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	try_domain((const char *)data, size);
	try_cluster((const char *)data, size);
	return 0;
}
