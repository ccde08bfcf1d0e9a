/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmap - see cmap.h.
 *
 * Keys (cmap_keys(7)): nodelist.node.N.{nodeid,name,quorum_votes},
 * quorum.expected_votes, runtime.config.totem.token; and of the statistics
 * those of the states of totem's membership (stats.srp).  The runtime token is the one in force:
 * corosync adds token_coefficient per host above two.
 */
#include "ha/corosync/cmap.h"

#include "base/number.h"
#include "base/text.h"
#include "ha/corosync/corosync_int.h"

#include <corosync/cmap.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NODELIST "nodelist.node."
#define ANY_CHANGE (CMAP_TRACK_ADD | CMAP_TRACK_DELETE | CMAP_TRACK_MODIFY)
#define TOKEN "runtime.config.totem.token"
#define STATS "stats.srp."

struct cmaplink {
	qb_loop_t *loop;
	cmap_handle_t handle, stats;
	cmap_track_handle_t track, token_track;
	cmaplink_changed changed;
	void *arg;
	int fd;
	bool open, dirty, counts;
};

static void on_track(cmap_handle_t handle, cmap_track_handle_t track, int32_t event,
		     const char *key, struct cmap_notify_value new_value,
		     struct cmap_notify_value old_value, void *data)
{
	struct cmaplink *l = data;

	l->dirty = true; /* a reload changes many keys: told once, after the dispatch */
}

static int32_t on_ready(int32_t fd, int32_t revents, void *data)
{
	struct cmaplink *l = data;
	if (corosync_dispatch(cmap_dispatch, l->handle, revents) != CS_OK) {
		cmap_finalize(l->handle);
		l->open = false; /* cpg notices the same death and tells the owner */
		return -1;
	}
	if (l->dirty) {
		l->dirty = false;
		l->changed(l->arg);
	}
	return 0;
}

int cmaplink_open(qb_loop_t *loop, cmaplink_changed changed, void *arg, struct cmaplink **out,
		  struct err *e)
{
	struct cmaplink *l = calloc(1, sizeof(*l));
	int rc;

	*out = NULL;
	if (!l)
		return err_set(e, -ENOMEM, "out of memory");
	l->loop = loop;
	l->changed = changed;
	l->arg = arg;
	rc = cmap_initialize(&l->handle);
	if (rc != CS_OK) {
		free(l);
		return corosync_absent("cmap", rc, e);
	}
	cmap_track_add(l->handle, NODELIST, ANY_CHANGE | CMAP_TRACK_PREFIX, on_track, l, &l->track);
	cmap_track_add(l->handle, TOKEN, CMAP_TRACK_ADD | CMAP_TRACK_MODIFY, on_track, l,
		       &l->token_track);
	cmap_fd_get(l->handle, &l->fd);
	rc = qb_loop_poll_add(loop, QB_LOOP_LOW, l->fd, POLLIN, l, on_ready);
	if (rc < 0) {
		cmap_finalize(l->handle);
		free(l);
		return err_set(e, rc, "cannot watch cmap: %s", strerror(-rc));
	}
	l->open = true;
	l->counts = cmap_initialize_map(&l->stats, CMAP_MAP_STATS) == CS_OK;
	*out = l;
	return 0;
}

void cmaplink_close(struct cmaplink *l)
{
	if (!l)
		return;
	if (l->open) {
		qb_loop_poll_del(l->loop, l->fd);
		cmap_finalize(l->handle);
	}
	if (l->counts)
		cmap_finalize(l->stats);
	free(l);
}

static char *text_of(struct cmaplink *l, unsigned int pos, const char *field)
{
	char key[CMAP_KEYNAME_MAXLEN + 1], *text = NULL;

	snprintf(key, sizeof(key), NODELIST "%u.%s", pos, field);
	return cmap_get_string(l->handle, key, &text) == CS_OK ? text : NULL;
}

static bool number_of(struct cmaplink *l, unsigned int pos, const char *field, uint32_t *out)
{
	char key[CMAP_KEYNAME_MAXLEN + 1];

	snprintf(key, sizeof(key), NODELIST "%u.%s", pos, field);
	return cmap_get_uint32(l->handle, key, out) == CS_OK;
}

