/* SPDX-License-Identifier: Apache-2.0 */
/* send_key - keys and text for the keyboard of a domain of this host. */
#include "cmd/drover/drover.h"

static int ask(struct vmm_link *l, const char *what, const char *value)
{
	json_t *args = json_pack("{s:s}", what, value), *out = NULL;
	int code;

	if (!args)
		return say_error(EXIT_USAGE, "%s: '%.60s' is not UTF-8", what, value);
	code = vmm_link_ask(l, "send-key", args, &out);
	json_decref(out);
	return code;
}

int verb_send_key(struct drover *d)
{
	struct vmm_link *l;
	int code;

	if (d->argc < 2 && !d->opt.text)
		return say_error(EXIT_USAGE, "send-key: expected keys such as ctrl-alt-delete, or --text");
	code = vmm_link_open(d, d->argv[0], "send-key", &l);
	if (code)
		return code;
	for (int i = 1; i < d->argc && !code; i++)
		code = ask(l, "keys", d->argv[i]);
	if (!code && d->opt.text)
		code = ask(l, "text", d->opt.text);
	vmm_link_close(l);
	return code ? code : done(d, "keys sent to '%s'", d->argv[0]);
}
