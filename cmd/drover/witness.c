/* SPDX-License-Identifier: Apache-2.0 */
/* witness - the verb about storage witnesses. */
#include "cmd/drover/drover.h"

#include "ha/witness/witness_disk.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static void tell(const struct drover *d, const char *path, uint64_t id)
{
	char text[17];
	json_t *o;

	snprintf(text, sizeof(text), "%016llx", (unsigned long long)id);
	if (!d->opt.json) {
		printf("%s is a witness now. In cluster.yaml of every host:\n\nwitness:\n  path: \"%s\"\n  id: '%s'\n", path, path,
		       text);
		return;
	}
	o = json_pack("{s:s, s:s}", "path", path, "id", text);
	print_json(o);
	json_decref(o);
}

int verb_witness_init(struct drover *d)
{
	const char *path = d->argv[0];
	struct err e = { 0 };
	uint64_t id = 0;
	int rc;

	if (*path != '/' || strpbrk(path, "\"\\\n"))
		return say_error(EXIT_USAGE, "%s: an absolute path without quotes was expected", path);
	while (!id)
		if (getrandom(&id, sizeof(id), 0) < 0)
			return say_error(EXIT_ERROR, "no random numbers: %s", strerror(errno));
	rc = witness_disk_make(path, id, &e);
	if (rc)
		return say_error(rc == -EEXIST || rc == -EBUSY ? EXIT_REFUSED : err_exit_code(rc), "%s", e.text);
	tell(d, path, id);
	return EXIT_OK;
}