/* Host number @pos in corosync.conf. */
static int read_node(struct cmaplink *l, unsigned int pos, struct cmap_node *n, struct err *e)
{
	char *name, *address;
	int rc = 0;

	if (!number_of(l, pos, "nodeid", &n->id) || n->id == 0)
		return err_set(e, -EINVAL, "corosync.conf: nodelist entry %u has no nodeid, expected a number from 1",
			       pos);
	if (!number_of(l, pos, "quorum_votes", &n->votes))
		n->votes = 1;
	name = text_of(l, pos, "name");
	if (name && strlen(name) > CMAPLINK_NAME_MAX)
		rc = err_set(e, -EINVAL, "corosync.conf: name of node %u is longer than %d bytes", n->id,
			     CMAPLINK_NAME_MAX);
	else if (name && *name)
		text_copy(n->name, sizeof(n->name), name);
	else
		snprintf(n->name, sizeof(n->name), "node%u", n->id);
	free(name);
	address = text_of(l, pos, "ring0_addr");
	if (address)
		text_copy(n->address, sizeof(n->address), address);
	free(address);
	return rc;
}

/* One id for two hosts: who is fenced by it is one of them, and it is the other that is believed dead. */
static int check_id(const struct cmap_cluster *c, struct err *e)
{
	const struct cmap_node *last = &c->nodes[c->n_nodes - 1], *n;

	for (n = c->nodes; n < last; n++)
		if (n->id == last->id)
			return err_set(e, -EINVAL, "corosync.conf: nodeid %u stands there twice, for %s and for %s", n->id,
				       n->name, last->name);
	return 0;
}

/*
 * "nodelist.node.3.name": 3.  Any key of a host counts, not only its nodeid: one that is passed
 * over would be missing in every majority.
 */
static bool position_of(const char *key, unsigned int *pos)
{
	size_t prefix = strlen(NODELIST), len = strcspn(key + prefix, ".");
	char digits[12] = "";
	uint64_t n;

	if (len >= sizeof(digits) || key[prefix + len] != '.')
		return false;
	memcpy(digits, key + prefix, len);
	if (!number_parse(digits, 0, UINT32_MAX, &n))
		return false;
	*pos = (unsigned int)n;
	return true;
}

static int read_nodes(struct cmaplink *l, struct cmap_cluster *out, struct err *e)
{
	unsigned int seen[CMAPLINK_NODES_MAX], pos;
	char key[CMAP_KEYNAME_MAXLEN + 1];
	cmap_iter_handle_t it;
	uint32_t i;
	int rc = 0;

	if (cmap_iter_init(l->handle, NODELIST, &it) != CS_OK)
		return err_set(e, -ECONNREFUSED, "corosync does not list its hosts");
	while (rc == 0 && cmap_iter_next(l->handle, it, key, NULL, NULL) == CS_OK) {
		if (!position_of(key, &pos))
			continue;
		for (i = 0; i < out->n_nodes && seen[i] != pos; i++)
			;
		if (i < out->n_nodes)
			continue;
		if (i == CMAPLINK_NODES_MAX) {
			rc = err_set(e, -EINVAL, "corosync.conf: more than %d hosts", CMAPLINK_NODES_MAX);
			break;
		}
		seen[i] = pos;
		rc = read_node(l, pos, &out->nodes[i], e);
		out->n_nodes++;
		if (rc == 0)
			rc = check_id(out, e);
	}
	cmap_iter_finalize(l->handle, it);
	return rc;
}

int cmaplink_read(struct cmaplink *l, struct cmap_cluster *out, struct err *e)
{
	int rc;

	memset(out, 0, sizeof(*out));
	if (!l->open)
		return err_set(e, -ECONNREFUSED, "corosync is not running on this host (cmap)");
	rc = read_nodes(l, out, e);
	if (rc < 0)
		return rc;
	if (out->n_nodes == 0)
		return err_set(e, -EINVAL, "corosync.conf: nodelist is empty");
	if (cmap_get_uint32(l->handle, TOKEN, &out->token_ms) != CS_OK ||
	    out->token_ms == 0)
		return err_set(e, -EINVAL, "corosync does not tell its token");
	return 0;
}

bool cmaplink_waits(struct cmaplink *l, struct cmap_waits *out)
{
	static const char *const answers[] = {
		STATS "consensus_timeouts",
		STATS "gather_token_lost",
		STATS "commit_token_lost",
		STATS "recovery_token_lost",
	};
	uint64_t n;

	if (!l->counts || cmap_get_uint64(l->stats, STATS "operational_token_lost", &out->token) != CS_OK)
		return false;
	out->answer = 0;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		if (cmap_get_uint64(l->stats, answers[i], &n) != CS_OK)
			return false;
		out->answer += n;
	}
	return true;
}

int cmap_find(const struct cmap_cluster *c, const char *name)
{
	int at = -1;
	uint32_t i;

	for (i = 0; i < c->n_nodes; i++) {
		if (strcmp(c->nodes[i].name, name) != 0)
			continue;
		if (at >= 0)
			return -2;
		at = (int)i;
	}
	return at;
}
