/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What corosync.conf says of hosts, without corosync: cmap's functions are below, over a table of
 * keys.  corosync checks most of it itself; whoever may write to its map (corosync-cmapctl) need not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ha/corosync/cmap.h"

#include <corosync/cmap.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static struct {
	char key[64];
	const char *text; /* NULL: a number */
	uint32_t number;
	bool wrong; /* a number of another type */
} map[800];
static size_t n_map, at;
static int fd;

cs_error_t cmap_initialize(cmap_handle_t *handle)
{
	*handle = 1;
	fd = eventfd(0, 0);
	return CS_OK;
}

cs_error_t cmap_finalize(cmap_handle_t handle)
{
	close(fd);
	return CS_OK;
}

cs_error_t cmap_fd_get(cmap_handle_t handle, int *out)
{
	*out = fd;
	return CS_OK;
}

cs_error_t cmap_track_add(cmap_handle_t handle, const char *key, int32_t type, cmap_notify_fn_t fn, void *arg,
			  cmap_track_handle_t *track)
{
	return CS_OK;
}

static cs_error_t find(const char *key, bool text, size_t *i)
{
	for (*i = 0; *i < n_map; ++*i)
		if (strcmp(map[*i].key, key) == 0)
			return map[*i].wrong || !map[*i].text == text ? CS_ERR_INVALID_PARAM : CS_OK;
	return CS_ERR_NOT_EXIST;
}

cs_error_t cmap_get_uint32(cmap_handle_t handle, const char *key, uint32_t *out)
{
	size_t i;
	cs_error_t rc = find(key, false, &i);

	if (rc == CS_OK)
		*out = map[i].number;
	return rc;
}

cs_error_t cmap_get_string(cmap_handle_t handle, const char *key, char **out)
{
	size_t i;
	cs_error_t rc = find(key, true, &i);

	if (rc == CS_OK)
		*out = strdup(map[i].text);
	return rc;
}

cs_error_t cmap_iter_init(cmap_handle_t handle, const char *prefix, cmap_iter_handle_t *it)
{
	at = 0;
	return CS_OK;
}

cs_error_t cmap_iter_next(cmap_handle_t handle, cmap_iter_handle_t it, char key[], size_t *len,
			  cmap_value_types_t *type)
{
	while (at < n_map && strncmp(map[at].key, "nodelist.node.", 14) != 0)
		at++;
	if (at == n_map)
		return CS_ERR_NO_SECTIONS;
	strcpy(key, map[at++].key);
	return CS_OK;
}

cs_error_t cmap_iter_finalize(cmap_handle_t handle, cmap_iter_handle_t it)
{
	return CS_OK;
}

static void number(const char *key, uint32_t value)
{
	snprintf(map[n_map].key, sizeof(map[0].key), "%s", key);
	map[n_map].text = NULL;
	map[n_map].wrong = false;
	map[n_map++].number = value;
}

static void text(unsigned int pos, const char *field, const char *value)
{
	snprintf(map[n_map].key, sizeof(map[0].key), "nodelist.node.%u.%s", pos, field);
	map[n_map].wrong = false;
	map[n_map++].text = value;
}

static void node(unsigned int pos, uint32_t id, const char *name)
{
	char key[64];

	text(pos, "ring0_addr", "10.0.0.1");
	snprintf(key, sizeof(key), "nodelist.node.%u.nodeid", pos);
	number(key, id);
	if (name)
		text(pos, "name", name);
}

/* Reads what is in the map; the text of the error, or "". */
static const char *read_map(struct cmap_cluster *c)
{
	static struct err e;
	qb_loop_t *loop = qb_loop_create();
	struct cmaplink *l;
	int rc;

	memset(&e, 0, sizeof(e));
	assert_int_equal(cmaplink_open(loop, NULL, NULL, &l, &e), 0);
	rc = cmaplink_read(l, c, &e);
	assert_true(rc == 0 || rc == -EINVAL);
	assert_true((rc == 0) == !*e.text);
	cmaplink_close(l);
	qb_loop_destroy(loop);
	return e.text;
}

static int setup(void **state)
{
	n_map = 0;
	number("runtime.config.totem.token", 1000);
	return 0;
}

