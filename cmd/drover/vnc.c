/* SPDX-License-Identifier: Apache-2.0 */
/* vnc - where viewers find the screen of a domain of this host. */
#include "cmd/drover/drover.h"

int verb_vnc(struct drover *d)
{
	const char *path;
	struct vmm_link *l;
	json_t *o = NULL;
	int code = vmm_link_open(d, d->argv[0], "vnc", &l);

	if (code)
		return code;
	code = vmm_link_ask(l, "query", NULL, &o);
	vmm_link_close(l);
	if (code)
		return code;
	path = str_of(o, "vnc");
	if (!*path)
		code = say_error(EXIT_NOTFOUND, "%s: the domain has no screen ('display' in its file)", d->argv[0]);
	else if (d->opt.json)
		code = print_json(o);
	else
		puts(path);
	json_decref(o);
	return code;
}
