/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sockets - where those of a VMM are; and its porter, who knows them from the start and removes them at the end.
 *
 * Whoever listens at one of them makes it before the sandbox closes.  What a VMM leaves behind that was killed the next
 * one finds that nobody answers at, and replaces (base/unix_socket.h).
 */
#include "cmd/drover-hv/vmm.h"

#include <stdio.h>
#include <string.h>

/* The control socket's path with @suffix in place of .sock; "" without a control socket. */
static void beside_control(const struct drover_hv *v, const char *suffix, char path[PATH_MAX])
{
	size_t len = v->opt.control ? strlen(v->opt.control) : 0;

	if (!v->opt.control)
		return;
	if (len > 5 && strcmp(v->opt.control + len - 5, ".sock") == 0)
		len -= 5;
	snprintf(path, PATH_MAX, "%.*s%s", (int)len, v->opt.control, suffix);
}

static void console_place(const struct drover_hv *v, char path[PATH_MAX])
{
	if (!v->opt.console)
		beside_control(v, ".console", path);
	else if (strcmp(v->opt.console, "stdio"))
		snprintf(path, PATH_MAX, "%s", v->opt.console);
}

const char *sockets_place(const struct drover_hv *v, enum porter_socket which, char path[PATH_MAX])
{
	path[0] = '\0';
	switch (which) {
	case PORTER_CONTROL:
		snprintf(path, PATH_MAX, "%s", v->opt.control ? v->opt.control : "");
		break;
	case PORTER_CONSOLE:
		console_place(v, path);
		break;
	case PORTER_INCOMING:
		if (v->opt.incoming && !strncmp(v->opt.incoming, "unix:", 5))
			snprintf(path, PATH_MAX, "%s", v->opt.incoming + 5);
		break;
	case PORTER_SCREEN:
		if (v->conf->display.present)
			beside_control(v, ".vnc", path);
		break;
	case PORTER_AGENT:
		if (v->conf->guest_agent)
			beside_control(v, ".agent", path);
		break;
	case PORTER_SOCKETS:
		break;
	}
	return path;
}

int sockets_start_porter(struct drover_hv *v, struct err *e)
{
	char paths[PORTER_SOCKETS][PATH_MAX];
	const char *sockets[PORTER_SOCKETS];

	for (unsigned int i = 0; i < PORTER_SOCKETS; i++)
		sockets[i] = *sockets_place(v, i, paths[i]) ? paths[i] : NULL;
	return porter_start(&v->porter, sockets, v->opt.args, v->opt.args_len, e);
}