/* One that is passed over would be missing in every majority. */
static void an_entry_without_its_id_is_not_passed_over(void **state)
{
	struct cmap_cluster c;

	(void)state;
	node(0, 1, "n1");
	node(1, 2, "n2");
	text(2, "ring0_addr", "10.0.0.3");
	text(2, "name", "n3");
	assert_string_equal(read_map(&c), "corosync.conf: nodelist entry 2 has no nodeid, expected a number from 1");
	number("nodelist.node.2.nodeid", 3);
	assert_string_equal(read_map(&c), "");
	assert_int_equal(c.n_nodes, 3);
	map[n_map - 1].wrong = true;
	assert_non_null(strstr(read_map(&c), "entry 2 has no nodeid"));
	map[n_map - 1].wrong = false;
	map[n_map - 1].number = 0;
	assert_non_null(strstr(read_map(&c), "entry 2 has no nodeid"));
}

/* Who is fenced by it is one of them, and it is the other that is believed dead. */
static void an_id_that_two_hosts_have_is_refused(void **state)
{
	struct cmap_cluster c;

	(void)state;
	node(0, 1, "n1");
	node(1, 7, "n2");
	node(2, 7, "n3");
	assert_string_equal(read_map(&c), "corosync.conf: nodeid 7 stands there twice, for n2 and for n3");
}

static void a_name_of_others_is_harmless_or_refused(void **state)
{
	char name[202] = "";
	struct cmap_cluster c;

	(void)state;
	node(0, 1, "n\0331\n");
	node(1, 2, "");
	node(2, 3, NULL);
	assert_string_equal(read_map(&c), "");
	assert_string_equal(c.nodes[0].name, "n?1?");
	assert_string_equal(c.nodes[1].name, "node2");
	assert_string_equal(c.nodes[2].name, "node3");
	memset(name, 'x', 200);
	node(3, 4, name);
	assert_string_equal(read_map(&c), "corosync.conf: name of node 4 is longer than 63 bytes");
}

/* A name of DNS has up to 253; half of one is another host. */
static void a_long_address_is_not_cut(void **state)
{
	char address[254] = "";
	struct cmap_cluster c;

	(void)state;
	memset(address, 'a', 253);
	node(0, 1, "n1");
	map[1].text = address;
	assert_string_equal(read_map(&c), "");
	assert_string_equal(c.nodes[0].address, address);
}

static void votes_are_what_corosync_takes_them_for(void **state)
{
	struct cmap_cluster c;

	(void)state;
	node(0, 1, "n1");
	number("nodelist.node.0.quorum_votes", 0);
	node(1, 2, "n2");
	number("nodelist.node.1.quorum_votes", UINT32_MAX);
	node(2, 3, "n3");
	number("nodelist.node.2.quorum_votes", 5);
	map[n_map - 1].wrong = true;
	assert_string_equal(read_map(&c), "");
	assert_int_equal(c.nodes[0].votes, 0);
	assert_int_equal(c.nodes[1].votes, UINT32_MAX);
	assert_int_equal(c.nodes[2].votes, 1);
}

static void a_host_too_many_is_an_error(void **state)
{
	struct cmap_cluster c;
	unsigned int i;

	(void)state;
	for (i = 0; i < CMAPLINK_NODES_MAX; i++)
		node(i, i + 1, NULL);
	number("nodelist.node.x.nodeid", 1);
	number("nodelist.node.99999999999999.nodeid", 1);
	assert_string_equal(read_map(&c), "");
	assert_int_equal(c.n_nodes, CMAPLINK_NODES_MAX);
	node(i, i + 1, NULL);
	assert_string_equal(read_map(&c), "corosync.conf: more than 128 hosts");
}

/* An entry that was copied, and its name not changed: whoever is fenced by it is the wrong one half of the time. */
static void a_name_that_two_hosts_have_means_nobody(void **state)
{
	const struct cmap_cluster c = {
		.n_nodes = 3,
		.nodes = { { .id = 1, .name = "n1" }, { .id = 2, .name = "n2" }, { .id = 3, .name = "n2" } },
	};

	(void)state;
	assert_int_equal(cmap_find(&c, "n1"), 0);
	assert_int_equal(cmap_find(&c, "n2"), -2);
	assert_int_equal(cmap_find(&c, "n3"), -1);
	assert_int_equal(cmap_find(&c, ""), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_that_two_hosts_have_means_nobody),
		cmocka_unit_test_setup(an_entry_without_its_id_is_not_passed_over, setup),
		cmocka_unit_test_setup(an_id_that_two_hosts_have_is_refused, setup),
		cmocka_unit_test_setup(a_name_of_others_is_harmless_or_refused, setup),
		cmocka_unit_test_setup(a_long_address_is_not_cut, setup),
		cmocka_unit_test_setup(votes_are_what_corosync_takes_them_for, setup),
		cmocka_unit_test_setup(a_host_too_many_is_an_error, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
