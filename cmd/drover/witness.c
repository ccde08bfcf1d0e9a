/* SPDX-License-Identifier: Apache-2.0 */
/* witness - the verb about storage witnesses. */
#include "cmd/drover/drover.h"

#include "conf/cluster.h"
#include "ha/witness/witness_disk.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* What belongs into cluster.yaml; NULL: that cannot say it. */
static char *as_yaml(const char *path, uint64_t id)
{
	const struct cluster_conf says = { .witness_path = (char *)path, .witness_id = id };
	char *text = cluster_conf_print(&says);
	struct cluster_conf *read = NULL;
	struct err e = { 0 };

	if (text && cluster_conf_parse("cluster.yaml", text, strlen(text), &read, &e)) {
		free(text);
		return NULL;
	}
	cluster_conf_free(read);
	return text;
}

static void tell(const struct drover *d, const char *path, uint64_t id, const char *yaml)
{
	char text[17];
	json_t *o;

	if (!d->opt.json) {
		printf("%s is a witness now. In cluster.yaml of every host:\n\n%s", path, yaml);
		return;
	}
	snprintf(text, sizeof(text), "%016llx", (unsigned long long)id);
	o = json_pack("{s:s, s:s}", "path", path, "id", text);
	print_json(o);
	json_decref(o);
}

int verb_witness_init(struct drover *d)
{
	const char *path = d->argv[0];
	struct err e = { 0 };
	uint64_t id = 0;
	char *yaml;
	int rc;

	while (!id)
		if (getrandom(&id, sizeof(id), 0) < 0)
			return say_error(EXIT_ERROR, "no random numbers: %s", strerror(errno));
	yaml = as_yaml(path, id);
	if (!yaml)
		return say_error(EXIT_USAGE, "'%s': an absolute path that cluster.yaml can name was expected: UTF-8, no control characters", path);
	rc = witness_disk_make(path, id, &e);
	if (!rc)
		tell(d, path, id, yaml);
	free(yaml);
	if (rc)
		return say_error(rc == -EEXIST || rc == -EBUSY ? EXIT_REFUSED : err_exit_code(rc), "%s", e.text);
	return EXIT_OK;
}
